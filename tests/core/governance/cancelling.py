"""A client and a server that watch each other while calls end early: for the matrix of docs/cancellation.md."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import elanus
from elanus.contracts.breaker import Breaker
from elanus.contracts.limiter import Limiter
from elanus.contracts.transport import Sniff, Transport
from elanus.plugins import installed_plugins
from elanus.testing import FaultProxy, InTurn, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from elanus.call import Call
    from elanus.contracts.breaker import Outcome, State
    from elanus.contracts.limiter import Refusal
    from elanus.contracts.transport import Connection, LinkOptions
    from elanus.service import MethodInfo

idl = elanus.load(Path(__file__).parent / "subject.thrift")

#: How the bytes travel: in memory, over TCP with calls that take turns, over TCP with calls that share a connection.
MEMORY, TURNS, SHARED = TRANSPORTS = ("memory", "turns", "shared")
#: Seconds that a handler works which nobody stops.
LONG = 30.0


class Handler:
    """Works for long, or ends as its argument says; notes how each call ended for it, and after how many seconds."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, float]] = []
        self.started = asyncio.Event()

    async def work(self, what: str) -> str:
        return await self._work(what)

    async def fire(self, what: str) -> None:
        await self._work(what)

    async def _work(self, what: str) -> str:
        loop = asyncio.get_running_loop()
        began, how = loop.time(), "finished"
        self.started.set()
        try:
            await self._do(what)
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        except Exception:
            how = "raised"
            raise
        finally:
            self.ends.append((how, round(loop.time() - began, 1)))
        return what

    async def _do(self, what: str) -> None:
        match what:
            case "long":
                await asyncio.sleep(LONG)
            case "raise":
                raise ValueError("boom")
            case "declared":
                raise idl.Declared(text="as agreed")
            case "raise cancelled":
                raise asyncio.CancelledError
            case "cancel own task":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(LONG)


class CountedBreaker(Breaker):
    """Counts that every allowed call is recorded."""

    name = "counted"

    def __init__(self) -> None:
        self.open_calls = 0
        self.outcomes: list[Outcome] = []

    def allow(self, key: str, now: float) -> bool:
        self.open_calls += 1
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        self.open_calls -= 1
        self.outcomes.append(outcome)

    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None:
        """It knows nothing."""


class CountedLimiter(Limiter):
    """Counts that every admitted call is released."""

    name = "counted"

    def __init__(self) -> None:
        self.open_calls = self.calls = 0

    def acquire(self, call: Call, now: float) -> Refusal | None:
        self.open_calls += 1
        self.calls += 1
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        self.open_calls -= 1


class SlowToConnect(Transport):
    """A transport on which connecting may take long; everything else is that of *inner*."""

    name = "slow"

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.sniff_bytes = inner.sniff_bytes
        self.delay = 0.0

    def sniff(self, head: bytes) -> Sniff:
        raise AssertionError("it is a client's")

    def serve(self, *arguments: Any) -> Any:
        raise AssertionError("it is a client's")

    def lane(self, method: MethodInfo) -> str:
        return self.inner.lane(method)

    def shares(self, address: str, lane: str) -> bool:
        return self.inner.shares(address, lane)

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        await asyncio.sleep(self.delay)
        return await self.inner.connect(address, lane, options)


class World:
    """One client, one server, and what is between them."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.handler = Handler()
        self.breakers = [CountedBreaker(), CountedBreaker(), CountedBreaker()]
        self.limiter = CountedLimiter()
        self.server = elanus.Server(limiter=self.limiter, breaker=self.breakers[2], drain_delay=0, drain_timeout=0.5)
        self.server.add_service(idl.Subject, self.handler)
        self.client: elanus.Client
        self.slow: SlowToConnect
        self._proxy: FaultProxy | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Start both; at the end nothing may be left of either."""
        before = asyncio.all_tasks()
        if self.how == MEMORY:
            await self.server.start()
            transport: Transport = MemoryTransport(self.server)
            address = "memory:1"
        else:
            self._proxy = FaultProxy(await self.server.start("127.0.0.1:0"))
            await self._proxy.accept()
            transport = installed_plugins().select("transport", ("ttheader", {"mux": self.how == SHARED}))
            address = self._proxy.address
        self.slow = SlowToConnect(transport)
        client = elanus.Client(
            idl.Subject,
            address,
            transport=self.slow,
            balancer=InTurn(),
            service_breaker=self.breakers[0],
            instance_breaker=self.breakers[1],
        )
        async with client as self.client:
            await self.client.work("warm")
            self.handler.ends.clear()
            self.handler.started.clear()
            yield self
        await self.server.stop()
        if self._proxy is not None:
            await self._proxy.__aexit__(None, None, None)
        await settled()
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert not left, f"tasks are left: {left}"

    async def cut(self) -> None:
        """Break every connection, as seen from both sides."""
        if self._proxy is None:
            for connection in self._members():
                connection._hang_up("cut")
        else:
            await self._proxy.cut()

    async def as_before(self) -> None:
        """Nothing of earlier calls is left, and the next call is as good as the first."""
        await settled()
        assert self.server.calls == 0
        assert self.limiter.open_calls == 0
        assert [breaker.open_calls for breaker in self.breakers] == [0, 0, 0]
        assert await self.client.work("after") == "after"
        await settled()
        reports = [report for report in self.client.pool_report() if report.connections]
        assert [(report.connecting, report.waiting) for report in reports] == [(0, 0)]
        (report,) = reports
        for one in report.connections:
            assert (one.busy, one.idle is not None, one.leaving) == (0, True, False)
        for connection in self._members():
            assert connection.free == (1 if self.how == TURNS else elanus.Limits().calls_per_connection)
            assert not getattr(connection, "_reserved", None), "the sequence id of a call that ended is still taken"
            assert not getattr(connection, "_pending", None)

    def _members(self) -> list[Any]:
        groups = self.client._core.running().pool._all()
        return [connection for group in groups for connection in group.members]

    def fate(self) -> str:
        """What became of the first connection: ``"kept"`` or ``"closed"``."""
        return "kept" if self.client.pool_counters().connected == 1 else "closed"


async def settled() -> None:
    """Let everything happen that is about to; what sockets deliver included."""
    for _ in range(20):
        await asyncio.sleep(0.01)
