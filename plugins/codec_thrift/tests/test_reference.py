"""Against a second implementation: Apache Thrift's ``TBinaryProtocol``, driven by hand.

Whatever one of the two reads, the other reads, with the same outcome; what one writes, the other reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from elanus.errors import CodecError
from elanus_codec_thrift.schema import VALID_WIRE_TYPES, Form, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec
    from elanus_codec_thrift.schema import Struct, ThriftType

_CALLS = {
    Kind.BOOL: "Bool",
    Kind.I8: "Byte",
    Kind.I16: "I16",
    Kind.I32: "I32",
    Kind.ENUM: "I32",
    Kind.I64: "I64",
    Kind.DOUBLE: "Double",
    Kind.BINARY: "Binary",
}


class Refused(Exception):
    """The reference does not take the bytes."""


class Reference:
    """Reads and writes objects of the IDL with Apache Thrift's primitives."""

    def __init__(self, data: bytes = b"") -> None:
        self.transport = TMemoryBuffer(data)
        self.protocol = TBinaryProtocol(self.transport)

    # Reading.

    def read(self, struct: Struct, depth: int = 64) -> Any:
        if depth <= 0:
            raise Refused("deep")
        value = struct.cls()
        seen = set()
        while True:
            _, code, number = self.protocol.readFieldBegin()
            if code == 0:
                break
            if code not in VALID_WIRE_TYPES:
                raise Refused(f"type {code}")
            field = next((item for item in struct.fields if item.id == number), None)
            if field is None or field.type.kind.wire != code:
                self._skip(code, depth - 1)
                continue
            setattr(value, field.name, self._read(field.type, depth - 1))
            seen.add(field.name)
        if any(item.required and item.name not in seen for item in struct.fields):
            raise Refused("required")
        return value

    def _read(self, type_: ThriftType, depth: int) -> Any:
        kind = type_.kind
        if type_.struct is not None:
            return self.read(type_.struct, depth)
        if kind is Kind.STRING:
            return self.protocol.readBinary().decode()
        if kind is Kind.BOOL:
            number = self.protocol.readByte()
            if number not in (0, 1):
                raise Refused("bool")
            return number == 1
        if kind not in (Kind.LIST, Kind.SET, Kind.MAP):
            return getattr(self.protocol, f"read{_CALLS[kind]}")()
        if depth <= 0:
            raise Refused("deep")
        codes, size = self._header(kind.wire)
        wanted = (
            [type_.element.kind.wire] if kind is not Kind.MAP else [type_.key_type.kind.wire, type_.element.kind.wire]
        )
        if size and codes != wanted:
            raise Refused("another type")
        if kind is Kind.MAP:
            return {self._read(type_.key_type, depth - 1): self._read(type_.element, depth - 1) for _ in range(size)}
        items = [self._read(type_.element, depth - 1) for _ in range(size)]
        return set(items) if kind is Kind.SET and type_.element.hashable else items

    def _header(self, code: int) -> tuple[list[int], int]:
        codes = [self.protocol.readByte() for _ in range(2 if code == 13 else 1)]
        size = self.protocol.readI32()
        left = len(self.transport.getvalue()) - self.transport._buffer.tell()
        if size < 0 or size > left:
            raise Refused("size")
        return codes, size

    def _skip(self, code: int, depth: int) -> None:
        if code in (12, 13, 14, 15) and depth <= 0:
            raise Refused("deep")
        if code == 12:
            while True:
                _, inner, _ = self.protocol.readFieldBegin()
                if inner == 0:
                    return
                if inner not in VALID_WIRE_TYPES:
                    raise Refused("type")
                self._skip(inner, depth - 1)
        elif code in (13, 14, 15):
            codes, size = self._header(code)
            if size and not VALID_WIRE_TYPES.issuperset(codes):
                raise Refused("type")
            for _ in range(size):
                for inner in codes:
                    self._skip(inner, depth - 1)
        elif code == 11:
            self.protocol.readBinary()
        else:
            self.transport.readAll({2: 1, 3: 1, 4: 8, 6: 2, 8: 4, 10: 8}[code])

    # Writing.

    def write(self, struct: Struct, value: Any) -> bytes:
        self._write_struct(struct, value)
        data: bytes = self.transport.getvalue()
        return data

    def _write_struct(self, struct: Struct, value: Any) -> None:
        for item in struct.fields:
            held = getattr(value, item.name)
            if held is not None:
                self.protocol.writeFieldBegin(item.name, item.type.kind.wire, item.id)
                self._write(item.type, held)
        self.protocol.writeFieldStop()

    def _write(self, type_: ThriftType, value: Any) -> None:
        kind, protocol = type_.kind, self.protocol
        if type_.struct is not None:
            self._write_struct(type_.struct, value)
        elif kind is Kind.STRING:
            protocol.writeBinary(value.encode())
        elif kind is Kind.MAP:
            protocol.writeMapBegin(type_.key_type.kind.wire, type_.element.kind.wire, len(value))
            for key, item in value.items():
                self._write(type_.key_type, key)
                self._write(type_.element, item)
        elif kind in (Kind.LIST, Kind.SET):
            protocol.writeListBegin(type_.element.kind.wire, len(value))
            for item in value:
                self._write(type_.element, item)
        else:
            getattr(protocol, f"write{_CALLS[kind]}")(value)


_METHODS = [
    "word",
    "small",
    "numbers",
    "scalars",
    "options",
    "nested",
    "tree",
    "mixed",
    "demanding",
    "defaults",
    "choose",
    "empty",
    "range",
    "join",
]
_SETTINGS = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_SETTINGS
@given(data=st.data())
def test_values_go_both_ways(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    method = types.Everything.methods[data.draw(st.sampled_from(_METHODS))]
    message = method.argument_type
    wrapper = data.draw(values(message.struct))
    arguments = message.pick(wrapper)
    payload = codec.encode_arguments(method, arguments)
    assert payload == Reference().write(message.struct, wrapper)
    assert codec.decode_arguments(method, payload) == arguments
    assert codec.decode_arguments(method, memoryview(payload)) == arguments
    assert message.pick(Reference(payload).read(message.struct)) == arguments


@_SETTINGS
@given(data=st.data())
def test_replies_and_exceptions_go_both_ways(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    method = types.Everything.methods[
        data.draw(st.sampled_from(["find", "leaves", "nested", "paint", "join", "check", "word", "small", "numbers"]))
    ]
    struct = method.result_type.struct
    field = data.draw(st.sampled_from(struct.fields))
    held = getattr(data.draw(values(struct)), field.name)
    wrapper = struct.cls(**{field.name: held})
    written = Reference().write(struct, wrapper)
    if held is None:
        assert codec.decode_result(method, written) is None
    elif isinstance(held, Exception):
        assert codec.encode_exception(method, held) == written
        with pytest.raises(type(held)) as caught:
            codec.decode_result(method, written)
        assert caught.value == held
    else:
        assert codec.encode_result(method, held) == written
        assert codec.decode_result(method, written) == held


@_SETTINGS
@given(data=st.data())
def test_both_take_the_same_bytes(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    """Messages of one type, harmed or not, read as another: both readers agree on what they are, or both refuse."""
    written, read = (types.Everything.methods[data.draw(st.sampled_from(_METHODS))] for _ in range(2))
    read = data.draw(st.sampled_from([written, read]))
    payload = bytearray(
        codec.encode_arguments(written, written.argument_type.pick(data.draw(values(written.argument_type.struct))))
    )
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(payload)))
        payload[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([bytes([kind.wire]) for kind in Kind] + [bytes(4), b"\x00\x00\x00\x01"])
        )
    try:
        expected = read.argument_type.pick(Reference(bytes(payload)).read(read.argument_type.struct))
    except Exception:
        with pytest.raises(CodecError):
            codec.decode_arguments(read, bytes(payload))
    else:
        decoded = codec.decode_arguments(read, bytes(payload))
        assert repr(decoded) == repr(expected)  # text, since a harmed double may be no number, which equals nothing


def test_the_reference_knows_unions(types: Idl) -> None:
    """What the strategies rest on."""
    assert types.Choice.__elanus_struct__.form is Form.UNION
