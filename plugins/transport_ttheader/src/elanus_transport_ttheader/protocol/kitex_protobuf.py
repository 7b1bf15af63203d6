"""Kitex protobuf's error reply: ``ErrorProto { int32 TypeID = 1; string Message = 2; }``, written and read by hand.

A protobuf library would be a heavy dependency for two fields. Source: Kitex v0.16.3
``pkg/remote/codec/protobuf``, confirmed on the wire.
"""

from __future__ import annotations

from elanus.errors import ApplicationError, RemoteProtocolError
from elanus_transport_ttheader.protocol.thrift import default_text

__all__ = ["read_error", "write_error"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10


def write_error(code: int, text: str) -> bytes:
    """The message of an error reply; as in all of proto3, fields at their default are left out."""
    message = text.encode("utf-8", "surrogateescape")
    parts = []
    if code:
        parts.append(b"\x08" + _varint(code & 0xFFFFFFFFFFFFFFFF))
    if message:
        parts += (b"\x12", _varint(len(message)), message)
    return b"".join(parts)


def read_error(payload: bytes) -> ApplicationError:
    """The error that an error reply says; unknown fields are skipped.

    :raises RemoteProtocolError: it is cut short, or a field of no known kind is in it.
    """
    code, text, position = 0, "", 0
    while position < len(payload):
        tag, position = _read_varint(payload, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(payload, position)
            if tag >> 3 == 1:
                code = (value + 2**31 & 0xFFFFFFFF) - 2**31
        else:
            start, position = _extent(payload, position, kind)
            if tag >> 3 == 2 and kind == _BYTES:
                text = payload[start:position].decode("utf-8", "replace")
    return ApplicationError(code, text or default_text(code))


def _extent(payload: bytes, position: int, kind: int) -> tuple[int, int]:
    """Where the value of a field that is no varint begins and ends."""
    if kind == _BYTES:
        size, position = _read_varint(payload, position)
    elif kind in (_FIXED64, _FIXED32):
        size = 8 if kind == _FIXED64 else 4
    else:
        raise RemoteProtocolError(f"an error reply with a protobuf field of kind {kind}")
    if position + size > len(payload):
        raise RemoteProtocolError("an error reply that is cut short")
    return position, position + size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(payload: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MOST_VARINT_BYTES):
        if position >= len(payload):
            break
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position
    raise RemoteProtocolError("an error reply with a protobuf number that does not end")
