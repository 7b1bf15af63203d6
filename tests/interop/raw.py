"""Requests as bytes, written by hand, and what a server does with them: for comparing two servers byte for byte."""

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .peer import PATIENCE_SECONDS

__all__ = ["CALL", "EMPTY", "EXCEPTION", "ONEWAY", "REPLY", "Outcome", "exchange", "message", "string_field", "wrapped"]

CALL, REPLY, EXCEPTION, ONEWAY = 1, 2, 3, 4
#: A struct without fields.
EMPTY = b"\0"


def string_field(number: int, text: str) -> bytes:
    data = text.encode()
    return struct.pack(">bhi", 11, number, len(data)) + data


def message(method: str, seq_id: int = 7, kind: int = CALL, body: bytes = EMPTY, *, magic: int = 0x8001) -> bytes:
    """A strict binary Thrift message, or with another *magic* a Kitex protobuf one, without a frame length."""
    name = method.encode()
    return struct.pack(">HHi", magic, kind, len(name)) + name + struct.pack(">i", seq_id) + body


def wrapped(
    framing: str,
    payload: bytes,
    strings: Mapping[str, str] | None = None,
    seq_id: int = 7,
    *,
    ints: Mapping[int, str] | None = None,
) -> bytes:
    """*payload* in the form of *framing*: buffered, framed, ttheader (no frame length behind it), ttheaderframed."""
    if framing in ("framed", "ttheaderframed"):
        payload = struct.pack(">i", len(payload)) + payload
    if not framing.startswith("ttheader"):
        return payload
    block = b"\0\0"  # protocol id, number of transforms
    if strings:
        pairs = b"".join(_short(key) + _short(value) for key, value in strings.items())
        block += struct.pack(">BH", 1, len(strings)) + pairs
    if ints:
        block += struct.pack(">BH", 16, len(ints))
        block += b"".join(struct.pack(">H", key) + _short(value) for key, value in ints.items())
    block += bytes(-len(block) % 4)
    head = struct.pack(">HHiH", 0x1000, 0, seq_id, len(block) // 4)
    return struct.pack(">i", len(head) + len(block) + len(payload)) + head + block + payload


def _short(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


@dataclass(frozen=True)
class Outcome:
    """What a server did with one request."""

    #: Every byte of its answer; empty when there was none.
    answer: bytes
    #: Whether it closed the connection instead of taking another request.
    closed: bool


_PING = wrapped("ttheaderframed", message("ping", 4242), {"isn": "Interop"}, 4242)
_PONG = wrapped("ttheaderframed", message("ping", 4242, REPLY), seq_id=4242, ints={22: "2"})


async def exchange(address: str, request: bytes) -> Outcome:
    """Send *request*, with a ping right behind it, on a connection of its own.

    Servers answer in order, so what comes before the pong is the answer; without a pong the server has closed.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        writer.write(request + _PING)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not received.endswith(_PONG):
                data = await _read(reader)
                if not data:
                    return Outcome(received, closed=True)
                received += data
        return Outcome(received.removesuffix(_PONG), closed=False)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionResetError:  # it closed with the ping unread
        return b""
