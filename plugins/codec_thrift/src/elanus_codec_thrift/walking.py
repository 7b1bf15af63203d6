"""Reads the bytes of a struct one field at a time, in any order, and says where and why they make no sense.

Used where the generated code of :mod:`elanus_codec_thrift.checking` meets what it does not expect (another order,
absent and unknown fields), and for whole messages that are faulty or larger than a limit. Nothing is built: a forged
count or length costs nothing.

Kitex v0.16.3 reads the same way (confirmed on the wire): unknown fields, and fields of another type than the IDL's, are
skipped; a negative size, an unknown type code, a missing ``required`` field and nesting over the limit are errors. A
container whose items have another type than the IDL's is an error here; Kitex reads its bytes as the IDL's type, and
thriftpy2's reader does so for maps (0.7.1, ``c_read_val``), which must not happen to bytes of a stranger.
"""

from __future__ import annotations

import struct as struct_module
from struct import Struct as Layout
from typing import TYPE_CHECKING

from elanus_codec_thrift.schema import VALID_WIRE_TYPES, WIRE_SIZES, Field, Kind, Struct, ThriftType

if TYPE_CHECKING:
    from elanus.limits import Limits

__all__ = ["PAST_THE_END", "MalformedError", "Walker"]

_STRING, _STRUCT, _MAP, _SET, _LIST = 11, 12, 13, 14, 15
#: What reading past the end of the data raises.
PAST_THE_END = (IndexError, struct_module.error)
_int32 = Layout(">i").unpack_from
_list_header = Layout(">Bi").unpack_from
_map_header = Layout(">BBi").unpack_from


class MalformedError(Exception):
    """The bytes are no value of the type. Becomes a :exc:`elanus.CodecError` before it leaves this package.

    :param path: where, outermost first; filled in while it passes through the readers.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def within(self, name: str) -> None:
        """Note that it happened inside *name*."""
        self.path.insert(0, name)


class Walker:
    """Walks over messages. Every method takes a position and gives the position after what it read.

    Reading past the end raises ``IndexError`` or ``struct.error``, as the generated code does.

    :param limits: hold for containers and strings when given; depth comes with each call.
    :param thorough: read nested structs here too, instead of by their generated code, which knows no limit but the
        depth. Slower, and an error knows its whole path.
    :param texts: look into strings.
    """

    def __init__(self, limits: Limits | None = None, *, thorough: bool, texts: bool = False) -> None:
        self._max_items = limits.container_items if limits is not None else 1 << 31
        self._max_bytes = limits.string_bytes if limits is not None else 1 << 31
        self._thorough = thorough
        self._texts = texts

    def struct(self, data: bytes, at: int, struct: Struct, depth: int, missing: frozenset[bytes] | None = None) -> int:
        """A struct, or the rest of one.

        :param depth: levels of structs and containers that may still begin, this one included.
        :param missing: headers of required fields that did not come yet; by default, all required ones.
        """
        if depth <= 0:
            raise MalformedError("nested deeper than the limit 'depth' allows")
        seen = set()
        while data[at]:
            header = data[at : at + 3]
            field = struct.by_header.get(header)
            if field is None:
                at = self._unknown(data, at + 3, header, depth - 1)
                continue
            seen.add(header)
            try:
                at = self.value(data, at + 3, field.type, depth - 1)
            except MalformedError as error:
                error.within(field.name)
                raise
            except PAST_THE_END as error:
                raise _cut_off(field) from error
            if at > len(data):
                raise _cut_off(field)
        missing = struct.required if missing is None else missing
        if missing and not missing <= seen:
            absent = next(struct.by_header[header].name for header in missing - seen)
            raise MalformedError(f"the required field {absent!r} of {struct.name} is missing")
        return at + 1

    def _unknown(self, data: bytes, at: int, header: bytes, depth: int) -> int:
        code = header[0]
        number = int.from_bytes(header[1:], "big", signed=True)
        if len(header) < 3 or code not in VALID_WIRE_TYPES:
            raise MalformedError(f"{code} is no type code (of a field with id {number})")
        try:
            return self.skip(data, at, code, depth)
        except MalformedError as error:
            error.within(f"<unknown field {number}>")
            raise

    def value(self, data: bytes, at: int, type_: ThriftType, depth: int) -> int:
        """A value of *type_*."""
        kind = type_.kind
        if kind is Kind.BOOL:
            if data[at] > 1:
                raise MalformedError(f"a bool is 0 or 1 on the wire, not {data[at]}")
            return at + 1
        if kind.size:
            return at + kind.size
        if type_.struct is not None:
            if self._thorough:
                return self.struct(data, at, type_.struct, depth)
            return type_.struct.check(data, at, depth)
        if kind is Kind.STRING or kind is Kind.BINARY:
            return self._string(data, at, text=kind is Kind.STRING)
        if kind is Kind.MAP:
            return self._map(data, at, type_, depth)
        return self._list(data, at, type_, depth)

    def _string(self, data: bytes, at: int, text: bool = False) -> int:
        size: int = _int32(data, at)[0]
        if size < 0 or size > self._max_bytes:
            raise MalformedError(_size_text("a string", size, "string_bytes", self._max_bytes))
        end = at + 4 + size
        if end > len(data):
            raise MalformedError(f"a string of {size} bytes, of which {len(data) - at - 4} are there")
        if self._texts and text:
            try:
                data[at + 4 : end].decode()
            except UnicodeDecodeError as error:
                raise MalformedError(f"a string that is not UTF-8 ({error.reason} at byte {error.start})") from error
        return end

    def _list(self, data: bytes, at: int, type_: ThriftType, depth: int) -> int:
        code, count = _list_header(data, at)
        element = type_.element
        if code != element.kind.wire and count:
            raise MalformedError(f"the items of a {type_} have the wire type {code}")
        at += 5
        self._enter(depth, count, type_, len(data) - at)
        if element.kind.size:
            return self._fixed_items(data, at, element, count)
        for index in range(count):
            at = self._item(data, at, element, depth - 1, index)
        return at

    def _fixed_items(self, data: bytes, at: int, element: ThriftType, count: int) -> int:
        end = at + count * element.kind.size
        if element.kind is Kind.BOOL and data[at:end].strip(b"\0\1"):
            raise MalformedError("a bool is 0 or 1 on the wire, and one in this container is neither")
        return end

    def _map(self, data: bytes, at: int, type_: ThriftType, depth: int) -> int:
        key_code, code, count = _map_header(data, at)
        key, element = type_.key_type, type_.element
        if (key_code != key.kind.wire or code != element.kind.wire) and count:
            raise MalformedError(f"the keys and values of a {type_} have the wire types {key_code} and {code}")
        at += 6
        self._enter(depth, count, type_, len(data) - at)
        for index in range(count):
            at = self._item(data, at, key, depth - 1, index)
            at = self._item(data, at, element, depth - 1, index)
        return at

    def _item(self, data: bytes, at: int, type_: ThriftType, depth: int, index: int) -> int:
        try:
            return self.value(data, at, type_, depth)
        except MalformedError as error:
            error.within(f"[{index}]")
            raise

    def _enter(self, depth: int, count: int, type_: ThriftType, left: int) -> None:
        if depth <= 0:
            raise MalformedError("nested deeper than the limit 'depth' allows")
        if count < 0 or count > self._max_items:
            raise MalformedError(_size_text(f"a {type_}", count, "container_items", self._max_items))
        if count > left:
            raise MalformedError(f"a {type_} of {count} items, with {left} bytes left")

    def skip(self, data: bytes, at: int, code: int, depth: int) -> int:
        """A value of the wire type *code* that nobody wants."""
        size = WIRE_SIZES.get(code)
        if size is not None:
            return at + size
        if code == _STRING:
            return self._string(data, at)
        if depth <= 0:
            raise MalformedError("nested deeper than the limit 'depth' allows")
        if code == _STRUCT:
            return self._skip_struct(data, at, depth)
        if code == _MAP:
            key_code, item_code, count = _map_header(data, at)
            return self._skip_items(data, at + 6, (key_code, item_code), count, depth - 1)
        item_code, count = _list_header(data, at)
        return self._skip_items(data, at + 5, (item_code,), count, depth - 1)

    def _skip_struct(self, data: bytes, at: int, depth: int) -> int:
        while code := data[at]:
            if code not in VALID_WIRE_TYPES:
                raise MalformedError(f"{code} is no type code")
            at = self.skip(data, at + 3, code, depth - 1)
        return at + 1

    def _skip_items(self, data: bytes, at: int, codes: tuple[int, ...], count: int, depth: int) -> int:
        if count < 0:
            raise MalformedError(_size_text("a container", count, "container_items", self._max_items))
        if count and not VALID_WIRE_TYPES.issuperset(codes):
            raise MalformedError(f"{codes} is no type of a container's items")
        sizes = [WIRE_SIZES.get(code, 0) for code in codes]
        if all(sizes):
            return at + count * sum(sizes)
        if count > len(data) - at:
            raise MalformedError(f"a container of {count} items, with {len(data) - at} bytes left")
        for _ in range(count):
            for code in codes:
                at = self.skip(data, at, code, depth)
        return at


def _cut_off(field: Field) -> MalformedError:
    error = MalformedError("the bytes end inside of a value")
    error.within(field.name)
    return error


def _size_text(what: str, size: int, limit: str, most: int) -> str:
    if size < 0:
        return f"{what} of negative size {size}"
    return f"{what} of size {size}, over the limit {limit!r} ({most})"
