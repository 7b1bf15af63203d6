"""The balancer in real clients, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import elanus
from elanus.testing import JsonCodec, MemoryDirectory, MemoryResolver, MemoryTransport, run_virtual
from elanus_balancer_latency import Ejection, LatencyBalancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

idl = JsonCodec().loads("service Shop {\n  find(name)\n}")


class Shop:
    """Answers after *pause* seconds; negative: it fails at once."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    async def find(self, name: str) -> str:
        if self.pause < 0:
            raise ValueError("broken")
        await asyncio.sleep(self.pause)
        return name


@asynccontextmanager
async def fleet(pauses: Mapping[str, float]) -> AsyncIterator[MemoryTransport]:
    """A server at each address."""
    async with AsyncExitStack() as stack:
        servers = {}
        for address, pause in pauses.items():
            servers[address] = elanus.Server()
            servers[address].add_service(idl.Shop, Shop(pause))
            await servers[address].start()
            stack.push_async_callback(servers[address].stop)
        yield MemoryTransport(servers)


async def calls(client: Any, count: int, pause: float = 0.01) -> Counter[str]:
    """So many calls, one each *pause* seconds: how many each instance answered."""

    async def one() -> str:
        try:
            return str((await client.invoke("find", "tea")).instance)
        except elanus.ElanusError as error:
            return f"failed at {error.instance}"

    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(pause)
    return Counter(await asyncio.gather(*tasks))


def test_a_slow_server_is_left_alone() -> None:
    async def scenario() -> Counter[str]:
        async with fleet({"memory:1": 0.01, "memory:2": 0.01, "memory:3": 0.4}) as transport:
            addresses = ["memory:1", "memory:2", "memory:3"]
            balancer = LatencyBalancer(seed=1)
            async with elanus.Client(idl.Shop, addresses, transport=transport, balancer=balancer) as client:
                return await calls(client, 3_000)

    counts = run_virtual(scenario())
    assert counts.total() == 3_000
    assert counts["memory:3"] < 60
    assert min(counts["memory:1"], counts["memory:2"]) > 1_200


def test_an_address_that_nobody_answers_is_ejected_and_costs_no_call() -> None:
    told: list[Ejection] = []

    async def scenario() -> Counter[str]:
        async with fleet({"memory:1": 0.01, "memory:2": 0.01}) as transport:
            addresses = ["memory:1", "memory:2", "memory:9"]
            balancer = LatencyBalancer(seed=1, on_ejection=told.append)
            async with elanus.Client(idl.Shop, addresses, transport=transport, balancer=balancer) as client:
                counts = await calls(client, 6_000)
                happened = [one for one in reversed(client.events.recent()) if one.name == "instance_ejected"]
                assert [one.value for one in happened] == told
                assert [one.detail for one in happened] == [str(ejection) for ejection in told]
                return counts

    counts = run_virtual(scenario())
    assert set(counts) == {"memory:1", "memory:2"}, "whoever met it first was sent elsewhere"
    assert {str(ejection.instance) for ejection in told} == {"memory:9"}
    assert [ejection.seconds for ejection in told][:1] == [30.0]
    assert all("5 failures in a row" in str(ejection) for ejection in told)


def test_a_balancer_that_was_named_tells_of_ejections_too() -> None:
    async def scenario() -> list[Any]:
        async with fleet({"memory:1": 0.01}) as transport:
            addresses, balancer = ["memory:1", "memory:9"], ("latency", {"seed": 1, "failures": 1})
            async with elanus.Client(idl.Shop, addresses, transport=transport, balancer=balancer) as client:
                await calls(client, 20)
                return [one for one in client.events.recent() if one.name == "instance_ejected"]

    (happened,) = run_virtual(scenario())
    assert happened.detail == "memory:9 is ejected for 30 s: 1 failure in a row"
    assert (happened.value.seconds, happened.value.reason) == (30.0, "1 failure in a row")


def test_a_server_that_fails_at_once_does_not_draw_all_calls() -> None:
    async def scenario() -> Counter[str]:
        async with fleet({"memory:1": 0.02, "memory:2": 0.02, "memory:3": -1.0}) as transport:
            addresses = ["memory:1", "memory:2", "memory:3"]
            balancer = LatencyBalancer(seed=1)
            async with elanus.Client(idl.Shop, addresses, transport=transport, balancer=balancer) as client:
                return await calls(client, 3_000)

    counts = run_virtual(scenario())
    assert counts["failed at memory:3"] < 30
    assert counts["memory:1"] + counts["memory:2"] + counts["failed at memory:3"] == 3_000


def test_a_server_that_joins_gets_calls_little_by_little() -> None:
    async def scenario() -> tuple[Counter[str], Counter[str]]:
        directory = MemoryDirectory()
        for number in (1, 2):
            directory.put("Shop", elanus.Instance(f"memory:{number}"))
        async with fleet({f"memory:{number}": 0.01 for number in (1, 2, 3)}) as transport:
            balancer = LatencyBalancer(seed=1, slow_start=20)
            async with elanus.Client(
                idl.Shop, resolver=MemoryResolver(directory), transport=transport, balancer=balancer
            ) as client:
                await calls(client, 500)
                directory.put("Shop", elanus.Instance("memory:3"))
                early = await calls(client, 400)
                await asyncio.sleep(20)
                return early, await calls(client, 400)

    early, late = run_virtual(scenario())
    assert 0 < early["memory:3"] < 70, "a third would be 133"
    assert late["memory:3"] > 90
