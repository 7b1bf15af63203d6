"""A fake wire, and both ends of this plugin on it, for tests without sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from elanus.call import Call
from elanus.contracts.transport import Dispatcher, LinkOptions, Route
from elanus.errors import ApplicationError
from elanus.options import CallOptions
from elanus.service import MethodInfo, MethodKind, ServiceInfo
from elanus.testing.transport_peers import CopyCodec
from elanus_transport_ttheader.connection import TTHeaderConnection
from elanus_transport_ttheader.link import TTHeaderLink
from elanus_transport_ttheader.options import read_options
from elanus_transport_ttheader.protocol.frames import Receiver
from elanus_transport_ttheader.protocol.framing import THRIFT, TTHEADER_FRAMED, MessageType
from elanus_transport_ttheader.protocol.headers import (
    NO_REPLY_HEADERS,
    NO_REQUEST_HEADERS,
    ReplyHeaders,
    RequestHeaders,
)
from elanus_transport_ttheader.protocol.heads import envelope, head
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.requests import RequestHeads
from elanus_transport_ttheader.protocol.ttheader import encode_block
from elanus_transport_ttheader.served import Served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from elanus.contracts.transport import Reply
    from elanus.limits import Limits


class FakeWire(asyncio.Transport):
    """One end of a connection that exists in memory only. What is written arrives in a later turn of the loop.

    ``cut`` says how many of the waiting bytes arrive at a time. While ``stuck`` nothing leaves.
    """

    def __init__(self, cut: Callable[[int], int] | None = None) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        self.other: FakeWire | None = None
        self.writes: list[bytes] = []
        self.waiting = bytearray()
        self.cut = cut or (lambda size: size)
        self.reading = True
        self.stuck = False
        self.lost = False
        self.aborted = False
        self._closing = False
        self._high = 65536
        self._writable = True
        self._loop = asyncio.get_running_loop()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 65536

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def write(self, data: Any) -> None:
        assert not self.lost
        if self._closing:
            return
        self.writes.append(bytes(data))
        self.waiting += data
        if self._writable and len(self.waiting) > self._high:
            self._writable = False
            assert self.protocol is not None
            self.protocol.pause_writing()
        self._later()

    def unstick(self) -> None:
        self.stuck = False
        self._later()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._later()

    def abort(self) -> None:
        self.aborted = True
        self._closing = True
        self.waiting.clear()
        self._later()

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        assert self.other is not None
        self.other._later()

    def _later(self) -> None:
        self._loop.call_soon(self._move)

    def _move(self) -> None:
        other = self.other
        assert other is not None
        if self.lost:
            return
        if self.waiting and not self.stuck and other.reading and not other.lost:
            size = max(1, min(self.cut(len(self.waiting)), len(self.waiting)))
            data = bytes(self.waiting[:size])
            del self.waiting[:size]
            assert other.protocol is not None
            if not other._closing:
                other.protocol.data_received(data)
            if not self._writable and len(self.waiting) <= self._high // 4:
                self._writable = True
                assert self.protocol is not None
                self.protocol.resume_writing()
            self._later()
        elif self._closing and (not self.waiting or other.lost):
            self.lose()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone, and the other end learns of it."""
        if self.lost:
            return
        self.lost = self._closing = True
        assert self.protocol is not None
        self.protocol.connection_lost(error)
        other = self.other
        assert other is not None
        if not other.lost and other.protocol is not None:
            if not other._closing:
                other.protocol.eof_received()
            other._closing = True
            other.waiting.clear()
            self._loop.call_soon(other.lose)


class Script(asyncio.Protocol):
    """The other end, by hand: keeps what it gets, and sends what a test says."""

    def __init__(self) -> None:
        self.received = b""
        self.eof = False
        self.wire: FakeWire

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof = True

    def take(self) -> bytes:
        received, self.received = self.received, b""
        return received

    def requests(self) -> list[Any]:
        """What a client sent since the last time."""
        receiver = Receiver(BlockMemo(RequestHeaders, RequestHeaders.with_timeout), NO_REQUEST_HEADERS, Harness.limits)
        messages = receiver.receive(self.take())
        assert receiver.failure is None
        assert not receiver.partial_bytes
        return messages

    def replies(self) -> list[Any]:
        """What a server sent since the last time."""
        receiver = Receiver(BlockMemo(ReplyHeaders, ReplyHeaders.with_timeout), NO_REPLY_HEADERS, Harness.limits)
        messages = receiver.receive(self.take())
        assert receiver.failure is None
        assert not receiver.partial_bytes
        return messages


class Handlers(Dispatcher):
    """Runs ``handle(call)``, which gives the payload of the reply or raises; at once when it is no coroutine."""

    def __init__(self, service: ServiceInfo, handle: Callable[[Call], Any]) -> None:
        self.service = service
        self.handle = handle
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []
        self.routed: list[tuple[str | None, str, str]] = []

    def route(self, service: str | None, method: str, wire: str) -> Route:
        self.routed.append((service, method, wire))
        if method not in self.service.methods:
            error = ApplicationError(
                ApplicationError.UNKNOWN_SERVICE, f"unknown service {service or ''}, method {method}"
            )
            error.phase = "route"
            raise error
        return Route(self.service, self.service.methods[method])

    def dispatch(self, call: Call, reply: Reply) -> asyncio.Task[None] | None:
        self.calls.append(call)
        try:
            outcome = self.handle(call)
        except Exception as error:
            reply(call, None, error)  # type: ignore[arg-type]
            return None
        if not asyncio.iscoroutine(outcome):
            reply(call, outcome, None)
            return None
        return asyncio.get_running_loop().create_task(self._run(call, reply, outcome))

    async def _run(self, call: Call, reply: Reply, outcome: Awaitable[bytes | None]) -> None:
        payload, problem = None, None
        try:
            payload = await outcome
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise
        except Exception as error:
            problem = error
        reply(call, payload, problem)  # type: ignore[arg-type]


class Harness:
    """Makes ends of connections on fake wires. Given to tests as the fixture ``harness``."""

    limits: Limits = LinkOptions().limits
    codec = CopyCodec(THRIFT)
    methods: ClassVar[dict[str, MethodInfo]] = {
        "echo": MethodInfo("echo", "Echo"),
        "other": MethodInfo("other", "Echo"),
        "fire": MethodInfo("fire", "Echo", MethodKind.ONEWAY),
        "stream": MethodInfo("stream", "Echo", MethodKind.BIDI_STREAM),
    }
    service = ServiceInfo("Echo", codec, methods)

    @classmethod
    def call(cls, method: str = "echo", **values: Any) -> Call:
        call = Call(cls.service, cls.methods[method], (), CallOptions(), caller="cli.svc", callee="dst.echo")
        for name, value in values.items():
            setattr(call, name, value)
        return call

    @staticmethod
    def wires(cut: Callable[[int], int] | None = None) -> tuple[FakeWire, FakeWire]:
        one, other = FakeWire(cut), FakeWire(cut)
        one.other, other.other = other, one
        return one, other

    @classmethod
    def client(
        cls,
        wire: FakeWire,
        name: str = "ttheader",
        *,
        limits: Limits | None = None,
        learned: dict[str, bool] | None = None,
        known: bool = False,
        **options: Any,
    ) -> TTHeaderConnection:
        """A client's end, as its transport makes it."""
        given = read_options(name, options)
        header = name == "ttheader"
        heads = RequestHeads(
            header=header, framed=given.framed, flags=int(given.mux is not False), checked=given.crc32c
        )
        auto = header and given.mux is None
        facts = {} if learned is None else learned
        connection = TTHeaderConnection(
            "192.0.2.1:4711",
            heads,
            BlockMemo(ReplyHeaders, ReplyHeaders.with_timeout),
            LinkOptions(limits=limits or cls.limits),
            asyncio.get_running_loop(),
            mux=bool(given.mux) or known,
            learn=facts.__setitem__ if auto else None,
        )
        wire.protocol = connection
        connection.connection_made(wire)
        return connection

    @classmethod
    def server(
        cls, wire: FakeWire, handle: Callable[[Call], Any], *, limits: Limits | None = None, crc32c: bool = False
    ) -> tuple[TTHeaderLink, Handlers]:
        """A server's end, as its transport makes it."""
        handlers = Handlers(cls.service, handle)
        served = Served(handlers, BlockMemo(RequestHeaders, RequestHeaders.with_timeout), crc32c=crc32c)
        link = TTHeaderLink(served, LinkOptions(limits=limits or cls.limits), asyncio.get_running_loop())
        wire.protocol = link
        link.connection_made(wire)
        return link, handlers

    @classmethod
    def scripted_client(cls, name: str = "ttheader", **options: Any) -> tuple[TTHeaderConnection, Script]:
        """A client whose server is a script."""
        near, far = cls.wires()
        script = Script()
        script.wire, far.protocol = far, script
        return cls.client(near, name, **options), script

    @classmethod
    def scripted_server(cls, handle: Callable[[Call], Any], **options: Any) -> tuple[TTHeaderLink, Handlers, Script]:
        """A server whose client is a script."""
        near, far = cls.wires()
        script = Script()
        script.wire, far.protocol = far, script
        link, handlers = cls.server(near, handle, **options)
        return link, handlers, script

    @staticmethod
    def message(
        method: str = "echo",
        seq_id: int = 1,
        payload: bytes = b"\0",
        *,
        kind: int = MessageType.CALL,
        framing: Any = TTHEADER_FRAMED,
        flags: int = 0,
        strings: dict[str, str] | None = None,
        ints: dict[int, str] | None = None,
    ) -> bytes:
        """The bytes of any message."""
        block = encode_block(strings or {}, ints or {})
        return head(framing, flags, block, envelope(framing, kind, method))(seq_id, len(payload)) + payload

    @staticmethod
    async def settle() -> None:
        """Let everything that is under way happen."""
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture(scope="session")
def harness() -> type[Harness]:
    return Harness


@pytest.fixture(scope="session")
def vectors() -> list[dict[str, Any]]:
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
    vectors: list[dict[str, Any]] = loaded["vectors"]
    return vectors
