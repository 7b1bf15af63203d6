"""The client's end of a connection."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from copy import copy
from time import monotonic
from typing import TYPE_CHECKING

from elanus.call import Event
from elanus.contracts.transport import Connection
from elanus.errors import ApplicationError, ConnectionLostError, LocalProtocolError, RemoteProtocolError
from elanus_transport_ttheader.batching import BatchingProtocol
from elanus_transport_ttheader.protocol import kitex_protobuf, thrift
from elanus_transport_ttheader.protocol.frames import Message, Receiver
from elanus_transport_ttheader.protocol.framing import THRIFT, MessageType
from elanus_transport_ttheader.protocol.headers import NO_REPLY_HEADERS, ReplyHeaders
from elanus_transport_ttheader.protocol.sequence import NOTICE_ID, SequenceIds
from elanus_transport_ttheader.protocol.ttheader import FLAG_OUT_OF_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import LinkOptions, RawStream
    from elanus.errors import ElanusError
    from elanus_transport_ttheader.protocol.memo import BlockMemo
    from elanus_transport_ttheader.protocol.requests import RequestHeads

__all__ = ["TTHeaderConnection"]

# One counter for the process, as in Kitex: ids in logs and captures of different connections differ.
_SEQ_IDS = SequenceIds()
#: A Kitex server may drop a request that it has not begun when it sees the end of the connection. Kitex's client waits
#: 0.5 ms after each oneway request; here only closing waits, and longer.
_ONEWAY_LINGER = 0.02
#: Ids of oneway requests that are remembered, in case a server answers what it should not.
_ONEWAY_IDS = 64
#: Codes of error replies after which a Kitex server closes a connection on which calls take turns. With a TTHeader it
#: says so (``crrst``), otherwise its client has to know. A handler may use them too; that costs a connection.
_CLOSING_CODES = frozenset(
    (
        ApplicationError.UNKNOWN_METHOD,
        ApplicationError.PROTOCOL_ERROR,
        ApplicationError.INVALID_PROTOCOL,
        ApplicationError.UNKNOWN_SERVICE,
    )
)
_ANSWERED = Event.ANSWERED
#: The next step when a server closed a connection on which it had said nothing.
_SILENT_HINT = (
    "Look into the log of that server: it was stopped, wants TLS (Client(ssl=...)), or speaks another protocol"
)
_REPLY, _EXCEPTION, _STREAM = MessageType.REPLY, MessageType.EXCEPTION, MessageType.STREAM


class TTHeaderConnection(BatchingProtocol, Connection):
    """One connection, on which calls take turns (ping-pong), or share it by sequence id (multiplexed).

    A connection begins with turns unless *mux* says otherwise. Requests with a TTHeader carry the flag "replies may
    come out of order"; a Kitex server ignores it and an elanus server sends it back, which is how the client learns
    that it may send more.

    :param address: what was connected to, for errors.
    :param mux: share it from the start.
    :param learn: called with what a reply shows about the server: whether it answers out of order. ``None`` when
        the user decided, or when the framing has no flag.
    """

    __slots__ = (
        "_address",
        "_began",
        "_closing",
        "_drainers",
        "_draining",
        "_error",
        "_heads",
        "_heard",
        "_learn",
        "_most",
        "_mux",
        "_oneway_at",
        "_oneway_ids",
        "_pending",
        "_receiver",
        "_reserved",
        "_unwritten",
        "_why",
        "busy",
        "closed",
        "free",
    )

    def __init__(
        self,
        address: str,
        heads: RequestHeads,
        memo: BlockMemo[ReplyHeaders],
        options: LinkOptions,
        loop: asyncio.AbstractEventLoop,
        *,
        mux: bool,
        learn: Callable[[str, bool], None] | None,
    ) -> None:
        super().__init__(options, loop)
        self.closed: asyncio.Future[ElanusError] = loop.create_future()
        self.busy = 0
        self.free = options.limits.calls_per_connection if mux else 1
        self._address = address
        self._heads = heads
        self._most = options.limits.frame_bytes
        self._receiver = Receiver(memo, NO_REPLY_HEADERS, options.limits)
        self._mux = mux
        self._learn = learn
        self._draining = False
        self._why = ""
        self._closing = False
        self._error: ElanusError | None = None
        self._heard = False  # anything at all
        self._began = 0.0  # when the first bytes of the message came that is not complete
        self._pending: dict[int, tuple[asyncio.Future[Payload], Call]] = {}
        self._reserved: set[int] = set()  # ids of abandoned calls whose replies are still to come
        self._unwritten: list[asyncio.Future[Payload]] = []  # oneway requests that wait for the flush
        self._oneway_ids: deque[int] | None = None
        self._oneway_at = 0.0
        self._drainers: list[asyncio.Future[None]] = []

    # Sending

    def request(self, call: Call, payload: Payload) -> asyncio.Future[Payload]:
        heads = self._heads
        template = heads.template(call)
        seq_id = _SEQ_IDS.next(self._pending, self._reserved)
        deadline = call.deadline
        # Rounded up, so that a fresh timeout of 1 s is sent as 1000; at least 1, since 0 would mean none.
        left_ms = 0 if deadline is None else max(1, int((deadline - monotonic()) * 1000 + 0.999))
        head = heads.render(template, call, seq_id, left_ms, payload)
        size = len(head) + len(payload)
        if size > self._most:
            raise LocalProtocolError(
                f"a request of {size} bytes, over the limit of {self._most}",
                hint="Make it smaller, or raise frame_bytes of Limits on both sides",
            )
        future: asyncio.Future[Payload] = self._loop.create_future()
        call.seq_id = seq_id
        call.peer = self.peer
        call.transport = template.framing.name
        if self._error is not None or self._closing:
            future.set_exception(self._refusal())
            return future
        call.sent_bytes = size
        call.written = True
        if template.oneway:
            self._note_oneway(seq_id, future)
        else:
            self._pending[seq_id] = (future, call)
            self.busy += 1
            self.free -= 1
        self._write(head, payload)
        return future

    def _refusal(self) -> ElanusError:
        text = self._error.message if self._error is not None else "this side has closed the connection"
        return ConnectionLostError(text, instance=self._address, phase="send", sent=False)

    def _note_oneway(self, seq_id: int, future: asyncio.Future[Payload]) -> None:
        self._unwritten.append(future)
        self._oneway_at = self._loop.time()
        if self._oneway_ids is None:
            self._oneway_ids = deque(maxlen=_ONEWAY_IDS)
        self._oneway_ids.append(seq_id)

    def _write_out(self) -> None:
        super()._write_out()
        if self._unwritten:
            written, self._unwritten = self._unwritten, []
            for future in written:
                if not future.done():
                    future.set_result(b"")

    def abandon(self, reply: asyncio.Future[Payload], reason: ElanusError) -> None:
        # The future may be done: cancelling a task cancels the future that it awaits, before anyone comes here. What
        # counts is whether the answer has come.
        seq_id = next((seq_id for seq_id, (future, _) in self._pending.items() if future is reply), None)
        if seq_id is None:
            return
        _, call = self._pending.pop(seq_id)
        if not self._heard:
            call.note("nothing has ever come back on that connection")
        self.busy -= 1
        if not self._mux:
            # The next reply on this connection would be the abandoned one.
            self._finish(ConnectionLostError("closed, since its call was abandoned", instance=self._address))
            return
        self._reserved.add(seq_id)
        if not self._draining:
            self.free += 1
            if len(self._reserved) > self._options.limits.calls_per_connection:
                self._drain("its server leaves too many calls unanswered")
        elif not self._pending:
            self._finish(self._drained_error())

    # Receiving

    def data_received(self, data: bytes) -> None:
        self._last_read = self._loop.time()
        receiver = self._receiver
        pending = self._pending
        self._heard = True
        now = monotonic()
        began = self._began or now
        for message in receiver.receive(data):
            entry = pending.pop(message.frame_id, None)
            if entry is None:
                if not self._closing:
                    self._stray(message)
                continue
            future, call = entry
            if not future.done():  # or else its caller has gone, and the answer is late
                call.timeline.append((_ANSWERED, began))
            began = now
            self.busy -= 1
            if message.kind != _REPLY or message.seq_id != message.frame_id or message.method != call.method.name:
                self._unusual(message, future, call)
                continue
            self._settle(message, call)
            if not future.done():
                future.set_result(message.payload)
        if receiver.failure is not None:
            self.give_up(receiver.failure)
        elif receiver.partial_bytes:
            self._began = began
            self._watch()
        else:
            self._began = 0.0

    def _settle(self, message: Message[ReplyHeaders], call: Call) -> None:
        """What an answer says beside its payload."""
        call.received_bytes = message.size
        headers = message.headers
        if self._learn is not None and (message.flags & FLAG_OUT_OF_ORDER != 0) != self._mux:
            self._change_mode(message)
        elif not self._draining:
            self.free += 1
        if headers.backward:
            call.reply_metadata = headers.backward
            if headers.has_status:
                call.biz_status = headers.biz_status()
            if headers.peer:
                call.peer = headers.peer
            if headers.reset:
                self._drain("its server closes it")
        if self._draining and not self._pending:
            self._finish(self._drained_error())

    def _change_mode(self, message: Message[ReplyHeaders]) -> None:
        """The server showed that it answers out of order; or another one, behind the same address, that it does not."""
        assert self._learn is not None
        self._mux = not self._mux
        self._learn(self._address, self._mux)
        if not self._draining:
            places = self._options.limits.calls_per_connection if self._mux else 1
            self.free = max(0, places - self.busy)
            if not self._mux and self._reserved:
                self._drain("it can no longer tell late replies apart")

    def _unusual(self, message: Message[ReplyHeaders], future: asyncio.Future[Payload], call: Call) -> None:
        """An answer to *call* that is an error reply, or breaks the rules."""
        ids = (message.seq_id, message.frame_id)
        # Kitex servers answer what they could not decode with sequence id 0; no client looks at the name then.
        if message.kind == _EXCEPTION and (call.seq_id in ids or 0 in ids):
            self._settle(message, call)
            self._raise_remote(message, future)
            return
        if message.kind not in (_REPLY, _STREAM, _EXCEPTION):  # Kitex takes type 5 for an answer too
            text = f"invalid message type {message.kind} in an answer"
        elif message.method != call.method.name:
            text = f"wrong method name, expect={call.method.name}, actual={message.method}"
        elif message.seq_id != call.seq_id:
            text = f"bad sequence ID, expect={call.seq_id}, actual={message.seq_id}"
        else:  # only the TTHeader's own id differs, which Kitex logs, believing the message
            self._settle(message, call)
            if not future.done():
                future.set_result(message.payload)
            return
        error = RemoteProtocolError(text, instance=self._address)
        if not future.done():
            future.set_exception(copy(error))
        self.give_up(error)

    def _raise_remote(self, message: Message[ReplyHeaders], future: asyncio.Future[Payload]) -> None:
        read = thrift.read_exception if message.framing.wire == THRIFT else kitex_protobuf.read_error
        try:
            error: ElanusError = read(message.payload)
        except RemoteProtocolError as broken:
            error = broken
            self.give_up(broken)
        if isinstance(error, ApplicationError) and error.code in _CLOSING_CODES and not self._mux:
            self._drain("its server closes it after such an answer")
            self._finish(self._drained_error())
        if not future.done():
            future.set_exception(error)

    def _stray(self, message: Message[ReplyHeaders]) -> None:
        """A message whose TTHeader (or, without one, whose envelope) has the id of no call in flight."""
        reset = message.headers.reset
        if reset:
            self._drain("its server closes it")
        if reset and message.frame_id in (0, NOTICE_ID) and message.kind == _REPLY:
            pass  # a word to the connection: finish the calls in flight, make no more
        elif message.frame_id in self._reserved:
            self._reserved.discard(message.frame_id)
        elif self._oneway_ids is not None and message.frame_id in self._oneway_ids:
            pass  # the server's IDL has it as two-way; its answer is nobody's
        elif len(self._pending) == 1 and not self._mux:
            # Turns: it can only be for the call in flight, or break the rules.
            _, (future, call) = self._pending.popitem()
            self.busy -= 1
            self._unusual(message, future, call)
        else:
            text = f"an answer of {message.method!r} with sequence id {message.frame_id}, which no call has"
            self.give_up(RemoteProtocolError(text, instance=self._address))
        if self._draining and not self._pending:
            self._finish(self._drained_error())

    # Ending

    def _drain(self, why: str) -> None:
        """Take no more calls; whoever settles the last one closes."""
        if not self._draining:
            self._draining = True
            self.free = 0
            self._why = why

    def _drained_error(self) -> ElanusError:
        return ConnectionLostError(f"closed, since {self._why}", instance=self._address, sent=False)

    def _finish(self, error: ElanusError) -> None:
        """Close once what was written has left."""
        self.free = 0
        if not self._closing:
            self._closing = True
            self._error = self._error or error
            self._close_wire()

    def give_up(self, error: ElanusError) -> None:
        if error.instance is None:
            error.instance = self._address
        self.free = 0
        self._closing = True
        self._error = self._error or error
        self._fail_calls(error)
        if self._wire is not None:
            self._wire.abort()

    def _fail_calls(self, error: ElanusError) -> None:
        futures = [*(future for future, _ in self._pending.values()), *self._unwritten]
        self._pending.clear()
        self.busy = 0
        for future in futures:
            if not future.done():
                future.set_exception(copy(error))  # each caller raises one of its own
        self._unwritten.clear()

    def eof_received(self) -> None:
        self._error = self._error or self._receiver.end()
        if self._error is not None and self._error.instance is None:
            self._error.instance = self._address

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_wire()
        self.free = 0
        self._closing = True
        if self._error is None:
            hint = None if self._heard else _SILENT_HINT
            self._error = ConnectionLostError(_why_lost(exc, heard=self._heard), instance=self._address, hint=hint)
            self._error.__cause__ = exc
        self._fail_calls(self._error)
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_exception(self._refusal())
        self._drainers.clear()
        if not self.closed.done():
            self.closed.set_result(self._error)

    def stalled_bytes(self) -> int:
        return self._receiver.partial_bytes

    def resume_writing(self) -> None:
        super().resume_writing()
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)
        self._drainers.clear()

    async def drained(self) -> None:
        while not self.writable:
            if self._error is not None:
                raise self._refusal()
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._drainers.append(waiter)
            await waiter

    async def open(self, call: Call) -> RawStream:
        raise LocalProtocolError(
            f"{call.method} is a stream, which {self._heads.words} connections do not carry",
            hint="Select a transport that streams",
        )

    async def aclose(self, grace: float) -> None:
        self._drain("this side closes it")
        self._write_out()
        if self._pending and grace > 0:
            await asyncio.wait([self.closed], timeout=grace)
        if self._pending:
            self.give_up(ConnectionLostError("this side closed the connection", instance=self._address))
        linger = self._oneway_at + _ONEWAY_LINGER - self._loop.time() if self._oneway_at else 0.0
        if linger > 0 and not self._mux and not self.closed.done():
            await asyncio.wait([self.closed], timeout=linger)
        self._finish(self._drained_error())
        if not self.closed.done():
            await asyncio.wait([self.closed], timeout=max(grace, 1.0))
        if not self.closed.done():
            self.give_up(ConnectionLostError("this side closed the connection", instance=self._address))


def _why_lost(exc: Exception | None, *, heard: bool) -> str:
    early = "" if heard else " before anything came back on it"
    if exc is None:
        return f"the peer closed the connection{early}"
    why = os.strerror(exc.errno).lower() if isinstance(exc, OSError) and exc.errno else str(exc)
    return f"the connection broke{early}: {why}"
