"""Limiters at work: calls and connections are refused with Kitex's words, counted, and told at a bearable pace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.limiter import Limiter, Refusal
from elanus.events import CALL_OVERLOAD, CONNECTION_OVERLOAD
from elanus.net.refusals import Overload, Refusals
from elanus.testing import InTurn, MemoryTransport, connected, run_virtual

from .line_transport import LineTransport
from .store import Store, idl

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.events import Happening

QPS = Refusal("qps", 100, "request too frequent")


class Counting(Limiter):
    """Allows what is still in its budget, and checks that everybody who came in goes out once."""

    name = "counting"

    def __init__(self, calls: int = 1_000, connections: int = 1_000, refusal: Refusal = QPS) -> None:
        self.calls, self.connections, self.refusal = calls, connections, refusal
        self.running: dict[int, str] = {}
        self.released: list[tuple[str, str]] = []
        self.peers: list[str] = []

    def admit(self, peer: str, now: float) -> Refusal | None:
        if len(self.peers) >= self.connections:
            return Refusal("connections", self.connections, "too many connections")
        self.peers.append(peer)
        return None

    def left(self, peer: str, now: float) -> None:
        self.peers.remove(peer)

    def acquire(self, call: Call, now: float) -> Refusal | None:
        assert call.timeline[0][1] <= now
        if self.calls <= 0:
            return self.refusal
        self.calls -= 1
        self.running[id(call)] = call.method.name
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        assert elapsed >= 0
        self.released.append((self.running.pop(id(call)), type(error).__name__))


class Slow(Store):
    """A store whose calls last until the test says so, or for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def get(self, key: str) -> Any:
        self.started.set()
        await self.go_on.wait()
        return await super().get(key)


async def test_every_call_that_was_acquired_is_released_once_with_its_outcome() -> None:
    limiter = Counting()

    class Moody(Store):
        async def get(self, key: str) -> Any:
            if key == "missing":
                raise idl.NotFound(key)
            if key == "broken":
                raise RuntimeError("broken")
            return await super().get(key)

    async with connected(idl.Store, Moody(), server=elanus.Server(limiter=limiter)) as client:
        await client.get("k")
        with pytest.raises(idl.NotFound):
            await client.get("missing")
        with pytest.raises(elanus.ApplicationError):
            await client.get("broken")
        async with client.chat() as stream:
            await stream.send("hello")
            stream.close_send()
            assert [line async for line in stream] == ["hello!"]
    assert not limiter.running
    assert limiter.released == [
        ("get", "NoneType"),
        ("get", "NoneType"),  # a declared exception is a reply
        ("get", "RuntimeError"),
        ("chat", "NoneType"),
    ]


async def test_a_cancelled_call_is_released() -> None:
    limiter, store = Counting(), Slow()
    async with connected(idl.Store, store, server=elanus.Server(limiter=limiter)) as client:
        task = asyncio.create_task(client.get("k"))
        await store.started.wait()
        assert list(limiter.running.values()) == ["get"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while limiter.running:  # noqa: ASYNC110 - the server hears of it in a later turn of the loop
            await asyncio.sleep(0)
    assert limiter.released == [("get", "CancelledError")]


async def test_refusals_are_counted_and_reported_with_what_was_refused() -> None:
    reported: list[tuple[Refusal, str, str | None]] = []

    def reporter(refusal: Refusal, peer: str, call: Call | None) -> None:
        reported.append((refusal, peer, None if call is None else call.method.name))

    server = elanus.Server(limiter=Counting(calls=1), limit_reporter=reporter)
    async with connected(idl.Store, Store(), server=server) as client:
        await client.get("k")
        for _ in range(3):
            with pytest.raises(elanus.ApplicationError, match="request over limit: request too frequent") as raised:
                await client.get("k")
            assert raised.value.code == elanus.ApplicationError.INTERNAL_ERROR
        assert server.refused == {"qps": 3}
    assert reported == [(QPS, "client of memory:1", "get")] * 3


async def test_a_refused_oneway_call_has_no_answer_and_counts() -> None:
    server = elanus.Server(limiter=Counting(calls=0))
    store = Store()
    async with connected(idl.Store, store, server=server) as client:
        await client.note("k")
        while not server.refused:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert server.refused == {"qps": 1}
        assert (server.calls, store.notes) == (0, [])


async def test_a_reporter_that_fails_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def reporter(refusal: Refusal, peer: str, call: Call | None) -> None:
        raise ValueError("no room")

    server = elanus.Server(limiter=Counting(calls=0), limit_reporter=reporter)
    async with connected(idl.Store, Store(), server=server) as client:
        for _ in range(5):
            with pytest.raises(elanus.ApplicationError, match="request over limit"):
                await client.get("k")
    failures = [record for record in caplog.records if "limit_reporter" in record.message]
    assert len(failures) == 1, "a flood must not fill the log"


async def test_cutting_closes_the_connection_without_an_answer() -> None:
    limiter = Counting(calls=1, refusal=Refusal("qps", 1, "request too frequent", cut=True))
    async with connected(idl.Store, Store(), server=elanus.Server(limiter=limiter)) as client:
        await client.get("k")
        with pytest.raises(elanus.ConnectionLostError) as raised:
            await client.get("k")
        assert raised.value.sent
        limiter.calls = 1
        assert await client.get("k") == "value of k", "the next call opens another connection"


async def test_what_was_in_flight_on_a_cut_connection_is_released() -> None:
    limiter, store = Counting(calls=1, refusal=Refusal("qps", 1, "request too frequent", cut=True)), Slow()
    async with connected(idl.Store, store, server=elanus.Server(limiter=limiter)) as client:
        first = asyncio.create_task(client.get("k"))
        await store.started.wait()
        second = asyncio.create_task(client.get("k"))
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(each) for each in outcomes] == [elanus.ConnectionLostError] * 2
        while limiter.running:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert limiter.released == [("get", "CancelledError")]


async def test_adopted_links_are_admitted_and_leave() -> None:
    limiter = Counting(connections=1)
    server = elanus.Server(limiter=limiter)
    server.add_service(idl.Store, Store())
    await server.start()
    transport = MemoryTransport(server)
    options = {"transport": transport, "balancer": InTurn()}
    async with elanus.Client(idl.Store, "memory:1", **options) as one:
        await one.get("k")
        assert limiter.peers == ["client of memory:1"]
        async with elanus.Client(idl.Store, "memory:1", **options) as other:
            with pytest.raises(elanus.NoInstanceError, match="too many connections"):
                await other.get("k")
            assert server.refused == {"connections": 1}
            transport.cut()
            while limiter.peers:  # noqa: ASYNC110 - told in a later turn of the loop
                await asyncio.sleep(0)
            await other.get("k")
    await server.stop()
    assert limiter.peers == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing that would tell
            await asyncio.sleep(0.001)


async def test_connections_through_the_port_are_admitted_and_leave_once() -> None:
    limiter = Counting(connections=2)
    line = LineTransport(b"ONE")
    server = elanus.Server(transports=[line], limiter=limiter, drain_delay=0.0)
    server.add_service(idl.Store, Store())
    await server.start("127.0.0.1:0")
    host, port = server.address.rsplit(":", 1)
    try:
        _, silent = await asyncio.open_connection(host, int(port))
        async with elanus.Client(idl.Store, server.address, transport=line, balancer=InTurn()) as client:
            await client.get("k")
            assert len(limiter.peers) == 2
            reader, third = await asyncio.open_connection(host, int(port))
            assert await reader.read() == b"", "closed without a word"
            assert server.refused == {"connections": 1}
            third.close()
            silent.close()
            await until(lambda: len(limiter.peers) == 1)
        await until(lambda: not limiter.peers)
        _, unknown = await asyncio.open_connection(host, int(port))
        await until(lambda: len(limiter.peers) == 1)
        unknown.write(b"no protocol at all")
        await until(lambda: not limiter.peers)
        unknown.close()
    finally:
        await server.stop()


async def test_the_hard_limits_of_core_are_reported_like_a_limiters(caplog: pytest.LogCaptureFixture) -> None:
    store = Slow()
    server = elanus.Server(limits=elanus.Limits(calls=1))
    async with connected(idl.Store, store, server=server) as client:
        first = asyncio.create_task(client.get("k"))
        await store.started.wait()
        with pytest.raises(elanus.ApplicationError, match="request over limit: too many calls in flight"):
            await client.get("k")
        store.go_on.set()
        await first
        assert server.refused == {"limits.calls": 1}
    assert [event.name for event in server.events.recent()] == [CALL_OVERLOAD]


class TestRefusals:
    def test_a_flood_is_told_once_a_second(self) -> None:
        bus = elanus.Server().events
        told: list[Overload] = []
        bus.watch(CALL_OVERLOAD, lambda happening: told.append(_overload(happening)))

        async def flood() -> None:
            refusals = Refusals(bus)
            call = _call()
            for _ in range(2_500):
                refusals.call(QPS, call)
                await asyncio.sleep(0.001)
            await asyncio.sleep(5)
            assert refusals.totals == {"qps": 2_500}
            refusals.call(QPS, call)
            refusals.call(QPS, call)
            refusals.close()

        run_virtual(flood())
        assert [each.refused for each in told[:3]] == [1, 999, 1_000]
        assert sum(each.refused for each in told) == 2_502
        assert len(told) == 6
        assert (told[0].seconds, round(told[1].seconds, 6)) == (0.0, 1.0)
        assert (told[-2].refused, told[-1].refused) == (1, 1), "after a quiet second at once; the rest when it closes"
        assert told[0].last == "EchoService/echo from 10.0.0.1:5"
        assert told[0].value == 100

    def test_connections_have_an_event_of_their_own(self) -> None:
        server = elanus.Server()

        async def one() -> None:
            refusals = Refusals(server.events)
            refusals.connection(Refusal("connections", 3, "too many connections"), "10.0.0.9:1")
            refusals.close()

        run_virtual(one())
        (happening,) = server.events.recent()
        assert happening.name == CONNECTION_OVERLOAD
        assert happening.detail == "connections = 3 is reached: refused 1 connection, the last was 10.0.0.9:1"

    def test_a_policy_that_makes_up_names_does_not_grow_the_server(self) -> None:
        server = elanus.Server()

        async def many() -> None:
            refusals = Refusals(server.events)
            for number in range(1_000):
                refusals.call(Refusal(f"caller {number}", None, "no"), _call())
            refusals.close()
            assert len(refusals.totals) == 257
            assert sum(refusals.totals.values()) == 1_000

        run_virtual(many())


def _overload(happening: Happening) -> Overload:
    assert isinstance(happening.value, Overload)
    return happening.value


def _call() -> Call:
    from elanus.testing import make_call

    call = make_call()
    call.peer = "10.0.0.1:5"
    return call


class Buggy(Limiter):
    """Fails where the test says."""

    name = "buggy"

    def __init__(self, **bugs: Any) -> None:
        self.bugs = bugs
        self.released = self.gone = 0

    def _do(self, what: str) -> Any:
        answer = self.bugs.get(what)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def admit(self, peer: str, now: float) -> Refusal | None:
        return self._do("admit")  # type: ignore[no-any-return]

    def left(self, peer: str, now: float) -> None:
        self.gone += 1
        self._do("left")

    def acquire(self, call: Call, now: float) -> Refusal | None:
        return self._do("acquire")  # type: ignore[no-any-return]

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        self.released += 1
        self._do("release")


@pytest.mark.parametrize(
    ("bugs", "doing", "released"),
    [
        ({"acquire": KeyError("tenant")}, "acquire", 0),
        ({"acquire": "too many"}, "acquire", 0),
        ({"release": KeyError("tenant")}, "release", 60),
    ],
)
def test_a_bug_in_a_limiter_is_named_and_stops_no_call(
    caplog: pytest.LogCaptureFixture, bugs: dict[str, Any], doing: str, released: int
) -> None:
    limiter = Buggy(**bugs)

    async def scenario() -> None:
        async with connected(idl.Store, Store(), server=elanus.Server(limiter=limiter)) as client:
            for _ in range(30):
                await client.get("k")
            await asyncio.sleep(2.0)
            for _ in range(30):
                await client.get("k")

    run_virtual(scenario())
    assert limiter.released == released
    first, second = [record for record in caplog.records if record.name == "elanus.server"]
    assert first.levelname == "ERROR"
    assert f"limiter 'buggy' ({__name__}.Buggy) failed in {doing}() for Store/get" in first.getMessage()
    assert "29 times more" in second.getMessage()


@pytest.mark.parametrize(
    ("bugs", "doing", "gone"),
    [
        ({"admit": ValueError("a bug")}, "admit", 0),
        ({"admit": False}, "admit", 0),
        ({"left": ValueError("a bug")}, "left", 1),
    ],
)
async def test_a_bug_in_a_limiter_breaks_no_connection(
    caplog: pytest.LogCaptureFixture, bugs: dict[str, Any], doing: str, gone: int
) -> None:
    limiter, line = Buggy(**bugs), LineTransport(b"ONE")
    server = elanus.Server(limiter=limiter, transports=[line], drain_delay=0.0)
    server.add_service(idl.Store, Store())
    await server.start("127.0.0.1:0")
    async with elanus.Client(idl.Store, server.address, transport=line, balancer=InTurn()) as client:
        await client.get("k")
    await server.stop()
    assert limiter.gone == gone
    assert f"limiter 'buggy' ({__name__}.Buggy) failed in {doing}() for 127.0.0.1:" in caplog.text
