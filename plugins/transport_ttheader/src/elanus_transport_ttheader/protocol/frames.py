"""The receiving side of a connection, the same for client and server: bytes in, messages out.

Every message is looked at anew, as a Kitex server does (``pkg/remote/codec/default_codec.go``): with W0 and W1 its
first two 32-bit words, in this order,

====================== =======================================================================
W1 high half 0x1000    TTHeader; the following tests look at what comes after it
W0 high half 0xffaf    mesh header, likewise; nothing sends it any more
W0 high half 0x8001    Thrift without a length ("buffered")
W1 high half 0x8001    Thrift in a frame; W0 is its length
W1 high half 0x9001    Kitex protobuf in a frame; W0 is its length
====================== =======================================================================

and anything else ends the connection without an answer.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Generic, TypeVar

from elanus.errors import RemoteProtocolError
from elanus.first_bytes import guess
from elanus_transport_ttheader.protocol.crc32c import checksum
from elanus_transport_ttheader.protocol.framing import (
    PROTOBUF,
    PROTOBUF_MAGIC,
    THRIFT,
    THRIFT_MAGIC,
    TTHEADER_FRAMED,
    Framing,
    framing_of,
)
from elanus_transport_ttheader.protocol.memo import Headers
from elanus_transport_ttheader.protocol.skipper import StructWalker
from elanus_transport_ttheader.protocol.ttheader import FLAG_STREAMING, MAGIC, PREFIX, decode_strings

if TYPE_CHECKING:
    from elanus.limits import Limits
    from elanus_transport_ttheader.protocol.memo import BlockMemo

__all__ = ["MESH_MAGIC", "Message", "Receiver", "sniff"]

MESH_MAGIC = 0xFFAF

_WORDS = Struct(">II")
_U32 = Struct(">I")
_I32 = Struct(">i")
_FRAMED = Struct(">IHHI")  # frame length, version, message type, bytes of the method name

H = TypeVar("H", bound=Headers)


def sniff(head: bytes) -> bool | None:
    """Whether a connection that begins with *head* is for this plugin; ``None`` while 8 bytes have not come.

    Frames of TTHeader Streaming are not: their connections stay with them.
    """
    if len(head) < 8:
        return None
    first, second = _WORDS.unpack_from(head)
    if second >> 16 == MAGIC:
        return not second & FLAG_STREAMING
    return first >> 16 in (MESH_MAGIC, THRIFT_MAGIC) or second >> 16 in (THRIFT_MAGIC, PROTOBUF_MAGIC)


class Message(Generic[H]):
    """One message that has arrived in full.

    ``kind`` is its :class:`~elanus_transport_ttheader.protocol.framing.MessageType`. ``seq_id`` is the one beside the
    method name, ``frame_id`` the one in the TTHeader (without a TTHeader, the same again): they should be equal.
    ``flags`` are the TTHeader's. ``payload`` is the bare struct or protobuf message. ``size`` counts all its bytes.
    """

    __slots__ = ("flags", "frame_id", "framing", "headers", "kind", "method", "payload", "seq_id", "size")

    def __init__(
        self,
        framing: Framing,
        kind: int,
        method: str,
        seq_id: int,
        frame_id: int,
        flags: int,
        headers: H,
        payload: bytes,
        size: int,
    ) -> None:
        self.framing = framing
        self.kind = kind
        self.method = method
        self.seq_id = seq_id
        self.frame_id = frame_id
        self.flags = flags
        self.headers = headers
        self.payload = payload
        self.size = size

    def __repr__(self) -> str:
        return f"<Message {self.framing.name} kind={self.kind} {self.method!r} seq_id={self.seq_id} size={self.size}>"


class Receiver(Generic[H]):
    """Cuts the bytes of one connection into messages.

    :param memo: decodes TTHeaders; shared between connections.
    :param no_headers: the headers of messages that have none.
    :param limits: of frames, headers, nesting and sizes. What announces more than they allow fails before it is held.
    """

    __slots__ = ("_limits", "_memo", "_need", "_no_headers", "_partial", "_walker", "failure")

    def __init__(self, memo: BlockMemo[H], no_headers: H, limits: Limits) -> None:
        #: Why nothing more is read: the peer broke the rules. The connection cannot be used again.
        self.failure: RemoteProtocolError | None = None
        self._memo = memo
        self._no_headers = no_headers
        self._limits = limits
        self._partial: bytearray | None = None  # a message that has begun, made only while there is one
        self._need = 0  # bytes of it without which looking again is of no use
        self._walker: StructWalker | None = None  # how far into it, where no length says so

    @property
    def partial_bytes(self) -> int:
        """Bytes of a message that has begun and not ended; 0 between messages."""
        return len(self._partial) if self._partial is not None else 0

    def receive(self, data: bytes) -> list[Message[H]]:
        """The messages that *data* completes, in order. After a failure there are none, and ``failure`` is set."""
        messages: list[Message[H]] = []
        if self.failure is not None:
            return messages
        try:
            position = 0
            if self._partial is not None:
                joined = self._resume(data, messages)
                if joined is None:
                    return messages
                data = joined
                position = messages[0].size if messages else 0
            position = self._parse(data, position, messages)
            if position < len(data):
                self._partial = bytearray(memoryview(data)[position:])
                if self._walker is not None:
                    self._walker.shift(position)
        except RemoteProtocolError as error:
            self.failure = error
            self._partial = None
        return messages

    def end(self) -> RemoteProtocolError | None:
        """The peer sends no more: the fault in that, or ``None`` if it did so between messages."""
        if self.failure is None and self._partial is not None:
            head = bytes(self._partial[:32])
            if len(self._partial) < 8:
                self.failure = _foreign("the peer closed after", head)
            else:
                size = f"{len(self._partial)} of at least {self._need} bytes"
                self.failure = RemoteProtocolError(f"the peer closed within a message, after {size}")
        return self.failure

    def _resume(self, data: bytes, messages: list[Message[H]]) -> bytes | None:
        """Add to the message that has begun; gives all bytes once it may be complete."""
        partial = self._partial
        assert partial is not None
        partial += data
        if len(partial) < self._need:
            return None
        end = None
        if self._walker is not None:
            end = self._walker.advance(partial)
            if end is None:
                self._need = max(len(partial) + 1, self._walker.position)
                return None
        self._partial = self._walker = None
        joined = bytes(partial)
        if end is not None:
            messages.append(self._read(joined, 0, end))
        return joined

    def _parse(self, data: bytes, position: int, messages: list[Message[H]]) -> int:
        """Read all complete messages from *position*; gives the offset of the first that is not complete."""
        size = len(data)
        known = self._memo.get
        most = self._limits.frame_bytes - 4
        while position < size:
            # The short way, for what nearly all messages are: Thrift in a frame behind a TTHeader that was seen before,
            # all of it here. Whatever does not fit takes the general way, which also finds the words for what is wrong.
            if size - position >= 14:
                length, magic, flags, frame_id, words = PREFIX.unpack_from(data, position)
                end = position + 4 + length
                start = position + 14 + 4 * words
                if magic == MAGIC and end <= size and start + 12 <= end and flags < FLAG_STREAMING:
                    headers = known(data[position + 14 : start])
                    frame, version, kind, name_bytes = _FRAMED.unpack_from(data, start)
                    body = start + 16 + name_bytes
                    if (
                        headers is not None
                        and version == THRIFT_MAGIC
                        and frame == end - start - 4
                        and body <= end
                        and length <= most
                    ):
                        messages.append(
                            Message(
                                TTHEADER_FRAMED,
                                kind,
                                data[start + 12 : body - 4].decode("utf-8", "surrogateescape"),
                                _I32.unpack_from(data, body - 4)[0],
                                frame_id,
                                flags,
                                headers,
                                data[body:end],
                                length + 4,
                            )
                        )
                        position = end
                        continue
            general_end = self._measure(data, position)
            if general_end is None:
                break
            messages.append(self._read(data, position, general_end))
            position = general_end
        return position

    def _measure(self, data: bytes, position: int) -> int | None:
        """Where the message at *position* ends; ``None`` while that is not known or not yet here."""
        if not self._has(data, position, 8):
            return None
        first, second = _WORDS.unpack_from(data, position)
        if second >> 16 == MAGIC:
            if second & FLAG_STREAMING:
                raise RemoteProtocolError("a TTHeader Streaming frame among single messages")
            return self._framed_end(data, position, first + 4)
        if first >> 16 == MESH_MAGIC:
            header_bytes = 4 + (first & 0xFFFF)
            if not self._has(data, position, header_bytes + 8):
                return None
            return self._payload_end(data, position, position + header_bytes)
        return self._payload_end(data, position, position)

    def _payload_end(self, data: bytes, position: int, start: int) -> int | None:
        """The same for the message at *position* whose envelope, without a TTHeader, is at *start*."""
        first, second = _WORDS.unpack_from(data, start)
        if first >> 16 == THRIFT_MAGIC:
            return self._walked_end(data, position, start, second)
        if second >> 16 in (THRIFT_MAGIC, PROTOBUF_MAGIC):
            return self._framed_end(data, position, start - position + first + 4)
        raise _foreign("the peer sends", data[start : start + 32])

    def _framed_end(self, data: bytes, position: int, size: int) -> int | None:
        if size > self._limits.frame_bytes:
            raise RemoteProtocolError(
                f"a frame of {size} bytes, over the limit of {self._limits.frame_bytes}",
                hint="Make it smaller, or raise frame_bytes of Limits on this side",
            )
        return position + size if self._has(data, position, size) else None

    def _walked_end(self, data: bytes, position: int, start: int, name_bytes: int) -> int | None:
        if name_bytes > self._limits.header_bytes:
            raise RemoteProtocolError(f"a method name of {name_bytes} bytes")
        walker = StructWalker(start + 12 + name_bytes, self._limits)
        end = walker.advance(data)
        if end is None:
            self._walker = walker
            self._need = max(len(data) + 1, walker.position) - position
        return end

    def _has(self, data: bytes, position: int, count: int) -> bool:
        self._need = count
        return len(data) - position >= count

    def _read(self, data: bytes, position: int, end: int) -> Message[H]:
        """Read the message between *position* and *end*."""
        second = _U32.unpack_from(data, position + 4)[0]
        if second >> 16 == MAGIC:
            return self._read_ttheader(data, position, end)
        first = _U32.unpack_from(data, position)[0]
        if first >> 16 == MESH_MAGIC:
            return self._read_mesh(data, position, end)
        return self._read_envelope(data, position, position, end, self._no_headers, 0, None)

    def _read_ttheader(self, data: bytes, position: int, end: int) -> Message[H]:
        if end - position < PREFIX.size:
            raise RemoteProtocolError(f"a TTHeader frame of {end - position} bytes")
        _, _, flags, frame_id, words = PREFIX.unpack_from(data, position)
        start = position + PREFIX.size + 4 * words
        if 4 * words > self._limits.header_bytes:
            raise RemoteProtocolError(
                f"a TTHeader of {4 * words} bytes, over the limit of {self._limits.header_bytes}",
                hint="See the limit header_bytes",
            )
        if start + 8 > end:
            raise RemoteProtocolError(f"a TTHeader of {4 * words} bytes in a frame of {end - position}")
        block = data[position + PREFIX.size : start]
        headers = self._memo.get(block)
        if headers is None:
            headers = self._memo.decode(block)
        if headers.checksum:
            self._verify(data[start:end], headers.checksum)
        return self._read_envelope(data, position, start, end, headers, flags, frame_id)

    @staticmethod
    def _verify(payload: bytes, expected: str) -> None:
        actual = checksum(payload)
        if actual != expected:
            raise RemoteProtocolError(f"a payload whose checksum is {actual}, not {expected[:16]!r} as its header says")

    def _read_mesh(self, data: bytes, position: int, end: int) -> Message[H]:
        start = position + 4 + (_U32.unpack_from(data, position)[0] & 0xFFFF)
        strings: dict[str, str] = {}
        try:
            decode_strings(data[position + 4 : start], 0, strings)
        except IndexError:
            raise RemoteProtocolError("a mesh header whose pairs are longer than the header") from None
        return self._read_envelope(data, position, start, end, self._memo.read(strings), 0, None)

    def _read_envelope(
        self, data: bytes, position: int, start: int, end: int, headers: H, flags: int, frame_id: int | None
    ) -> Message[H]:
        """Read the message at *position* from its envelope, at *start*, on; with a ``frame_id`` from a TTHeader."""
        first, second = _WORDS.unpack_from(data, start)
        framed = first >> 16 != THRIFT_MAGIC
        magic, kind = divmod(second if framed else first, 0x10000)
        framing = framing_of(header=frame_id is not None, framed=framed, wire=_WIRES.get(magic, ""))
        if framing is None:
            raise _foreign("behind a header,", data[start : start + 32])
        if framed and start + 4 + first != end:
            raise RemoteProtocolError(f"a frame of {first} bytes in {end - start - 4} bytes behind a header")
        name = start + (12 if framed else 8)
        if name > end:
            raise RemoteProtocolError(f"a message of {end - position} bytes, too short for an envelope")
        body: int = name + _U32.unpack_from(data, name - 4)[0] + 4
        if body > end:
            raise RemoteProtocolError(f"a message of {end - position} bytes whose method name is longer")
        seq_id: int = _I32.unpack_from(data, body - 4)[0]
        return Message(
            framing,
            kind,
            data[name : body - 4].decode("utf-8", "surrogateescape"),
            seq_id,
            seq_id if frame_id is None else frame_id,
            flags,
            headers,
            data[body:end],
            end - position,
        )


def _foreign(begin: str, head: bytes) -> RemoteProtocolError:
    what, next_step = guess(head)
    return RemoteProtocolError(f"{begin} {what}", hint=next_step)


_WIRES = {THRIFT_MAGIC: THRIFT, PROTOBUF_MAGIC: PROTOBUF}
