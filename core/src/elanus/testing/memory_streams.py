"""The two ends of a stream in memory: bounded queues, credits, and every way in which a stream can end."""

from __future__ import annotations

import asyncio
import copy
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from elanus.contracts.transport import RawStream
from elanus.errors import ElanusError, RpcCancelledError, StateError
from elanus.testing.memory_wire import Answer, carried, checked, post

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call
    from elanus.contracts.codec import Payload
    from elanus.limits import Limits
    from elanus.testing.memory_links import ClientEnd, ServerEnd

__all__ = ["ClientStreamEnd", "ServerStreamEnd", "end_stream", "fail_stream"]


class _Signal:
    """Wakes whoever waits for a change of state, and remembers nothing."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _StreamEnd(RawStream):
    """What both ends of a stream share: a bounded way out, and a bounded way in.

    The sender holds one credit for each message that the other side has room for, and waits when it has none; reading a
    message gives its credit back.
    """

    def __init__(self, link: ClientEnd | ServerEnd, call: Call, seq_id: int, room: int) -> None:
        self.seq_id = seq_id
        self._call = call
        self._limits: Limits = link.limits
        self.ended: asyncio.Future[Payload | None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(_retrieved)
        self._credits = room
        self._changed = _Signal()
        self._incoming: deque[bytes] = deque()
        self._closed = False  # nothing more goes out
        self._complete = False  # nothing more comes in
        self._over = False
        self._error: ElanusError | None = None

    @abstractmethod
    def _write(self, message: bytes) -> None:
        """Send one message to the other end."""

    @abstractmethod
    def _give_credit(self) -> None:
        """Tell the other end that a message was read."""

    def on_item(self, payload: bytes) -> None:
        """A message has arrived. The sender had a credit, so there is room."""
        self._call.received_bytes += len(payload)
        if self._error is None:
            self._incoming.append(payload)
            self._changed.wake()

    def on_credit(self) -> None:
        """The other side has read a message."""
        self._credits += 1
        self._changed.wake()

    def on_close_send(self) -> None:
        """The other side sends no more."""
        self._complete = True
        self._changed.wake()

    async def send(self, payload: bytes) -> None:
        message = checked(payload, self._limits)
        while True:
            if self._error is not None:
                raise copy.copy(self._error)  # each gets its own: a traceback belongs to one raising
            if self._over or self._closed:
                raise StateError("the stream takes no more messages: it has ended, or its sending side is closed")
            if self._credits > 0:
                break
            await self._changed.wait()
        self._credits -= 1
        self._call.sent_bytes += len(message)
        self._write(message)

    async def receive(self) -> Payload | None:
        while not self._incoming:
            if self._error is not None:
                raise copy.copy(self._error)
            if self._complete or self._over:
                return None
            await self._changed.wait()
        payload = self._incoming.popleft()
        self._give_credit()
        return payload

    def end(self, payload: Payload | None, error: ElanusError | None = None) -> None:
        """The stream has ended in good order. What was sent before can still be read; then comes *error*, if any."""
        self._error = self._error or error
        self._finish()
        if not self.ended.done():
            if error is None:
                self.ended.set_result(payload)
            else:
                self.ended.set_exception(copy.copy(error))

    def fail(self, error: ElanusError) -> None:
        """The stream has ended at once; what was not read is lost."""
        if self._over:
            return
        self._incoming.clear()
        self.end(None, error)

    def _finish(self) -> None:
        self._over = self._complete = self._closed = True
        self._changed.wake()


class ClientStreamEnd(_StreamEnd):
    def __init__(self, link: ClientEnd, call: Call, seq_id: int, room: int) -> None:
        super().__init__(link, call, seq_id, room)
        self._link = link

    def _write(self, message: bytes) -> None:
        post(_deliver, self._link.peer_end, self.seq_id, message)

    def _give_credit(self) -> None:
        post(_credit, self._link.peer_end, self.seq_id)

    def on_head(self, metadata: Mapping[str, str]) -> None:
        """What the server sends ahead of its first message."""
        self._call.reply_metadata = metadata

    def on_end(self, answer: Answer) -> None:
        """The server's last word."""
        if not self._over:
            self.end(answer.payload, answer.give(self._call))

    def close_send(self) -> None:
        if not self._closed:
            self._closed = True
            self._changed.wake()
            post(_close_send, self._link.peer_end, self.seq_id)

    def cancel(self, reason: ElanusError) -> None:
        if not self._over:
            post(self._link.peer_end.on_stream_cancelled, self.seq_id, reason.message or "cancelled")
            self.fail(reason)

    def _finish(self) -> None:
        super()._finish()
        self._link.stream_ended(self.seq_id)


class ServerStreamEnd(_StreamEnd):
    def __init__(self, link: ServerEnd, call: Call, seq_id: int, room: int) -> None:
        super().__init__(link, call, seq_id, room)
        self._link = link
        self._head_sent = False

    def _write(self, message: bytes) -> None:
        if not self._head_sent:
            self._head_sent = True
            post(_head, self._link.peer_end, self.seq_id, carried(self._call.reply_metadata))
        post(_deliver, self._link.peer_end, self.seq_id, message)

    def _give_credit(self) -> None:
        post(_credit, self._link.peer_end, self.seq_id)

    def close_send(self) -> None:
        """The end is sent with the answer."""

    def cancel(self, reason: ElanusError) -> None:
        if not self._over:
            self._link.stream_cancelled_here(self.seq_id, reason.message or "cancelled")
            self.fail(reason)


# Each finds its stream when it arrives: it may be gone by then, and nobody minds.


def _deliver(end: ClientEnd | ServerEnd, seq_id: int, payload: bytes) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.on_item(payload)


def _credit(end: ClientEnd | ServerEnd, seq_id: int) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.on_credit()


def _close_send(end: ServerEnd, seq_id: int) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.on_close_send()


def _head(end: ClientEnd, seq_id: int, metadata: Mapping[str, str]) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.on_head(metadata)


def end_stream(end: ClientEnd, seq_id: int, answer: Answer) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.on_end(answer)


def fail_stream(end: ClientEnd, seq_id: int, text: str) -> None:
    stream = end.stream(seq_id)
    if stream is not None:
        stream.fail(RpcCancelledError(f"the server cancelled the stream: {text}"))


def _retrieved(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # a stream's end need not interest anybody
