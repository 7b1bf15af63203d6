"""The server's end of a connection."""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from elanus.call import Call, Event
from elanus.contracts.transport import ServerLink
from elanus.errors import ElanusError, LimitExceededError, RemoteProtocolError
from elanus.options import CallOptions
from elanus_transport_ttheader.batching import BatchingProtocol
from elanus_transport_ttheader.protocol.frames import Message, Receiver
from elanus_transport_ttheader.protocol.framing import MessageType
from elanus_transport_ttheader.protocol.headers import NO_REQUEST_HEADERS, RequestHeaders
from elanus_transport_ttheader.protocol.replies import CONTROL_FRAME, NOTICE_FRAME, Answer, ReplyHeads
from elanus_transport_ttheader.protocol.ttheader import FLAG_OUT_OF_ORDER

if TYPE_CHECKING:
    import asyncio

    from elanus.contracts.transport import LinkOptions, Route
    from elanus_transport_ttheader.served import Served, Target

__all__ = ["TTHeaderLink"]

_log = logging.getLogger("elanus.transport_ttheader")

_DEFAULT_OPTIONS = CallOptions()
_START = Event.START
#: Type 5 (Stream) is tolerated as a call, as by Kitex. Whether a method is oneway is for the IDL to say, not for this.
_REQUESTS = frozenset((MessageType.CALL, MessageType.ONEWAY, MessageType.STREAM))
#: Seconds that a client has to leave by itself, once it was told to: Kitex's own numbers.
_IDLE_LINGER = 0.1
_MUX_LINGER = 1.0
#: Seconds between the last answer and the control frame. Kitex's client, which gives up at the control frame, hands
#: answers to goroutines: one that comes with it may be lost.
_MUX_LEAD = 0.01
#: Seconds after which a client that drops its connection at the control frame has done so.
_MUX_SETTLE = 0.05


class _Active:
    """A request whose handler runs."""

    __slots__ = ("message", "target", "task")

    def __init__(self, message: Message[RequestHeaders], target: Target) -> None:
        self.message = message
        self.target = target
        self.task: asyncio.Task[None] | None = None


class TTHeaderLink(BatchingProtocol, ServerLink):
    """One accepted connection.

    Requests whose TTHeader has the flag "replies may come out of order" run at the same time and are answered as they
    finish. All others take turns, and are answered in order; reading pauses when too many wait.
    """

    __slots__ = (
        "_batch",
        "_closing",
        "_crc32c",
        "_draining",
        "_ending",
        "_goodbye",
        "_held_bytes",
        "_holding",
        "_idle_timer",
        "_most",
        "_mux",
        "_paused",
        "_receiver",
        "_running",
        "_served",
        "_turn",
        "_waiting",
        "busy",
        "closed",
    )

    def __init__(self, served: Served, options: LinkOptions, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(options, loop)
        self.closed: asyncio.Future[None] = loop.create_future()
        self.busy = 0
        self._served = served
        self._crc32c = served.crc32c
        self._most = options.limits.calls_per_connection
        self._receiver = Receiver(served.memo, NO_REQUEST_HEADERS, options.limits)
        self._running: dict[Call, _Active] = {}
        self._waiting: deque[tuple[Message[RequestHeaders], float]] | None = None  # with the time of arrival
        self._batch = False  # requests are being started, and whoever does that goes on afterwards
        self._turn = False  # a request that must be answered before the next one runs
        self._held_bytes = 0
        self._mux = False  # a request with the flag was seen
        self._paused = False
        self._draining = False
        self._holding = False  # start nothing, for there must be a moment without a call in flight
        self._goodbye = False  # the control frame is sent, or will be
        self._ending = False  # read no more; close after the last answer
        self._closing = False
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._options.limits.idle_timeout:
            self._idle_timer = self._loop.call_later(self._options.limits.idle_timeout, self._look_for_idleness)

    # Requests

    def data_received(self, data: bytes) -> None:
        self._last_read = self._loop.time()
        if self._ending:
            return
        receiver = self._receiver
        messages = receiver.receive(data)
        if messages:
            self._take(messages)
        if receiver.failure is not None:
            self._end(receiver.failure)
        elif receiver.partial_bytes:
            self._watch()

    def _take(self, messages: list[Message[RequestHeaders]]) -> None:
        """Start the requests of one read, or let them wait. Answers that are given at once leave together."""
        now = monotonic()
        self.busy += len(messages)
        flushing, self._flushing, self._batch = self._flushing, True, True
        for message in messages:
            self._held_bytes += message.size
            if self._ending:
                self._drop(message)
            elif not self._waiting and self._may_start(message):
                self._start(message, now)
            else:
                self._wait(message, now)
        self._flushing, self._batch = flushing, False
        if not flushing:
            self._write_out()
        self._go_on()

    def _may_start(self, message: Message[RequestHeaders]) -> bool:
        if message.flags & FLAG_OUT_OF_ORDER:
            return not self._turn and not self._holding and len(self._running) < self._most
        return not self._running and not self._holding

    def _wait(self, message: Message[RequestHeaders], now: float) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((message, now))

    def _start(self, message: Message[RequestHeaders], arrived: float) -> None:
        """Route a request and run its handler."""
        served = self._served
        if message.kind not in _REQUESTS or not message.method:
            self._drop(message)
            self._end(RemoteProtocolError(f"a request of message type {message.kind} for method {message.method!r}"))
            return
        try:
            target = served.target(message)
        except ElanusError as error:
            self._drop(message)
            self._refuse(message, error)
            return
        call = self._call(message, target.route, arrived)
        active = self._running[call] = _Active(message, target)
        if message.flags & FLAG_OUT_OF_ORDER:
            self._mux = True
        else:
            self._turn = True
        active.task = served.dispatcher.dispatch(call, self.answer)

    def _call(self, message: Message[RequestHeaders], route: Route, arrived: float) -> Call:
        headers = message.headers
        call = Call(
            route.service,
            route.method,
            (),
            _DEFAULT_OPTIONS,
            caller=headers.caller,
            caller_method=headers.caller_method,
            callee=headers.callee,
        )
        call.timeline[0] = (_START, arrived)  # what waited for its turn has less time left, and its timeline says so
        call.argument_payload = message.payload
        call.seq_id = message.seq_id
        call.transport = message.framing.name
        call.received_bytes = message.size
        call.peer = headers.peer or self.peer
        if headers is not NO_REQUEST_HEADERS:
            call.metadata = headers.metadata
            call.headers = headers.values
            call.log_id = headers.log_id
            if headers.timeout_ms:
                call.limit = headers.limit
                call.deadline = arrived + headers.limit[1]  # type: ignore[assignment]  # a Deadline, without a call
            if headers.retry:
                call.attempt = headers.retry
                call.retried = True
        return call

    def _drop(self, message: Message[RequestHeaders]) -> None:
        """The request is no longer held."""
        self.busy -= 1
        self._held_bytes -= message.size

    # Answers

    def answer(self, call: Call, payload: bytes | None, error: ElanusError | None) -> None:
        """Core's answer to a request (:data:`elanus.contracts.transport.Reply`)."""
        active = self._running.pop(call, None)
        if active is None:
            return  # answered already, or the connection is gone
        message = active.message
        self.busy -= 1
        self._held_bytes -= message.size
        if not message.flags & FLAG_OUT_OF_ORDER:
            self._turn = False
        if error is not None and isinstance(error, LimitExceededError) and error.cut:
            self.close()
            return
        if active.target.oneway:
            pass
        elif not (error or payload is None or call.reply_metadata or call.biz_status or self._draining or self._crc32c):
            head = active.target.heads.plain(message)(message.seq_id, len(payload))
            size = call.sent_bytes = len(head) + len(payload)
            if size <= self._options.limits.frame_bytes:
                self._write(head, payload)
            else:
                self._answer_in_full(active, call, payload, error)
        else:
            self._answer_in_full(active, call, payload, error)
        if not self._batch and (self._waiting or self._paused or self._ending or self._draining):
            self._go_on()

    def _answer_in_full(self, active: _Active, call: Call, payload: bytes | None, error: ElanusError | None) -> None:
        message = active.message
        answer = Answer(payload, error, call.reply_metadata, call.biz_status)
        closes = answer.closes and not message.flags & FLAG_OUT_OF_ORDER
        call.sent_bytes = self._send(message, answer, active.target.heads, closes=closes)
        if closes:
            self._end(None)

    def _refuse(self, message: Message[RequestHeaders], error: ElanusError) -> None:
        """Answer a request that has no target. On a shared connection the others go on, as with Kitex's mux server."""
        closes = not message.flags & FLAG_OUT_OF_ORDER
        self._send(message, Answer(None, error), ReplyHeads(message.method), closes=closes)
        if closes:
            self._end(None)

    def _send(self, message: Message[RequestHeaders], answer: Answer, heads: ReplyHeads, *, closes: bool) -> int:
        head, payload = heads.render(
            message,
            answer,
            reset=closes or self._draining,
            checked=self._served.crc32c,
            most=self._options.limits.frame_bytes,
        )
        self._write(head, payload)
        return len(head) + len(payload)

    def _go_on(self) -> None:
        """Run what waits, read on, or close: whatever is to be done now that something has changed."""
        waiting = self._waiting
        if waiting:
            self._batch = True  # a handler that answers at once must not come here again, ever deeper
            while waiting and self._may_start(waiting[0][0]):
                self._start(*waiting.popleft())
            self._batch = False
        self._balance()
        if self._holding and not self._goodbye and not self._running:
            self._goodbye = True
            self._loop.call_later(_MUX_LEAD, self._say_goodbye)
        if self.busy == 0 and (self._ending or (self._draining and not self._mux)):
            self.close()

    # Reading no more than can be answered

    def _balance(self) -> None:
        """Pause or resume reading, as there is more or less to do than the limits allow."""
        limits = self._options.limits
        if self._paused:
            few = self.busy <= limits.calls_per_connection // 2 and self._held_bytes <= limits.frame_bytes // 2
            if few and self.writable and not self._ending and self._wire is not None and not self._closing:
                self._paused = False
                self._last_read = self._loop.time()
                self._wire.resume_reading()
        elif self.busy >= limits.calls_per_connection or self._held_bytes > limits.frame_bytes or not self.writable:
            self._pause()

    def _pause(self) -> None:
        if not self._paused and self._wire is not None and not self._wire.is_closing():
            self._paused = True
            self._wire.pause_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._balance()

    def stalled_bytes(self) -> int:
        return 0 if self._paused else self._receiver.partial_bytes

    # Ending

    def _look_for_idleness(self) -> None:
        self._idle_timer = None
        limit = self._options.limits.idle_timeout
        left = max(self._last_read, self._last_write) + limit - self._loop.time()
        if self.busy:
            left = limit
        if left > 0.001:
            self._idle_timer = self._loop.call_later(left, self._look_for_idleness)
        else:
            self.close()

    def drain(self) -> None:
        if self._draining or self._closing:
            return
        self._draining = True
        if not self._mux:
            self._loop.call_later(_IDLE_LINGER, self._close_if_idle)
            return
        self._write(NOTICE_FRAME, b"")
        if self._running:
            self._loop.call_later(_IDLE_LINGER, self._hold)
        else:
            self._hold()

    def _hold(self) -> None:
        """Prepare for the control frame, on which Kitex's client fails what is in flight: nothing may be.

        An elanus client has left by now, or has no more than its last calls here.
        """
        self._holding = True
        if not self._closing:
            self._go_on()

    def _say_goodbye(self) -> None:
        if self._closing:
            return
        self._write(CONTROL_FRAME, b"")
        self._loop.call_later(_MUX_SETTLE, self._release)

    def _release(self) -> None:
        """The client is still there, so it can read control frames: what it sent on the way is answered."""
        self._holding = False
        if not self._closing:
            self._go_on()
            self._loop.call_later(_MUX_LINGER, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.busy == 0:
            self.close()
        else:
            self._ending = True

    def _end(self, failure: ElanusError | None) -> None:
        """Read no more, and close after the requests that came before."""
        if failure is not None:
            _log.warning("closing the connection from %s: %s", self.peer, failure)
        while self._waiting and failure is None:  # they are behind the request that ends the connection
            self._drop(self._waiting.popleft()[0])
        self._ending = True
        self._pause()
        if self.busy == 0:
            self.close()

    def give_up(self, error: ElanusError) -> None:
        _log.warning("closing the connection from %s: %s", self.peer, error)
        self._ending = self._closing = True
        if self._wire is not None:
            self._wire.abort()

    def close(self) -> None:
        if not self._closing:
            self._ending = self._closing = True
            self._close_wire()
            self._cancel()

    def _cancel(self) -> None:
        """Nobody reads an answer any more. Oneway requests run on: nobody ever did."""
        running, self._running = self._running, {}
        for active in running.values():
            if active.task is not None and not active.target.oneway:
                active.task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_wire()
        self._ending = self._closing = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._cancel()
        self._run_oneways()
        self.busy = self._held_bytes = 0
        if not self.closed.done():
            self.closed.set_result(None)

    def _run_oneways(self) -> None:
        """Requests that waited for their turn when the client left: the oneway ones must not be lost."""
        waiting, self._waiting = self._waiting, None
        for message, arrived in waiting or ():
            try:
                target = self._served.target(message)
            except ElanusError:
                continue
            if target.oneway:
                self._served.dispatcher.dispatch(self._call(message, target.route, arrived), self.answer)
