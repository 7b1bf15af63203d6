"""The TTHeader: a fixed prefix of 14 bytes, then a block of text pairs, then the payload.

::

    0   4  LENGTH: bytes after this field
    4   2  magic 0x1000
    6   2  flags
    8   4  sequence id
    12  2  HEADER SIZE: 4-byte words from offset 14 to the payload
    14  .. the block: protocol id, number of transforms, transform ids, info blocks, padding

Everything is big-endian. Source: cloudwego/gopkg ``protocol/ttheader``, confirmed on the wire with Kitex v0.16.3.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from elanus.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACL_KEY",
    "FLAG_OUT_OF_ORDER",
    "FLAG_STREAMING",
    "MAGIC",
    "MAX_SENT_BYTES",
    "PREFIX",
    "IntKey",
    "Pairs",
    "decode_block",
    "decode_strings",
    "encode_block",
    "encode_pairs",
    "encode_tail",
    "join_block",
    "pad",
]

#: LENGTH, magic, flags, sequence id, HEADER SIZE.
PREFIX = Struct(">IHHiH")
MAGIC = 0x1000
#: The sender can take replies out of order; Kitex's mux client sets it, and Kitex servers ignore it.
FLAG_OUT_OF_ORDER = 0x0001
#: A frame of TTHeader Streaming.
FLAG_STREAMING = 0x0002
#: Kitex reads headers of up to 4 * 65535 bytes, and peers built before December 2025 no more than 64 KiB.
MAX_SENT_BYTES = 64 * 1024
#: This string key travels as info block 0x11, without its name: the ACL token.
ACL_KEY = "RPC_TRANSIT_gdpr-token"

_INFO_PADDING, _INFO_STRINGS, _INFO_INTS, _INFO_ACL = 0x00, 0x01, 0x10, 0x11
# Thrift binary (Kitex sends it for protobuf too), compact v2 and Kitex protobuf are accepted and make no difference,
# the payload's own magic decides. Compact (2) and anything else are refused, as by Kitex.
_PROTOCOL_IDS = frozenset((0x00, 0x03, 0x04))
_U16 = Struct(">H")
_NO_PROTOCOL = b"\0\0"  # protocol id 0 (thrift binary), no transforms


class IntKey:
    """The integer keys of a TTHeader that this plugin reads or writes; their values are text."""

    TRANSPORT_TYPE = 1
    LOG_ID = 2
    FROM_SERVICE = 3
    TO_SERVICE = 6
    TO_METHOD = 9
    RPC_TIMEOUT = 12
    CONNECT_TIMEOUT = 17
    FROM_METHOD = 20
    MESSAGE_TYPE = 22


class Pairs:
    """What one decoded block holds. ``tail`` is the offset of the last pair when that is key 12 and nothing but padding
    follows, else 0: callers that put what varies at the end let readers keep the rest decoded.
    """

    __slots__ = ("ints", "strings", "tail")

    def __init__(self) -> None:
        self.strings: dict[str, str] = {}
        self.ints: dict[int, str] = {}
        self.tail = 0


def _text(data: bytes) -> str:
    # UTF-8 by convention and never validated: what does not decode must survive the way back.
    return data.decode("utf-8", "surrogateescape")


def _str16(text: str) -> bytes:
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"a header key or value that is no text: {error}") from error
    if len(data) > 0xFFFF:
        raise LocalProtocolError(
            f"a header key or value of {len(data)} bytes, over 65535", hint="Send large values in the message itself"
        )
    return _U16.pack(len(data)) + data


def encode_pairs(values: Mapping[str, str] | Mapping[int, str]) -> bytes:
    """The pairs of an info block, without its id and count."""
    return b"".join(
        (_U16.pack(key) if isinstance(key, int) else _str16(key)) + _str16(value) for key, value in values.items()
    )


def encode_tail(key: int, value: str) -> bytes:
    """One more pair for the end of the integer keys."""
    return _U16.pack(key) + _str16(value)


def join_block(acl: str | None, strings: bytes, string_count: int, ints: bytes, int_count: int) -> bytes:
    """A block of pairs that are encoded already, in Kitex's order, and not padded."""
    parts = [_NO_PROTOCOL]
    if acl is not None:
        parts += (b"\x11", _str16(acl))
    if string_count:
        parts += (b"\x01", _U16.pack(string_count), strings)
    if int_count:
        parts += (b"\x10", _U16.pack(int_count), ints)
    return b"".join(parts)


def pad(block: bytes) -> bytes:
    """*block* with up to three zero bytes, so that its size is a number of words.

    :raises LocalProtocolError: over :data:`MAX_SENT_BYTES`, prefix included.
    """
    padded = block + b"\0" * (-len(block) % 4)
    if len(padded) + PREFIX.size > MAX_SENT_BYTES:
        raise LocalProtocolError(
            f"headers of {len(padded) + PREFIX.size} bytes, over {MAX_SENT_BYTES}",
            hint="Older Kitex peers refuse more; send large values in the message itself",
        )
    return padded


def encode_block(strings: Mapping[str, str], ints: Mapping[int, str]) -> bytes:
    """A whole block, padded. :data:`ACL_KEY` becomes its own info block, as Kitex does.

    :raises LocalProtocolError: too long.
    """
    acl = strings.get(ACL_KEY)
    if acl is not None:
        strings = {key: value for key, value in strings.items() if key != ACL_KEY}
    return pad(join_block(acl, encode_pairs(strings), len(strings), encode_pairs(ints), len(ints)))


def decode_block(block: bytes) -> Pairs:
    """Read a block, from the protocol id up to the payload.

    Info blocks may repeat and come in any order; of equal keys the later one wins; single padding bytes may stand
    between them.

    :raises RemoteProtocolError: an unknown protocol id or info block, or lengths that do not fit.
    """
    size = len(block)
    pairs = Pairs()
    if size < 2 or block[0] not in _PROTOCOL_IDS:
        raise RemoteProtocolError(f"a TTHeader with protocol id {block[:1].hex() or 'missing'}")
    position = 2 + block[1]  # of transforms there are only the ids; Kitex neither writes nor applies any
    if position > size:
        raise RemoteProtocolError(f"a TTHeader of {size} bytes that announces {block[1]} transforms")
    try:
        while position < size:
            kind = block[position]
            position += 1
            if kind == _INFO_PADDING:
                continue
            if kind == _INFO_STRINGS:
                position = decode_strings(block, position, pairs.strings)
                pairs.tail = 0
            elif kind == _INFO_INTS:
                position = _decode_ints(block, position, pairs)
            elif kind == _INFO_ACL:
                value, position = _take(block, position)
                pairs.strings[ACL_KEY] = value
                pairs.tail = 0
            else:
                raise RemoteProtocolError(f"a TTHeader with unknown info block {kind:#04x}")
    except IndexError:
        raise RemoteProtocolError("a TTHeader whose pairs are longer than the header") from None
    return pairs


def decode_strings(block: bytes, position: int, strings: dict[str, str]) -> int:
    """Read a count and so many pairs of text at *position* into *strings*; returns the offset behind them.

    :raises IndexError: they are longer than *block*.
    """
    count, position = _number(block, position)
    for _ in range(count):
        key, position = _take(block, position)
        strings[key], position = _take(block, position)
    return position


def _decode_ints(block: bytes, position: int, pairs: Pairs) -> int:
    count, position = _number(block, position)
    pairs.tail = 0
    for left in range(count, 0, -1):
        start = position
        key, position = _number(block, position)
        pairs.ints[key], position = _take(block, position)
        if left == 1 and key == IntKey.RPC_TIMEOUT:
            pairs.tail = start
    return position


def _number(block: bytes, position: int) -> tuple[int, int]:
    if position + 2 > len(block):
        raise IndexError
    return block[position] << 8 | block[position + 1], position + 2


def _take(block: bytes, position: int) -> tuple[str, int]:
    length, position = _number(block, position)
    end = position + length
    if end > len(block):
        raise IndexError
    return _text(block[position:end]), end
