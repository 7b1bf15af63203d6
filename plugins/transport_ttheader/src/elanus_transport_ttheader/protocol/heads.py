"""Everything of a message that comes before its payload.

A *head* is the TTHeader, the frame length and the envelope with the method's name, in one piece of bytes. Of what it
holds only the sequence id and the lengths differ from call to call, so a head is made once and *rendered* per message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct, pack
from typing import TYPE_CHECKING, TypeAlias

from elanus_transport_ttheader.protocol.crc32c import checksum
from elanus_transport_ttheader.protocol.headers import CHECKSUM_KEY, RESET_KEY
from elanus_transport_ttheader.protocol.ttheader import MAGIC, IntKey, encode_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus_transport_ttheader.protocol.framing import Framing

__all__ = ["Render", "checked_head", "envelope", "head", "reply_block", "reply_pairs"]

#: Makes the bytes before a payload, out of the sequence id and the size of the payload.
Render: TypeAlias = Callable[[int, int], bytes]


def envelope(framing: Framing, kind: int, method: str) -> bytes:
    """The beginning of a message up to its sequence id. Thrift's and Kitex protobuf's differ in the magic only."""
    name = method.encode("utf-8", "surrogateescape")
    return pack(">HHI", framing.magic, kind, len(name)) + name


def head(framing: Framing, flags: int, block: bytes, start: bytes) -> Render:
    """The head of messages that differ in sequence id and payload only.

    :param block: the TTHeader's block, padded; ignored by framings without TTHeader.
    :param start: the :func:`envelope`.
    """
    if not framing.header:
        return _framed(start) if framing.framed else _buffered(start)
    # The magic and the flags, then (behind the sequence id) the size of the header in words, and the header.
    magic = pack(">HH", MAGIC, flags)
    sized_block = pack(">H", len(block) // 4) + block
    if framing.framed:
        return _ttheader_framed(magic, sized_block, start)
    return _ttheader(magic, sized_block, start)


@lru_cache(maxsize=1024)
def _layout(form: str) -> Struct:
    return Struct(form)


def _ttheader_framed(magic: bytes, sized_block: bytes, start: bytes) -> Render:
    render = _layout(f">I4si{len(sized_block)}sI{len(start)}si").pack
    inner = len(start) + 4
    outer = 8 + len(sized_block) + 4 + inner

    def ttheader_framed(seq_id: int, payload_bytes: int) -> bytes:
        return render(outer + payload_bytes, magic, seq_id, sized_block, inner + payload_bytes, start, seq_id)

    return ttheader_framed


def _ttheader(magic: bytes, sized_block: bytes, start: bytes) -> Render:
    render = _layout(f">I4si{len(sized_block)}s{len(start)}si").pack
    outer = 8 + len(sized_block) + len(start) + 4

    def ttheader(seq_id: int, payload_bytes: int) -> bytes:
        return render(outer + payload_bytes, magic, seq_id, sized_block, start, seq_id)

    return ttheader


def _framed(start: bytes) -> Render:
    render = _layout(f">I{len(start)}si").pack
    inner = len(start) + 4

    def framed(seq_id: int, payload_bytes: int) -> bytes:
        return render(inner + payload_bytes, start, seq_id)

    return framed


def _buffered(start: bytes) -> Render:
    render = _layout(f">{len(start)}si").pack

    def buffered(seq_id: int, payload_bytes: int) -> bytes:
        return render(start, seq_id)

    return buffered


def checked_head(
    framing: Framing,
    flags: int,
    strings: Mapping[str, str],
    ints: Mapping[int, str],
    start: bytes,
    seq_id: int,
    payload: bytes | memoryview,
) -> bytes:
    """The head of one message whose header carries the checksum of what follows it."""
    rest = pack(f">{len(start)}si", start, seq_id)
    if framing.framed:
        rest = pack(">I", len(rest) + len(payload)) + rest
    block = encode_block({**strings, CHECKSUM_KEY: checksum(b"".join((rest, payload)))}, ints)
    length = 10 + len(block) + len(rest) + len(payload)
    return pack(">IHHiH", length, MAGIC, flags, seq_id, len(block) // 4) + block + rest


def reply_pairs(kind: int, backward: Mapping[str, str], *, reset: bool) -> tuple[dict[str, str], dict[int, str]]:
    """The pairs of a reply's header: backward metadata without any prefix, as Kitex sends it, and the message type."""
    strings = dict(backward)
    if reset:
        strings[RESET_KEY] = "1"
    return strings, {IntKey.MESSAGE_TYPE: str(kind)}


@lru_cache(maxsize=16)
def reply_block(kind: int, *, reset: bool) -> bytes:
    """The header of a reply without metadata."""
    return encode_block(*reply_pairs(kind, {}, reset=reset))
