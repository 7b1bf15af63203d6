"""Generates, for each struct of an IDL, the function that proves its bytes sound before thriftpy2 reads them.

thriftpy2's Cython reader is fast and trusts what it reads: over a memory buffer it takes bytes past the end from the
stack, allocates whatever a forged length says, spins 2**31 times over a list of an unknown type, and takes negative
counts for empty (thriftpy2 0.7.1, ``cybin.pyx``). So each message is walked once before. The generated functions
expect fields in the order in which writers write them and test a whole run of them with one ``unpack_from``; that costs
about half of what the reading itself costs. Whatever else arrives goes to :class:`~elanus_codec_thrift.walking.Walker`.

The two orders expected are the IDL's (thriftpy2, Apache Thrift) and fixed-size fields first, which is what Kitex's
generated code writes (Kitex v0.16.3, ``thriftgo/patcher.go``, ``reorderStructFields``).

A function never goes back over what a nested struct or container held, so hostile bytes take linear time.
"""

from __future__ import annotations

import struct as struct_module
from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.schema import Field, Form, Kind, Struct, ThriftType
from elanus_codec_thrift.walking import MalformedError, Walker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["PADDING", "generate_checks"]

#: Appended to a message before it is checked, so that testing a run of fields near the end needs no bounds of its own.
PADDING = bytes(64)
# With one more field after it a run must stay within the padding: 3 + 8 bytes, and the STOP byte.
_LONGEST_RUN = 48
_TEXT = (Kind.STRING, Kind.BINARY)
_LISTS = (Kind.LIST, Kind.SET)


def generate_checks(structs: Sequence[Struct]) -> None:
    """Set ``check`` of every one of *structs*, which must include all that they refer to."""
    scope: dict[str, Any] = {"Malformed": MalformedError, "NONE": frozenset()}
    numbers = {id(struct): number for number, struct in enumerate(structs)}
    lines: list[str] = []
    for number, struct in enumerate(structs):
        scope[f"w{number}"] = _rest_of(struct)
        lines += _Function(number, struct, numbers, scope).lines()
    exec(compile("\n".join(lines), "<elanus_codec_thrift: generated checks>", "exec"), scope)
    for number, struct in enumerate(structs):
        struct.check = scope[f"c{number}"]


_walker = Walker(thorough=False)


def _rest_of(struct: Struct) -> Callable[..., int]:
    walk = _walker.struct

    def rest(data: bytes, at: int, depth: int, missing: frozenset[bytes] | None = None) -> int:
        return walk(data, at, struct, depth, missing)

    return rest


def _one_of(type_: ThriftType) -> Callable[[bytes, int, int], int]:
    walk = _walker.value

    def value(data: bytes, at: int, depth: int) -> int:
        return walk(data, at, type_, depth)

    return value


class _Run:
    """Fields that one ``unpack_from`` tests together: any number of fixed size, and the start of one of another."""

    def __init__(self) -> None:
        self.layout = ""
        self.targets: list[str] = []
        self.conditions: list[str] = []
        self.size = 0

    def add(self, layout: str, size: int, target: str = "", condition: str = "") -> None:
        self.layout += layout
        self.size += size
        if target:
            self.targets.append(target)
        if condition:
            self.conditions.append(condition)


class _Function:
    """Writes the functions of one struct: ``c<number>``, and ``g<number>`` for Go's order where that differs.

    In the code, ``d`` is the data, ``p`` the position, ``b`` the depth that is left.
    """

    def __init__(self, number: int, struct: Struct, numbers: dict[int, int], scope: dict[str, Any]) -> None:
        self._number = number
        self._struct = struct
        self._numbers = numbers
        self._scope = scope
        self._lines: list[str] = []
        self._run = _Run()
        self._missing: set[bytes] = set()
        self._fallback = ""

    def lines(self) -> list[str]:
        declared = self._struct.fields
        fixed_first = sorted(declared, key=lambda item: not item.type.kind.size)  # stable
        rest = f"w{self._number}"
        if fixed_first == list(declared):
            self._function(f"c{self._number}", declared, rest)
        else:
            self._function(f"c{self._number}", declared, f"g{self._number}")
            self._function(f"g{self._number}", fixed_first, rest)
        return self._lines

    def _function(self, name: str, fields: Iterable[Field], other: str) -> None:
        self._missing = set(self._struct.required)
        # Until anything but a test ran, the other order may be tried. Later only the walker can go on from here.
        self._fallback = f"return {other}(d, p, b)"
        self._emit(0, f"def {name}(d, p, b):")
        deepest = max((_container_depth(item.type) for item in self._struct.fields), default=0)
        self._emit(1, f"if b <= {deepest}: return w{self._number}(d, p, b)")
        for item in fields:
            if item.optional or self._struct.form in (Form.UNION, Form.RESULT):
                self._flush()
                self._optional(item)
                self._moved()
            else:
                self._expected(item)
        self._finish()

    def _emit(self, level: int, line: str) -> None:
        self._lines.append("    " * level + line)

    def _header(self, item: Field) -> str:
        name = f"H_{item.header.hex()}"
        self._scope[name] = item.header
        return name

    def _unpacker(self, layout: str) -> str:
        name = f"U_{layout}"
        if name not in self._scope:
            self._scope[name] = struct_module.Struct(">" + layout).unpack_from
        return name

    def _moved(self) -> None:
        """What follows runs at a later position: from now on only the walker can take over."""
        missing = "NONE"
        if self._missing:
            missing = f"R{len(self._scope)}"
            self._scope[missing] = frozenset(self._missing)
        self._fallback = f"return w{self._number}(d, p, b, {missing})"

    def _expected(self, item: Field) -> None:
        run, kind = self._run, item.type.kind
        header = f"h{len(run.targets)}"
        run.add("3s", 3, header, f"{header} != {self._header(item)}")
        self._missing.discard(item.header)
        if kind is Kind.BOOL:
            target = f"v{len(run.targets)}"
            run.add("B", 1, target, f"{target} > 1")
        elif kind.size:
            run.add(f"{kind.size}x", kind.size)
        else:
            self._start_of(item.type)
            return
        if run.size > _LONGEST_RUN:
            self._flush()

    def _start_of(self, type_: ThriftType) -> None:
        """The last part of a run: the length or the types of a field of varying size; then what it holds."""
        run = self._run
        if type_.kind in _TEXT:
            run.add("I", 4, "n0")
            self._flush(" + n0")
        elif type_.struct is not None:
            self._flush()
            self._emit(1, f"p = {self._call(type_.struct)}(d, p, b - 1)")
        elif type_.kind is Kind.MAP:
            run.add("HI", 6, "t", f"t != {_map_types(type_)}")
            run.targets.append("n0")
            self._flush()
            self._items(1, type_, 0)
        else:
            run.add("BI", 5, "t", f"t != {type_.element.kind.wire}")
            run.targets.append("n0")
            self._flush()
            self._items(1, type_, 0)

    def _flush(self, and_past: str = "") -> None:
        run = self._run
        if run.layout:
            self._emit(1, f"{', '.join(run.targets)}, = {self._unpacker(run.layout)}(d, p)")
            if run.conditions:
                self._emit(1, f"if {' or '.join(run.conditions)}: {self._fallback}")
            self._emit(1, f"p += {run.size}{and_past}")
            self._run = _Run()
            self._moved()

    def _finish(self) -> None:
        run = self._run
        if run.layout:
            run.add("B", 1, "stop", "stop")
            self._emit(1, f"{', '.join(run.targets)}, = {self._unpacker(run.layout)}(d, p)")
            self._emit(1, f"if {' or '.join(run.conditions)}: {self._fallback}")
            self._emit(1, f"return p + {run.size}")
            self._run = _Run()
        else:
            self._emit(1, f"if d[p]: {self._fallback}")
            self._emit(1, "return p + 1")

    def _optional(self, item: Field) -> None:
        type_, kind = item.type, item.type.kind
        self._emit(1, f"if d[p:p + 3] == {self._header(item)}:")
        if kind is Kind.BOOL:
            self._emit(2, f"if d[p + 3] > 1: {self._fallback}")
            self._emit(2, "p += 4")
        elif kind.size:
            self._emit(2, f"p += {3 + kind.size}")
        elif kind in _TEXT:
            self._emit(2, f"p += 7 + {self._unpacker('I')}(d, p + 3)[0]")
        elif type_.struct is not None:
            self._emit(2, f"p = {self._call(type_.struct)}(d, p + 3, b - 1)")
        else:
            self._emit(2, "p += 3")
            self._container(2, type_, 0)

    def _call(self, struct: Struct) -> str:
        return f"c{self._numbers[id(struct)]}"

    def _container(self, level: int, type_: ThriftType, inside: int) -> None:
        """A container at ``p``, *inside* so many others; the walker reads one that has other types than expected."""
        count = f"n{inside}"
        layout, size = ("HI", 6) if type_.kind is Kind.MAP else ("BI", 5)
        expected = _map_types(type_) if type_.kind is Kind.MAP else type_.element.kind.wire
        name = f"V{len(self._scope)}"
        self._scope[name] = _one_of(type_)
        self._emit(level, f"t, {count} = {self._unpacker(layout)}(d, p)")
        self._emit(level, f"if t != {expected}: p = {name}(d, p, b - {1 + inside})")
        self._emit(level, "else:")
        self._emit(level + 1, f"p += {size}")
        self._items(level + 1, type_, inside)

    def _items(self, level: int, type_: ThriftType, inside: int) -> None:
        """What is in a container, of which ``n<inside>`` is the count and ``p`` the position of the first item."""
        count = f"n{inside}"
        element = type_.element
        if type_.kind in _LISTS:
            if element.kind is Kind.BOOL:
                self._emit(level, f"if d[p:p + {count}].strip(b'\\0\\1'): raise Malformed('a bool that is not 0 or 1')")
            if element.kind.size:
                self._emit(level, f"p += {count} * {element.kind.size}")
                return
            self._emit(level, f"for _ in range({count}):")
            self._item(level + 1, element, inside)
            return
        key = type_.key_type
        if key.kind.size and element.kind.size and Kind.BOOL not in (key.kind, element.kind):
            self._emit(level, f"p += {count} * {key.kind.size + element.kind.size}")
            return
        if key.kind in _TEXT and element.kind in _TEXT:
            self._emit(level, f"for _ in range({count} * 2):")
            self._item(level + 1, element, inside)
            return
        self._emit(level, f"for _ in range({count}):")
        self._item(level + 1, key, inside)
        self._item(level + 1, element, inside)

    def _item(self, level: int, type_: ThriftType, inside: int) -> None:
        kind = type_.kind
        if kind is Kind.BOOL:
            self._emit(level, "if d[p] > 1: raise Malformed('a bool that is not 0 or 1')")
            self._emit(level, "p += 1")
        elif kind.size:
            self._emit(level, f"p += {kind.size}")
        elif kind in _TEXT:
            self._emit(level, f"p += 4 + {self._unpacker('I')}(d, p)[0]")
        elif type_.struct is not None:
            self._emit(level, f"p = {self._call(type_.struct)}(d, p, b - {2 + inside})")
        else:
            self._container(level, type_, inside + 1)


def _map_types(type_: ThriftType) -> int:
    return type_.key_type.kind.wire << 8 | type_.element.kind.wire


def _container_depth(type_: ThriftType) -> int:
    """How many containers are around one another in *type_*, up to the next struct."""
    if type_.kind in _LISTS:
        return 1 + _container_depth(type_.element)
    if type_.kind is Kind.MAP:
        return 1 + max(_container_depth(type_.key_type), _container_depth(type_.element))
    return 0
