"""Streams: the innermost endpoints of streaming methods, on both sides, and the way of one message."""

from __future__ import annotations

import contextlib
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from elanus.call import Event
from elanus.errors import ElanusError, RpcCancelledError
from elanus.service import MethodKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.contracts.transport import RawStream
    from elanus.endpoint import Endpoint, ItemEndpoint, ItemMiddleware
    from elanus.net.pool import Pool
    from elanus.service import MethodInfo

__all__ = ["ItemEndpoints", "item_endpoints", "stream_handler", "stream_send"]


class ItemEndpoints(NamedTuple):
    """How the messages of one method travel on one side."""

    #: ``send(stream, item)`` encodes the item and waits for room.
    send: ItemEndpoint
    #: ``receive(stream, None)`` gives the next item, or ``None`` at the end.
    receive: ItemEndpoint


def item_endpoints(
    codec: Codec,
    method: MethodInfo,
    sending: Sequence[ItemMiddleware],
    receiving: Sequence[ItemMiddleware],
    *,
    server: bool,
) -> ItemEndpoints:
    """Compose the send and the receive middlewares of one method, the first one outermost."""

    async def send(stream: RawStream, item: Any) -> None:
        await stream.send(codec.encode_item(method, item, reply=server))

    async def receive(stream: RawStream, _: Any) -> Any:
        payload = await stream.receive()
        return None if payload is None else codec.decode_item(method, payload, reply=not server)

    return ItemEndpoints(_wrapped(sending, send), _wrapped(receiving, receive))


def _wrapped(middlewares: Sequence[ItemMiddleware], endpoint: ItemEndpoint) -> ItemEndpoint:
    for middleware in reversed(middlewares):
        endpoint = middleware(endpoint)
    return endpoint


def stream_send(pool: Pool, codec: Codec, method: MethodInfo, lane: str, connect_timeout: float) -> Endpoint:
    """The innermost endpoint of a streaming method on a client: lasts until the stream has ended both ways.

    Gives the reply of a client-stream, ``None`` otherwise. Cancelling it cancels the stream.
    """
    single_request = method.kind is MethodKind.SERVER_STREAM

    async def send(call: Call) -> Any:
        instance = call.instance
        assert instance is not None, "the resolve room picks one"
        request = codec.encode_item(method, call.arguments[0], reply=False) if single_request else None
        group = pool.group(instance.address, lane)
        call.mark(Event.WAITING)
        connection = await group.acquire(call.options.connect_timeout or connect_timeout, call.mark)
        try:
            stream = await connection.open(call)
            try:
                call.opened(stream)
                if request is not None:
                    await stream.send(request)
                    stream.close_send()
                payload = await stream.ended
            except CancelledError:
                stream.cancel(RpcCancelledError("the client cancelled the stream", instance=instance.address))
                raise
            except Exception as error:
                stream.cancel(RpcCancelledError(f"the client failed: {error}", instance=instance.address))
                if isinstance(error, ElanusError):
                    error.sent = True  # it was open: no other instance is tried
                raise
            finally:
                call.stream = None
                del stream
        finally:
            group.release(connection)
        return None if payload is None else codec.decode_item(method, payload, reply=True)

    return send


def stream_handler(function: Callable[..., Any], codec: Codec, method: MethodInfo, items: ItemEndpoints) -> Endpoint:
    """The innermost endpoint of a streaming method on a server: runs the user's handler.

    A server-stream handler takes the request and is an async generator of replies; a bidi handler takes an async
    iterator of requests and is one too; a client-stream handler takes that iterator and returns the one reply.
    """

    async def run(call: Call, stream: RawStream) -> None:
        if method.kind is MethodKind.CLIENT_STREAM:
            reply = await function(_received(stream, items.receive))
            call.reply_payload = codec.encode_item(method, reply, reply=True)
            return
        if method.kind is MethodKind.SERVER_STREAM:
            argument = await items.receive(stream, None)
        else:
            argument = _received(stream, items.receive)
        async with contextlib.aclosing(function(argument)) as replies:
            async for reply in replies:
                await items.send(stream, reply)

    async def endpoint(call: Call) -> None:
        stream = call.stream
        assert stream is not None, "the transport sets it before dispatch"
        call.mark(Event.HANDLER_START)
        try:
            await run(call, stream)
        except Exception as error:
            call.error = error
            raise
        finally:
            call.stream = None
            call.mark(Event.HANDLER_FINISH)

    return endpoint


async def _received(stream: RawStream, receive: ItemEndpoint) -> AsyncIterator[Any]:
    while True:
        item = await receive(stream, None)
        if item is None:
            return
        yield item
