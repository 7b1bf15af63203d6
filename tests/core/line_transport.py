"""A throw-away transport: a mark, then JSON lines. As little as lets two wire formats meet on one port."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from elanus.address import split_address
from elanus.call import Call
from elanus.contracts.transport import Connection, LinkOptions, RawStream, ServerLink, Sniff, Transport
from elanus.errors import ApplicationError, ConnectFailedError, ConnectionLostError, ElanusError
from elanus.options import CallOptions

if TYPE_CHECKING:
    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import Dispatcher


class LineTransport(Transport):
    """Each connection begins with *mark*; several calls at once, told apart by number."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.name = f"line_{mark.decode()}"
        self.sniff_bytes = len(mark)
        self.heads: list[bytes] = []

    def sniff(self, head: bytes) -> Sniff:
        if head[: len(self.mark)] == self.mark:
            return Sniff.YES
        return Sniff.MORE if self.mark.startswith(head) else Sniff.NO

    def serve(self, wire: asyncio.Transport, head: bytes, dispatcher: Dispatcher, options: LinkOptions) -> ServerLink:
        self.heads.append(head)
        link = _ServerLink(wire, dispatcher)
        wire.set_protocol(link)
        link.data_received(head[len(self.mark) :])
        return link

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            if address.startswith("unix:"):
                _, ours = await loop.create_unix_connection(lambda: _Connection(address), address[5:])
            else:
                _, ours = await loop.create_connection(lambda: _Connection(address), *split_address(address))
        except OSError as error:
            raise ConnectFailedError(str(error), instance=address) from error
        ours.wire.write(self.mark)
        return ours


class _Lines(asyncio.Protocol):
    wire: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.line(json.loads(line))

    def write(self, **message: Any) -> None:
        self.wire.write(json.dumps(message).encode() + b"\n")

    def line(self, message: dict[str, Any]) -> None:
        raise NotImplementedError


class _ServerLink(_Lines, ServerLink):
    def __init__(self, wire: asyncio.Transport, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.wire = wire
        self.peer = str(wire.get_extra_info("peername"))
        self.busy = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dispatcher = dispatcher
        self.tasks: dict[int, asyncio.Task[None] | None] = {}

    def line(self, message: dict[str, Any]) -> None:
        route = self.dispatcher.route(message["service"], message["method"], "json")
        call = Call(route.service, route.method, (), CallOptions())
        call.argument_payload, call.seq_id = message["payload"].encode(), message["id"]
        call.peer = self.peer
        self.busy += 1
        self.tasks[call.seq_id] = None
        self.tasks[call.seq_id] = self.dispatcher.dispatch(call, self.reply)

    def reply(self, call: Call, payload: bytes | None, error: ElanusError | None) -> None:
        self.busy -= 1
        self.tasks.pop(call.seq_id)
        if isinstance(error, ApplicationError):
            self.write(id=call.seq_id, code=error.code, text=error.message)
        else:
            self.write(id=call.seq_id, payload=(payload or b"").decode())

    def drain(self) -> None:
        self.write(bye=True)

    def close(self) -> None:
        self.wire.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self.tasks.values():
            if task is not None:
                task.cancel()
        if not self.closed.done():
            self.closed.set_result(None)


class _Connection(_Lines, Connection):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.peer = address
        self.free = 100
        self.busy = 0
        self.writable = True
        self.closed: asyncio.Future[ElanusError] = asyncio.get_running_loop().create_future()
        self.replies: dict[int, asyncio.Future[Payload]] = {}
        self.last = 0

    def request(self, call: Call, payload: Payload) -> asyncio.Future[Payload]:
        self.last += 1
        call.seq_id, call.written, call.peer, call.transport = self.last, True, self.peer, "line"
        reply = self.replies[self.last] = asyncio.get_running_loop().create_future()
        self.busy += 1
        self.write(id=self.last, service=call.service.name, method=call.method.name, payload=bytes(payload).decode())
        return reply

    def line(self, message: dict[str, Any]) -> None:
        if message.get("bye"):
            self.free = 0
            return
        reply = self.replies.pop(message["id"], None)
        self.busy -= 1
        if reply is None or reply.done():
            return
        if "code" in message:
            reply.set_exception(ApplicationError(message["code"], message["text"]))
        else:
            reply.set_result(message["payload"].encode())

    def abandon(self, reply: asyncio.Future[Payload], reason: ElanusError) -> None: ...

    async def open(self, call: Call) -> RawStream:
        raise NotImplementedError

    async def drained(self) -> None: ...

    async def aclose(self, grace: float) -> None:
        self.wire.close()
        await asyncio.wait([self.closed])

    def connection_lost(self, exc: Exception | None) -> None:
        self.free = 0
        if not self.closed.done():
            self.closed.set_result(ConnectionLostError("the connection was closed", instance=self.peer))
        for reply in self.replies.values():
            if not reply.done():
                reply.set_exception(ConnectionLostError("the connection was closed", instance=self.peer))
