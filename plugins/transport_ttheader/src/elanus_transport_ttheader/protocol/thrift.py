"""Thrift's application exception in binary encoding: ``{1: string message, 2: i32 type}``.

The struct is an envelope's business, not a codec's: every peer reads and writes the same one.
"""

from __future__ import annotations

from struct import Struct

from elanus.errors import ApplicationError
from elanus.limits import DEFAULT_LIMITS
from elanus_transport_ttheader.protocol.skipper import StructWalker

__all__ = ["EMPTY_STRUCT", "default_text", "read_exception", "write_exception"]

EMPTY_STRUCT = b"\0"

_I32 = Struct(">i")
_I32_TYPE, _STRING = 8, 11
_MESSAGE_FIELD = b"\x0b\x00\x01"
_TYPE_FIELD = b"\x08\x00\x02"
# What peers show for an error without a message. Source: cloudwego/gopkg ``protocol/thrift/exception.go``.
_TEXTS = {
    0: "unknown application exception",
    1: "unknown method",
    2: "invalid message type",
    3: "wrong method name",
    4: "bad sequence ID",
    5: "missing result",
    6: "unknown internal error",
    7: "unknown protocol error",
    8: "Invalid transform",
    9: "Invalid protocol",
    10: "Unsupported client type",
    20: "unknown service",
}


def default_text(code: int) -> str:
    """What to show for an error reply with an empty message."""
    return _TEXTS.get(code, f"error {code}")


def write_exception(code: int, text: str) -> bytes:
    """The struct of an error reply: always both fields, in this order, as Kitex writes it."""
    message = text.encode("utf-8", "surrogateescape")
    return b"".join((_MESSAGE_FIELD, _I32.pack(len(message)), message, _TYPE_FIELD, _I32.pack(code), b"\0"))


def read_exception(payload: bytes) -> ApplicationError:
    """The error that an error reply's struct says; fields may be missing or in any order, others are skipped.

    :raises RemoteProtocolError: the struct is cut short or makes no sense.
    """
    text, code = "", 0
    walker = StructWalker(0, DEFAULT_LIMITS)
    for kind, field, start in walker.fields(payload):
        if kind == _STRING and field == 1:
            text = payload[start + 4 : start + 4 + _I32.unpack_from(payload, start)[0]].decode("utf-8", "replace")
        elif kind == _I32_TYPE and field == 2:
            code = _I32.unpack_from(payload, start)[0]
    return ApplicationError(code, text or default_text(code))
