"""Breakers in real clients and servers, in virtual time: Kitex's acceptance cases, and a whole outage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.breaker import Counts, Outcome, State
from elanus.testing import InTurn, JsonCodec, MemoryDirectory, MemoryResolver, MemoryTransport, run_virtual
from elanus_breaker_window import WindowBreaker

if TYPE_CHECKING:
    from elanus.call import Call

idl = JsonCodec().loads("exception Gone(key)\n\nservice Shop {\n  find(name) throws Gone\n  other(name)\n}")


class Shop:
    """Fails while it is told to."""

    def __init__(self) -> None:
        self.mood = "fine"
        self.ran = 0

    async def find(self, name: str) -> str:
        self.ran += 1
        if self.mood == "fails":
            raise ValueError("no")
        if self.mood == "slow":
            await asyncio.sleep(3_600)
        if self.mood == "gone":
            raise idl.Gone(key=name)
        if self.mood == "refuses":
            raise elanus.BizStatusError(7, "not today")
        return name

    async def other(self, name: str) -> str:
        return name


async def serve(shop: Shop, **options: Any) -> elanus.Server:
    server = elanus.Server(**options)
    server.add_service(idl.Shop, shop)
    await server.start()
    return server


def client(server: elanus.Server, *targets: str, **options: Any) -> elanus.Client:
    options.setdefault("transport", MemoryTransport(server))
    return elanus.Client(idl.Shop, list(targets or ["memory:1"]), balancer=InTurn(), caller="web", **options)


async def find(caller: elanus.Client, times: int, pause: float = 0.0, method: str = "find") -> dict[str, int]:
    """That many calls, and how they ended, by class."""
    ends: dict[str, int] = {}
    for _ in range(times):
        try:
            await caller.call(method, "tea")
            end = "fine"
        except Exception as error:
            end = type(error).__name__
        ends[end] = ends.get(end, 0) + 1
        await asyncio.sleep(pause)
    return ends


def everything_fails(call: Call, reply: Any, error: Exception | None) -> Outcome:
    return Outcome.FAILURE


# -- Kitex's own cases: kitex-tests, thriftrpc/normalcall ---------------------------------------------------------


def test_of_300_calls_at_least_100_are_rejected_when_all_count_as_failures() -> None:
    async def scenario() -> None:
        shop = Shop()
        server = await serve(shop)
        breaker = WindowBreaker(classify=everything_fails, min_samples=200)
        async with client(server, service_breaker=breaker) as caller:
            assert await find(caller, 300) == {"fine": 200, "CircuitOpenError": 100}
        assert shop.ran == 200
        await server.stop()

    run_virtual(scenario())


def test_the_same_for_the_breaker_of_an_instance() -> None:
    async def scenario() -> None:
        shop = Shop()
        server = await serve(shop)
        breaker = WindowBreaker(classify=everything_fails, min_samples=200)
        async with client(server, instance_breaker=breaker) as caller:
            ends = await find(caller, 300)
            assert ends == {"fine": 200, "NoInstanceError": 100}, "there is no other instance to pick"
            with pytest.raises(elanus.NoInstanceError, match="the circuit breaker of 'memory:1' is open"):
                await caller.find("tea")
        assert shop.ran == 200
        await server.stop()

    run_virtual(scenario())


# -- an outage, from its beginning to its end ---------------------------------------------------------------------


@pytest.mark.parametrize(("mood", "error"), [("fails", "ApplicationError"), ("slow", "RpcTimeoutError")])
def test_a_method_fails_is_spared_is_probed_and_comes_back(mood: str, error: str) -> None:
    async def scenario() -> None:
        shop = Shop()
        server = await serve(shop)
        breaker = WindowBreaker(min_samples=10)
        async with client(server, service_breaker=breaker, timeout=0.01) as caller:
            assert await find(caller, 20) == {"fine": 20}
            shop.mood, shop.ran = mood, 0
            assert await find(caller, 40) == {error: 20, "CircuitOpenError": 20}, "20 of 40 are half of them"
            assert await find(caller, 5, method="other") == {"fine": 5}, "another method has a key of its own"
            assert breaker.states() == {"web/Shop/find": State.OPEN}
            await asyncio.sleep(5.0)
            assert await find(caller, 3) == {error: 1, "CircuitOpenError": 2}, "the probe has failed"
            shop.mood = "fine"
            assert await find(caller, 1) == {"CircuitOpenError": 1}
            await asyncio.sleep(5.0)
            assert await find(caller, 10, pause=0.05) == {"fine": 7, "CircuitOpenError": 3}, "0.2 s between two probes"
            assert dict(breaker.states()) == {}
            happened = [one for one in reversed(caller.events.recent()) if one.name == "service_cb"]
        assert [one.detail.partition(",")[0] for one in happened] == [
            "web/Shop/find: CLOSED -> OPEN",
            "web/Shop/find: OPEN -> HALFOPEN",
            "web/Shop/find: HALFOPEN -> OPEN",
            "web/Shop/find: OPEN -> HALFOPEN",
            "web/Shop/find: HALFOPEN -> CLOSED",
        ]
        counts = Counts(20, 20, 0) if mood == "fails" else Counts(20, 0, 20)
        assert getattr(happened[0].value, "counts", None) == counts
        await server.stop()

    run_virtual(scenario())


@pytest.mark.parametrize(("mood", "error"), [("gone", "Gone"), ("refuses", "BizStatusError")])
def test_declared_exceptions_and_business_statuses_never_open_it(mood: str, error: str) -> None:
    async def scenario() -> None:
        shop, mine = Shop(), WindowBreaker(min_samples=10)
        shop.mood = mood
        server = await serve(shop, breaker=mine)
        breaker = WindowBreaker(min_samples=10)
        async with client(server, service_breaker=breaker) as caller:
            assert await find(caller, 50) == {error: 50}
        assert dict(breaker.states()) == dict(mine.states()) == {}
        await server.stop()

    run_virtual(scenario())


def test_cancelled_probes_do_not_keep_it_half_open() -> None:
    async def scenario() -> None:
        shop = Shop()
        server = await serve(shop)
        breaker = WindowBreaker(min_samples=10)
        async with client(server, service_breaker=breaker) as caller:
            shop.mood = "fails"
            await find(caller, 10)
            await asyncio.sleep(5.0)
            shop.mood = "slow"
            probe = asyncio.create_task(caller.find("tea"))
            await asyncio.sleep(0.1)
            assert breaker.states() == {"web/Shop/find": State.HALF_OPEN}
            probe.cancel()
            await asyncio.wait([probe])
            shop.mood = "fine"
            await asyncio.sleep(0.1)
            assert await find(caller, 2, pause=0.2) == {"fine": 2}
            assert dict(breaker.states()) == {}
        await server.stop()

    run_virtual(scenario())


def test_an_instance_that_cannot_be_reached_is_left_alone_and_the_others_serve() -> None:
    async def scenario() -> None:
        shop = Shop()
        server = await serve(shop)
        servers = {"memory:2": server}
        breaker = WindowBreaker(consecutive=5)
        options: dict[str, Any] = {"transport": MemoryTransport(servers), "instance_breaker": breaker}
        async with client(server, "memory:1", "memory:2", **options) as caller:
            assert await find(caller, 40) == {"fine": 40}, "each call that meets the dead one goes to the other"
            assert breaker.states() == {"memory:1": State.OPEN}
            assert breaker.counts("memory:1", asyncio.get_running_loop().time()).failures == 5
            (opened,) = (one for one in caller.events.recent() if one.name == "instance_cb")
            assert opened.detail == "memory:1: CLOSED -> OPEN, (succ: 0, err: 5, timeout: 0, rate: 1.000000)"
            servers["memory:1"] = server
            await asyncio.sleep(5.0)
            assert await find(caller, 20, pause=0.1) == {"fine": 20}
            assert dict(breaker.states()) == {}
            assert "memory:1" in caller.connections()
        await server.stop()

    run_virtual(scenario())


def test_a_server_spares_its_own_failing_method() -> None:
    async def scenario() -> None:
        shop, mine = Shop(), WindowBreaker(min_samples=10)
        shop.mood = "fails"
        server = await serve(shop, breaker=mine)
        async with client(server) as caller:
            ends = [await _text(caller) for _ in range(20)]
        assert ends == ["biz error: no"] * 10 + ["forbidden by circuitbreaker: service circuitbreak"] * 10
        assert shop.ran == 10
        (opened,) = (one for one in server.events.recent() if one.name == "service_cb")
        assert opened.detail.startswith("web/Shop/find: CLOSED -> OPEN")
        await server.stop()

    run_virtual(scenario())


async def _text(caller: elanus.Client) -> str:
    with pytest.raises(elanus.ApplicationError) as raised:
        await caller.find("tea")
    return raised.value.message


def test_settings_change_while_calls_run() -> None:
    async def scenario() -> None:
        shop = Shop()
        shop.mood = "fails"
        server = await serve(shop)
        breaker = WindowBreaker()
        async with client(server, service_breaker=breaker) as caller:
            assert await find(caller, 50) == {"ApplicationError": 50}
            breaker.update("web/Shop/find", min_samples=50)
            assert await find(caller, 10) == {"ApplicationError": 1, "CircuitOpenError": 9}
            breaker.update("web/Shop/find", enabled=False)
            assert await find(caller, 10) == {"ApplicationError": 10}
        await server.stop()

    run_virtual(scenario())


def test_the_breaker_of_a_gone_instance_is_forgotten() -> None:
    async def scenario() -> None:
        shop, breaker = Shop(), WindowBreaker(consecutive=1)
        server = await serve(shop)
        directory = MemoryDirectory()
        dead, alive = elanus.Instance("memory:1"), elanus.Instance("memory:2")
        for instance in (dead, alive):
            directory.put("shop", instance)
        options: dict[str, Any] = {"transport": MemoryTransport({"memory:2": server}), "instance_breaker": breaker}
        resolver = MemoryResolver(directory)
        async with elanus.Client(idl.Shop, name="shop", resolver=resolver, balancer=InTurn(), **options) as caller:
            await find(caller, 4)
            assert breaker.states() == {"memory:1": State.OPEN}
            directory.drop("shop", dead)
            await asyncio.sleep(1.0)
            assert dict(breaker.states()) == {}
            assert breaker.known == 1, "nothing is kept of it; the other one is known"
        await server.stop()

    run_virtual(scenario())
