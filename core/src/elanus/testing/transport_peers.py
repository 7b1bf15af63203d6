"""What the transport suite puts around a transport: a service, a codec that copies, a dispatcher, and a listener."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from elanus.call import Call
from elanus.contracts.codec import Codec, Idl
from elanus.contracts.transport import Dispatcher, LinkOptions, Route, Sniff
from elanus.errors import ApplicationError, BizStatusError, ElanusError
from elanus.options import CallOptions
from elanus.service import MethodInfo, MethodKind, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from os import PathLike

    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import Connection, Reply, ServerLink, Transport
    from elanus.limits import Limits

__all__ = ["CopyCodec", "Peers", "SuiteDispatcher", "loopback", "suite_service"]


class CopyCodec(Codec):
    """Encodes one text as a message of *wire*, so that a transport that looks into messages finds a valid one."""

    suffixes = ()

    def __init__(self, wire: str) -> None:
        self.wire = wire

    def encode(self, text: str) -> bytes:
        """A message with *text* in its field 1."""
        data = text.encode()
        if self.wire == "thrift-binary":
            return b"\x0b\x00\x01" + len(data).to_bytes(4, "big") + data + b"\0"
        if self.wire == "protobuf":
            size, length = len(data), bytearray()
            while size > 0x7F:
                length.append(size & 0x7F | 0x80)
                size >>= 7
            return b"\x0a" + bytes(length) + bytes([size]) + data
        return data

    def decode(self, payload: Payload) -> str:
        """The text that :meth:`encode` was given."""
        data = bytes(payload)
        if self.wire == "thrift-binary":
            return data[7:-1].decode()
        if self.wire == "protobuf":
            start = 2
            while data[start - 1] & 0x80:
                start += 1
            return data[start:].decode()
        return data.decode()

    def load(self, path: str | PathLike[str], include_directories: Sequence[str | PathLike[str]] = ()) -> Idl:
        raise NotImplementedError

    def with_limits(self, limits: Limits) -> Codec:
        return self

    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        return self.encode(arguments[0])

    def decode_arguments(self, method: MethodInfo, payload: Payload) -> Sequence[Any]:
        return (self.decode(payload),)

    def encode_result(self, method: MethodInfo, reply: Any) -> bytes:
        return self.encode(reply)

    def encode_exception(self, method: MethodInfo, error: BaseException) -> bytes | None:
        return None

    def decode_result(self, method: MethodInfo, payload: Payload) -> Any:
        return self.decode(payload)

    def encode_item(self, method: MethodInfo, item: Any, *, reply: bool) -> bytes:
        return self.encode(item)

    def decode_item(self, method: MethodInfo, payload: Payload, *, reply: bool) -> Any:
        return self.decode(payload)

    def from_json(self, type_: Any, text: str | bytes) -> Any:
        raise NotImplementedError

    def to_json(self, value: Any) -> str:
        raise NotImplementedError


def suite_service(codec: Codec) -> ServiceInfo:
    """The service of the suite. What its methods do is in :class:`SuiteDispatcher`."""
    names = ("echo", "wait", "fail", "broken", "status", "backward", "large")
    methods = {name: MethodInfo(name, "Suite") for name in names}
    methods["fire"] = MethodInfo("fire", "Suite", MethodKind.ONEWAY)
    return ServiceInfo("Suite", codec, methods)


class SuiteDispatcher(Dispatcher):
    """Answers as its methods' names say, without middlewares.

    ``echo`` sends the payload back, ``wait`` does so when :attr:`release` is set, ``fail`` and ``broken`` fail with
    errors, ``status`` adds a business status, ``backward`` sends metadata back, ``large`` sends a megabyte, and
    ``fire`` is oneway.
    """

    def __init__(self, service: ServiceInfo) -> None:
        self.service = service
        #: Every call that came, in order.
        self.calls: list[Call] = []
        #: What ``fire`` got.
        self.fired: list[str] = []
        self.cancelled = 0
        self.release = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def route(self, service: str | None, method: str, wire: str) -> Route:
        if method not in self.service.methods:
            error = ApplicationError(ApplicationError.UNKNOWN_METHOD, f"unknown method {method} (service Suite)")
            error.phase = "route"
            raise error
        return Route(self.service, self.service.methods[method])

    def dispatch(self, call: Call, reply: Reply) -> asyncio.Task[None] | None:
        self.calls.append(call)
        if call.method.name == "echo" and len(self.calls) % 2:  # a dispatcher may answer at once, or later
            reply(call, bytes(call.argument_payload or b""), None)
            return None
        task = asyncio.get_running_loop().create_task(self._run(call, reply))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _run(self, call: Call, reply: Reply) -> None:
        payload: bytes | None = bytes(call.argument_payload or b"")
        error: ElanusError | None = None
        codec = cast("CopyCodec", call.service.codec)
        name = call.method.name
        if name in ("wait", "fire"):
            await self._wait(call, codec)
        elif name == "fail":
            payload, error = None, ApplicationError(77, "no such luck")
        elif name == "broken":
            payload, error = None, ElanusError("broken inside")
        elif name == "status":
            call.biz_status = BizStatusError(404, "not found", {"key": '<v> & "w"'})
        elif name == "backward":
            call.send_back("back", "value")
        elif name == "large":
            payload = codec.encode("x" * 1_000_000)
        reply(call, payload, error)

    async def _wait(self, call: Call, codec: CopyCodec) -> None:
        if call.method.name == "fire":
            self.fired.append(codec.decode(call.argument_payload or b""))
            return
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@dataclass
class Peers:
    """A server and a client of one transport."""

    transport: Transport
    dispatcher: SuiteDispatcher
    address: str
    options: LinkOptions
    links: list[ServerLink] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    #: The first bytes of each accepted connection.
    heads: list[bytes] = field(default_factory=list)

    async def connect(self, method: str = "echo") -> Connection:
        """A new connection for calls of *method*."""
        lane = self.transport.lane(self.dispatcher.service.methods[method])
        connection = await self.transport.connect(self.address, lane, self.options)
        self.connections.append(connection)
        return connection

    def call(self, method: str, **values: Any) -> Call:
        """A call of *method*; *values* are set on it."""
        service = self.dispatcher.service
        info = service.methods.get(method) or MethodInfo(method, "Suite")
        call = Call(service, info, (), CallOptions(), caller="suite", caller_method="test", callee="suite.server")
        for name, value in values.items():
            setattr(call, name, value)
        return call

    async def ask(self, connection: Connection, method: str, text: str = "hello", **values: Any) -> str:
        """Call *method* with *text*; gives the text of the reply."""
        codec = cast("CopyCodec", self.dispatcher.service.codec)
        return codec.decode(await connection.request(self.call(method, **values), codec.encode(text)))


class _Newcomer(asyncio.Protocol):
    def __init__(self, peers: Peers, options: LinkOptions) -> None:
        self._peers = peers
        self._options = options
        self._head = b""
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._wire is not None
        self._head += data
        answer = self._peers.transport.sniff(self._head)
        if answer is Sniff.YES:
            self._peers.heads.append(self._head)
            peers = self._peers
            peers.links.append(peers.transport.serve(self._wire, self._head, peers.dispatcher, self._options))
        elif answer is Sniff.NO:
            self._wire.abort()


@asynccontextmanager
async def loopback(
    transport: Transport,
    service: ServiceInfo,
    *,
    client: LinkOptions,
    server: LinkOptions,
    unix: str = "",
) -> AsyncIterator[Peers]:
    """*transport* on both ends of real sockets. Everything is closed at the end."""
    dispatcher = SuiteDispatcher(service)
    peers = Peers(transport, dispatcher, f"unix:{unix}", client)
    loop = asyncio.get_running_loop()
    if unix:
        listener = await loop.create_unix_server(lambda: _Newcomer(peers, server), unix, ssl=server.ssl)
    else:
        listener = await loop.create_server(lambda: _Newcomer(peers, server), "127.0.0.1", 0, ssl=server.ssl)
        peers.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield peers
    finally:
        dispatcher.release.set()
        listener.close()
        for connection in peers.connections:
            await connection.aclose(0.0)
        for link in peers.links:
            link.close()
        await asyncio.gather(*(link.closed for link in peers.links))
        for task in list(dispatcher.tasks):
            task.cancel()
        await asyncio.gather(*dispatcher.tasks, return_exceptions=True)


def metadata_of(call: Call) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The metadata of *call* as plain mappings: transient, persistent."""
    return dict(call.metadata.transient), dict(call.metadata.persistent)
