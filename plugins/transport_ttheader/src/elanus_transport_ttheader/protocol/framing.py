"""The forms that a message can have on the wire."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BUFFERED",
    "FRAMED",
    "FRAMED_PROTOBUF",
    "PROTOBUF",
    "PROTOBUF_MAGIC",
    "THRIFT",
    "THRIFT_MAGIC",
    "TTHEADER",
    "TTHEADER_FRAMED",
    "TTHEADER_FRAMED_PROTOBUF",
    "Framing",
    "MessageType",
    "framing_of",
]

#: What codecs call their bytes (``Codec.wire``).
THRIFT = "thrift-binary"
PROTOBUF = "protobuf"
#: The first 16 bits of an envelope.
THRIFT_MAGIC = 0x8001
PROTOBUF_MAGIC = 0x9001


class MessageType:
    """The low 16 bits of an envelope's first word. Kitex adds 5 (Stream) and 6 (Heartbeat) to Thrift's four."""

    CALL = 1
    REPLY = 2
    EXCEPTION = 3
    ONEWAY = 4
    STREAM = 5


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """One form of a message. ``name`` is Kitex's word for it, which ends up in ``call.transport``."""

    name: str
    #: Whether a TTHeader comes first.
    header: bool
    #: Whether a 32-bit length comes before the envelope.
    framed: bool
    #: The payload's codec.
    wire: str

    @property
    def magic(self) -> int:
        """The first 16 bits of the envelope."""
        return THRIFT_MAGIC if self.wire == THRIFT else PROTOBUF_MAGIC


BUFFERED = Framing("PurePayload", False, False, THRIFT)
FRAMED = Framing("Framed", False, True, THRIFT)
FRAMED_PROTOBUF = Framing("Framed", False, True, PROTOBUF)
TTHEADER = Framing("TTHeader", True, False, THRIFT)
TTHEADER_FRAMED = Framing("TTHeaderFramed", True, True, THRIFT)
TTHEADER_FRAMED_PROTOBUF = Framing("TTHeaderFramed", True, True, PROTOBUF)

_ALL = (BUFFERED, FRAMED, FRAMED_PROTOBUF, TTHEADER, TTHEADER_FRAMED, TTHEADER_FRAMED_PROTOBUF)
_BY_PARTS = {(each.header, each.framed, each.wire): each for each in _ALL}


def framing_of(*, header: bool, framed: bool, wire: str) -> Framing | None:
    """The framing with these parts, or ``None``: Kitex knows no protobuf without a frame length."""
    return _BY_PARTS.get((header, framed, wire))
