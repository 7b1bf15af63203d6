"""The two ends of a connection in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from elanus.call import Call, Event
from elanus.contracts.transport import Connection, RawStream, ServerLink
from elanus.deadline import after
from elanus.errors import ApplicationError, ConnectionLostError, ElanusError, LimitExceededError, RpcCancelledError
from elanus.options import CallOptions
from elanus.testing.memory_streams import ClientStreamEnd, ServerStreamEnd, end_stream, fail_stream
from elanus.testing.memory_wire import NAME, Answer, Request, checked, post

if TYPE_CHECKING:
    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import Dispatcher
    from elanus.limits import Limits
    from elanus.service import MethodInfo, ServiceInfo

__all__ = ["ClientEnd", "ServerEnd"]

_DEFAULTS = CallOptions()


class ClientEnd(Connection):
    """The client's end of a connection. Multiplexed: calls are told apart by their sequence ids."""

    peer_end: ServerEnd

    def __init__(self, address: str, limits: Limits, server_limits: Limits) -> None:
        self.peer = address
        self.busy = 0
        self.writable = True
        self.closed: asyncio.Future[ElanusError] = asyncio.get_running_loop().create_future()
        self.limits = limits
        self._server_limits = server_limits
        self._most = min(limits.calls_per_connection, server_limits.calls_per_connection)
        self.free = self._most
        self._draining = False
        self._seq_id = 0
        self._replies: dict[int, tuple[Call, asyncio.Future[Payload]]] = {}
        self._seq_ids: dict[asyncio.Future[Payload], int] = {}
        self._streams: dict[int, ClientStreamEnd] = {}
        self._quiet: asyncio.Future[None] | None = None

    def request(self, call: Call, payload: Payload) -> asyncio.Future[Payload]:
        reply: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        if self.closed.done():
            reply.set_exception(_lost(self.closed.result(), self.peer, sent=False))
            return reply
        request = self._sent(call, checked(payload, self.limits))
        if request.oneway:
            reply.set_result(b"")
            return reply
        self._replies[request.seq_id] = call, reply
        self._seq_ids[reply] = request.seq_id
        self._count(1)
        return reply

    def _sent(self, call: Call, payload: bytes | None) -> Request:
        self._seq_id += 1
        call.seq_id, call.peer, call.transport = self._seq_id, self.peer, NAME
        call.sent_bytes += len(payload or b"")
        call.written = True
        request = Request.of(call, self._seq_id, payload)
        post(self.peer_end.on_request, request)
        return request

    def abandon(self, reply: asyncio.Future[Payload], reason: ElanusError) -> None:
        seq_id = self._seq_ids.get(reply)
        if seq_id is not None:
            self._forget(seq_id)
            post(self.peer_end.on_abandon, seq_id)

    async def open(self, call: Call) -> RawStream:
        if self.closed.done():
            raise _lost(self.closed.result(), self.peer, sent=False)
        request = self._sent(call, None)
        stream = ClientStreamEnd(self, call, request.seq_id, self._server_limits.stream_items)
        self._streams[request.seq_id] = stream
        self._count(1)
        return stream

    def on_answer(self, seq_id: int, answer: Answer) -> None:
        """The server has answered a unary call. Nobody may wait for it any more."""
        waiting = self._replies.get(seq_id)
        if waiting is None:
            return
        call, reply = waiting
        if not reply.done():
            call.mark(Event.ANSWERED)
        self._forget(seq_id)
        if not reply.done():
            error = answer.give(call)
            if error is not None:
                reply.set_exception(error)
            else:
                reply.set_result(answer.payload or b"")

    def _forget(self, seq_id: int) -> None:
        _, reply = self._replies.pop(seq_id)
        del self._seq_ids[reply]
        self._count(-1)

    def stream(self, seq_id: int) -> ClientStreamEnd | None:
        """The stream of that number, while it is open."""
        return self._streams.get(seq_id)

    def stream_ended(self, seq_id: int) -> None:
        """The stream of that number counts no more."""
        if self._streams.pop(seq_id, None) is not None:
            self._count(-1)

    def on_drain(self) -> None:
        """The server wants no new calls."""
        self._draining = True
        self._count(0)

    def on_lost(self) -> None:
        """The server has closed the connection."""
        self._close("the server closed the connection")

    def _count(self, change: int) -> None:
        self.busy += change
        idle = self.busy == 0
        self.free = 0 if self._draining or self.closed.done() else self._most - self.busy
        if idle and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)
        if idle and self._draining:
            self._hang_up("the connection was drained")

    async def drained(self) -> None:
        if self.closed.done():
            raise _lost(self.closed.result(), self.peer, sent=False)

    async def aclose(self, grace: float) -> None:
        self._draining = True
        self.free = 0
        if self.busy and grace > 0:
            self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._quiet], timeout=grace)
        self._hang_up("the client closed the connection")

    def _hang_up(self, why: str) -> None:
        if not self.closed.done():
            post(self.peer_end.on_lost)
            self._close(why)

    def _close(self, why: str) -> None:
        if self.closed.done():
            return
        self.free = 0
        self.closed.set_result(ConnectionLostError(why, instance=self.peer))
        replies, self._replies = self._replies, {}
        self._seq_ids.clear()
        for _, reply in replies.values():
            if not reply.done():
                reply.set_exception(_lost(self.closed.result(), self.peer, sent=True))
        for stream in list(self._streams.values()):
            stream.fail(_lost(self.closed.result(), self.peer, sent=True))
        self.busy = 0


def _lost(reason: ElanusError, peer: str, *, sent: bool) -> ConnectionLostError:
    return ConnectionLostError(reason.message, instance=peer, sent=sent)


class ServerEnd(ServerLink):
    """The server's end of a connection."""

    peer_end: ClientEnd

    def __init__(self, dispatcher: Dispatcher, peer: str, limits: Limits, client_limits: Limits) -> None:
        self.peer = peer
        self.busy = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.limits = limits
        self._client_limits = client_limits
        self._dispatcher = dispatcher
        #: Requests that are to be answered, each with the task of its handler once there is one.
        self._tasks: dict[int, asyncio.Task[None] | None] = {}
        self._oneways: set[int] = set()
        self._streams: dict[int, ServerStreamEnd] = {}

    def on_request(self, request: Request) -> None:
        """A request, or the head of a stream, has arrived."""
        if self.closed.done():
            return
        try:
            route = self._dispatcher.route(request.service, request.method, request.wire)
        except ApplicationError as error:
            self._refuse(request, error)
            return
        call = self._call(request, route.service, route.method)
        self._tasks[request.seq_id] = None
        self.busy += 1
        if request.oneway:
            self._oneways.add(request.seq_id)
        if route.method.kind.streams:
            stream = ServerStreamEnd(self, call, request.seq_id, self._client_limits.stream_items)
            self._streams[request.seq_id] = call.stream = stream
        task = self._dispatcher.dispatch(call, self._reply)
        if task is not None and request.seq_id in self._tasks:
            self._tasks[request.seq_id] = task

    def _call(self, request: Request, service: ServiceInfo, method: MethodInfo) -> Call:
        call = Call(
            service,
            method,
            (),
            _DEFAULTS,
            caller=request.caller,
            caller_method=request.caller_method,
            callee=request.callee,
        )
        call.argument_payload = request.payload
        call.seq_id, call.peer, call.transport = request.seq_id, self.peer, NAME
        call.received_bytes = len(request.payload or b"")
        call.retried, call.log_id = request.retried, request.log_id
        call.metadata, call.headers = request.metadata, request.headers
        if request.remaining is not None:
            call.deadline = after(request.remaining)
            call.limit = ("deadline", request.remaining)
        return call

    def _refuse(self, request: Request, error: ApplicationError) -> None:
        answer = Answer(None, (error.code, error.message), None, {}, {})
        if request.payload is None:
            post(end_stream, self.peer_end, request.seq_id, answer)
        elif not request.oneway:
            post(self.peer_end.on_answer, request.seq_id, answer)

    def _reply(self, call: Call, payload: bytes | None, error: ElanusError | None) -> None:
        if not self._forget(call.seq_id):
            return  # the client waits no longer
        if isinstance(error, LimitExceededError) and error.cut:
            call.stream = None
            self.close()
            return
        answer = Answer.of(call, payload, error)
        call.sent_bytes += len(answer.payload or b"")
        stream = self._streams.pop(call.seq_id, None)
        if stream is not None:
            call.stream = None
            stream.end(answer.payload)
            post(end_stream, self.peer_end, call.seq_id, answer)
        elif call.seq_id in self._oneways:
            self._oneways.discard(call.seq_id)
        else:
            post(self.peer_end.on_answer, call.seq_id, answer)

    def _forget(self, seq_id: int) -> bool:
        if seq_id not in self._tasks:
            return False
        del self._tasks[seq_id]
        self.busy -= 1
        return True

    def on_abandon(self, seq_id: int) -> None:
        """The client waits no longer for a reply."""
        task = self._tasks.get(seq_id)
        if self._forget(seq_id) and task is not None:
            task.cancel()

    def stream(self, seq_id: int) -> ServerStreamEnd | None:
        """The stream of that number, while it is open."""
        return self._streams.get(seq_id)

    def on_stream_cancelled(self, seq_id: int, text: str) -> None:
        """The client has cancelled a stream."""
        stream = self._streams.pop(seq_id, None)
        if stream is not None:
            stream.fail(RpcCancelledError(text))
            self.on_abandon(seq_id)

    def stream_cancelled_here(self, seq_id: int, text: str) -> None:
        """A handler has cancelled its stream: the client gets to know at once."""
        if self._streams.pop(seq_id, None) is not None:
            self._forget(seq_id)
            post(fail_stream, self.peer_end, seq_id, text)

    def on_lost(self) -> None:
        """The client has closed the connection: nobody reads what the handlers would answer."""
        if self.closed.done():
            return
        for stream in self._streams.values():
            stream.fail(ConnectionLostError("the client closed the connection"))
        self._streams.clear()
        tasks, self._tasks = self._tasks, {}
        for seq_id, task in tasks.items():
            if task is not None and seq_id not in self._oneways:
                task.cancel()
        self.busy = 0
        self.closed.set_result(None)

    def drain(self) -> None:
        post(self.peer_end.on_drain)

    def close(self) -> None:
        if not self.closed.done():
            self._oneways.clear()
            post(self.peer_end.on_lost)
            self.on_lost()
