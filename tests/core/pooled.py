"""A transport whose connections only count calls, for tests of the pool."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from elanus.contracts.transport import Connection, LinkOptions, Transport
from elanus.errors import ConnectionLostError, ElanusError
from elanus.net.pool import Pool
from elanus.options import PoolOptions
from elanus.testing import run_virtual

if TYPE_CHECKING:
    from collections.abc import Coroutine


class FakeConnection(Connection):
    def __init__(self, address: str, capacity: int) -> None:
        self.peer = address
        self.capacity = self.free = capacity
        self.busy = 0
        self.writable = True
        self.closed: asyncio.Future[ElanusError] = asyncio.get_running_loop().create_future()
        self.grace: float | None = None
        #: Calls in flight when the pool closed it.
        self.cut = 0

    def start(self) -> None:
        self.busy += 1
        self.free -= 1

    def finish(self) -> None:
        self.busy -= 1
        if not self.closed.done() and self.free >= 0 and self.grace is None:
            self.free += 1

    def lose(self) -> None:
        self.free = 0
        if not self.closed.done():
            self.closed.set_result(ConnectionLostError("lost"))

    def drain(self) -> None:
        """The server wants no more calls on it."""
        self.free = -self.capacity

    def request(self, call: Any, payload: Any) -> Any: ...
    def abandon(self, reply: Any, reason: Any) -> None: ...
    async def open(self, call: Any) -> Any: ...
    async def drained(self) -> None: ...

    async def aclose(self, grace: float) -> None:
        assert self.grace is None, "it was closed before"
        self.grace = grace
        self.cut = self.busy
        self.free = 0
        self.lose()


class FakeTransport(Transport):
    name = "fake"
    sniff_bytes = 1

    def __init__(self, capacity: int = 1, delay: float = 0.0) -> None:
        self.capacity = capacity
        self.delay = delay
        self.made: list[FakeConnection] = []
        self.connecting = self.most_connecting = self.tried = 0
        self.error: ElanusError | None = None
        #: It knows that its connections take many calls.
        self.known = False

    def sniff(self, head: bytes) -> Any: ...
    def serve(self, *args: Any) -> Any: ...

    def shares(self, address: str, lane: str) -> bool:
        return self.known and self.capacity > 1

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        self.connecting += 1
        self.tried += 1
        self.most_connecting = max(self.connecting, self.most_connecting)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.connecting -= 1
        if self.error is not None:
            raise self.error
        self.made.append(FakeConnection(address, self.capacity))
        return self.made[-1]


def make(capacity: int = 1, delay: float = 0.0, *, known: bool = False, **options: Any) -> tuple[Pool, FakeTransport]:
    transport = FakeTransport(capacity, delay)
    transport.known = known
    return Pool(transport, LinkOptions(), PoolOptions(**options), Random(1)), transport


async def call(pool: Pool, seconds: float = 0.0, address: str = "a:1") -> FakeConnection:
    """What `send` does with the pool."""
    group = pool.group(address, "")
    connection = group.take() or await group.acquire(1.0)
    assert isinstance(connection, FakeConnection)
    assert connection.free > 0, "a connection that takes no call was handed out"
    connection.start()
    try:
        await asyncio.sleep(seconds)
    finally:
        connection.finish()
        group.release(connection)
    return connection


def virtual(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)
