"""The client's handle on a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from elanus.errors import CodecError, ElanusError, LocalProtocolError, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from elanus.call import Call
    from elanus.contracts.transport import RawStream
    from elanus.endpoint import Endpoint
    from elanus.net.streams import ItemEndpoints

__all__ = ["ClientStream"]


class ClientStream:
    """A stream that a client opened. ::

        async for item in client.list(request): ...

        async with client.chat() as stream:
            await stream.send(item)
            stream.close_send()
            async for reply in stream: ...

        async with client.upload() as stream:
            await stream.send(item)
            reply = await stream.finish()

    The stream opens at its first use. One task may send while another receives. Whatever ends it, both see the same
    error. Leaving the block cancels what still runs; dropping the handle does so too.
    """

    def __init__(self, call: Call, endpoint: Endpoint, items: ItemEndpoints) -> None:
        self._call = call
        self._endpoint = endpoint
        self._items = items
        self._opened: asyncio.Future[RawStream] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._closed = False

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the server sent ahead of its messages, as far as it has arrived."""
        return self._call.reply_metadata

    @property
    def trailers(self) -> Mapping[str, str]:
        """What the server sent after its last message; complete when the stream has ended."""
        return self._call.reply_trailers

    async def send(self, item: Any) -> None:
        """Send one message; waits while the server reads too slowly.

        :raises StateError: after :meth:`close_send`, or when the stream has ended well.
        :raises CodecError: the message does not fit the IDL; the stream goes on.
        :raises ElanusError: why the stream has ended.
        """
        if self._closed:
            raise StateError("the sending side of the stream is closed", hint="Send before close_send() and finish()")
        stream = await self._stream()
        try:
            await self._items.send(stream, item)
        except (CodecError, LocalProtocolError):
            raise  # the message's own fault; nothing of it was sent, and the stream goes on
        except ElanusError as error:
            stream.cancel(error)
            await self._outcome()
            raise

    async def receive(self) -> Any:
        """The next message, or ``None`` when the server sends no more.

        :raises ElanusError: why the stream has ended.
        """
        stream = await self._stream()
        try:
            item = await self._items.receive(stream, None)
        except ElanusError as error:
            stream.cancel(error)  # when a message was lost, or a middleware refused it; or else it has ended already
            await self._outcome()
            raise
        if item is None:
            await self._outcome()
        return item

    def close_send(self) -> None:
        """Send no more; the server sees the end of the requests."""
        self._closed = True
        if self._opened is not None and self._opened.done() and not self._opened.cancelled():
            self._opened.result().close_send()

    async def finish(self) -> Any:
        """Send no more and wait for the end.

        :returns: the one reply of a client-stream, ``None`` for other kinds.
        :raises ElanusError: why the stream has failed.
        """
        stream = await self._stream()
        self._closed = True
        stream.close_send()
        return await self._outcome()

    async def aclose(self) -> None:
        """End the stream now, and wait until it has let go of its connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def __aenter__(self) -> ClientStream:
        await self._stream()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> ClientStream:
        return self

    async def __anext__(self) -> Any:
        item = await self.receive()
        if item is None:
            raise StopAsyncIteration
        return item

    async def _stream(self) -> RawStream:
        """The open stream; the first use starts the chain in a task of its own."""
        if self._opened is None:
            self._start()
        opened, task = self._opened, self._task
        assert opened is not None
        assert task is not None
        if not opened.done():
            await asyncio.wait([opened, task], return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await self._outcome()
            raise StateError("the stream was ended by a middleware before it was opened")
        if self._closed and not task.done():
            opened.result().close_send()
        return opened.result()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[RawStream] = loop.create_future()
        self._opened = opened
        # The chain gets the future and never the handle: a dropped handle must be free to go.
        self._call.on_open = (*self._call.on_open, lambda stream: _set(opened, stream))
        self._task = loop.create_task(_run(self._endpoint, self._call), name=f"elanus stream {self._call.method}")
        self._task.add_done_callback(_retrieved)

    async def _outcome(self) -> Any:
        """Wait for the chain, whose outcome is the stream's."""
        assert self._task is not None
        try:
            reply = await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                raise StateError("the stream was closed") from None
            raise
        if self._call.biz_status is not None:
            self._call.biz_status.locate(self._call)
            raise self._call.biz_status
        return reply

    def __del__(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.cancel()


async def _run(endpoint: Endpoint, call: Call) -> Any:
    return await endpoint(call)


def _set(opened: asyncio.Future[RawStream], stream: RawStream) -> None:
    if not opened.done():
        opened.set_result(stream)


def _retrieved(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # whoever uses the handle sees it; an unused one is no fault of the loop
