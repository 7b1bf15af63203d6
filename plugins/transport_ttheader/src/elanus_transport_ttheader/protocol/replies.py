"""A server's side of the envelopes: from an outcome to the bytes of its reply, in the form of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.errors import ApplicationError, BizStatusError, CodecError, LocalProtocolError
from elanus_transport_ttheader.protocol import kitex_protobuf, thrift
from elanus_transport_ttheader.protocol.biz_status import biz_status_strings
from elanus_transport_ttheader.protocol.framing import THRIFT, TTHEADER, MessageType
from elanus_transport_ttheader.protocol.headers import RESET_KEY
from elanus_transport_ttheader.protocol.heads import checked_head, envelope, head, reply_block, reply_pairs
from elanus_transport_ttheader.protocol.sequence import NOTICE_ID
from elanus_transport_ttheader.protocol.ttheader import FLAG_OUT_OF_ORDER, encode_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.errors import ElanusError
    from elanus_transport_ttheader.protocol.frames import Message
    from elanus_transport_ttheader.protocol.framing import Framing
    from elanus_transport_ttheader.protocol.headers import RequestHeaders
    from elanus_transport_ttheader.protocol.heads import Render

__all__ = ["CONTROL_FRAME", "NOTICE_FRAME", "Answer", "ReplyHeads"]

_NOTHING: Mapping[str, str] = {}
#: Phases of errors after which a Kitex server closes the connection: what follows may not be what it seems.
_CLOSING_PHASES = ("route", "decode")


def _word_to_the_connection(seq_id: int) -> bytes:
    pairs = encode_block({RESET_KEY: "1"}, {})
    return head(TTHEADER, 0, pairs, envelope(TTHEADER, MessageType.REPLY, "none"))(seq_id, 1) + thrift.EMPTY_STRUCT


#: What a Kitex mux server sends on every connection when it shuts down: sequence id 0, ``crrst``, and an empty reply of
#: a method ``none``. The mux client of Kitex v0.16.3 panics on it, drops the connection, and fails what is in flight
#: (cloudwego/kitex issue 1897).
CONTROL_FRAME = _word_to_the_connection(0)
#: The same for elanus clients, which may be told while calls are in flight. Kitex's mux client drops without a word
#: what has the id of no call (``pkg/remote/trans/netpollmux/mux_conn.go``).
NOTICE_FRAME = _word_to_the_connection(NOTICE_ID)


class Answer:
    """The outcome of a request, in the words of the envelope."""

    __slots__ = ("backward", "closes", "code", "payload", "status", "text")

    def __init__(
        self,
        payload: bytes | None,
        error: ElanusError | None,
        backward: Mapping[str, str] = _NOTHING,
        status: BizStatusError | None = None,
    ) -> None:
        if isinstance(error, BizStatusError):
            status, error = error, None
        self.payload = payload
        self.backward = backward
        #: The business status, which travels in the header, beside a payload that is mostly empty.
        self.status = status
        #: The code of an error reply, ``None`` for a success.
        self.code: int | None = None
        self.text = ""
        #: Whether a Kitex server would close the connection after this.
        self.closes = error is not None and error.phase in _CLOSING_PHASES
        if isinstance(error, ApplicationError):
            self.code, self.text = error.code, error.message
        elif error is not None:
            undecoded = isinstance(error, CodecError) and self.closes
            self.code = ApplicationError.PROTOCOL_ERROR if undecoded else ApplicationError.INTERNAL_ERROR
            self.text = error.cause_text()

    def fail(self, text: str) -> None:
        """The answer itself cannot be sent: let the caller know why."""
        self.payload, self.backward, self.status = None, _NOTHING, None
        self.code, self.text = ApplicationError.INTERNAL_ERROR, text

    def body(self, wire: str) -> bytes:
        """The bytes behind the envelope."""
        if self.code is None:
            empty = thrift.EMPTY_STRUCT if wire == THRIFT else b""
            return self.payload if self.payload is not None else empty
        if wire == THRIFT:
            return thrift.write_exception(self.code, self.text)
        return kitex_protobuf.write_error(self.code, self.text)

    @property
    def kind(self) -> int:
        """The message type."""
        return MessageType.REPLY if self.code is None else MessageType.EXCEPTION


class ReplyHeads:
    """The heads of one method's replies. Every reply has the framing of its request and repeats its flag."""

    __slots__ = ("_method", "_plain")

    def __init__(self, method: str) -> None:
        self._method = method
        self._plain: dict[tuple[Framing, int], Render] = {}

    def plain(self, message: Message[RequestHeaders]) -> Render:
        """The head of a successful reply with nothing beside its payload."""
        key = (message.framing, message.flags)
        render = self._plain.get(key)
        if render is None:
            flags = message.flags & FLAG_OUT_OF_ORDER
            start = envelope(message.framing, MessageType.REPLY, self._method)
            render = head(message.framing, flags, reply_block(MessageType.REPLY, reset=False), start)
            if message.flags == flags:  # others make no sense, and their number is up to the peer
                self._plain[key] = render
        return render

    def render(
        self, message: Message[RequestHeaders], answer: Answer, *, reset: bool, checked: bool, most: int
    ) -> tuple[bytes, bytes]:
        """Head and payload of any reply.

        :param reset: tell the client to make no more calls on this connection.
        :param checked: add a checksum.
        :param most: bytes of a frame. A reply that is longer, or whose header is too long, becomes an error reply.
        """
        try:
            parts = self._render(message, answer, reset=reset, checked=checked)
            size = len(parts[0]) + len(parts[1])
            if size <= most:
                return parts
            problem = f"the reply has {size} bytes, over the limit of {most}"
        except LocalProtocolError as error:
            problem = f"the reply cannot be sent: {error.message}"
        answer.fail(problem)
        return self._render(message, answer, reset=reset, checked=checked)

    def _render(
        self, message: Message[RequestHeaders], answer: Answer, *, reset: bool, checked: bool
    ) -> tuple[bytes, bytes]:
        framing = message.framing
        payload = answer.body(framing.wire)
        start = envelope(framing, answer.kind, self._method)
        flags = message.flags & FLAG_OUT_OF_ORDER
        if not framing.header:
            return head(framing, 0, b"", start)(message.seq_id, len(payload)), payload
        strings, ints = reply_pairs(answer.kind, answer.backward, reset=reset)
        if answer.status is not None:
            strings.update(biz_status_strings(answer.status))
        if checked:
            return checked_head(framing, flags, strings, ints, start, message.seq_id, payload), payload
        return head(framing, flags, encode_block(strings, ints), start)(message.seq_id, len(payload)), payload
