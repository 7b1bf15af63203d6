"""The balancer in real clients: near first, spill-over, tags, and inner balancers that learn."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.balancer import Balancer, Ejection, Picker
from elanus.testing import InTurn, JsonCodec, MemoryDirectory, MemoryResolver, MemoryTransport, run_virtual
from elanus_balancer_locality import LocalityBalancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Sequence

idl = JsonCodec().loads("service Shop {\n  find(name)\n}")

NEAR = [elanus.Instance(f"memory:a{n}", 10, {"zone": "a", "version": str(n)}) for n in (1, 2)]
FAR = [elanus.Instance(f"memory:b{n}", 10, {"zone": "b", "version": str(n)}) for n in (1, 2)]


class Shop:
    async def find(self, name: str) -> str:
        await asyncio.sleep(0.01)
        return name


@asynccontextmanager
async def client(balancer: Balancer, serving: Sequence[elanus.Instance]) -> AsyncIterator[Any]:
    directory = MemoryDirectory()
    for instance in (*NEAR, *FAR):
        directory.put("Shop", instance)
    server = elanus.Server()
    server.add_service(idl.Shop, Shop())
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        transport = MemoryTransport({instance.address: server for instance in serving})
        yield await stack.enter_async_context(
            elanus.Client(idl.Shop, resolver=MemoryResolver(directory), transport=transport, balancer=balancer)
        )


async def called(shop: Any, count: int) -> Counter[str]:
    return Counter([str((await shop.invoke("find", "tea")).instance) for _ in range(count)])


def test_near_instances_get_the_calls_and_far_ones_those_that_cannot_be_served_there() -> None:
    async def scenario() -> None:
        async with client(LocalityBalancer(InTurn(), prefer={"zone": "a"}), [*NEAR, *FAR]) as shop:
            assert await called(shop, 100) == {"memory:a1": 50, "memory:a2": 50}
        async with client(LocalityBalancer(InTurn(), prefer={"zone": "a"}), FAR) as shop:
            assert await called(shop, 100) == {"memory:b1": 50, "memory:b2": 50}

    run_virtual(scenario())


def test_tags_of_a_call() -> None:
    async def scenario() -> None:
        async with client(LocalityBalancer(InTurn(), prefer={"zone": "a"}), [*NEAR, *FAR]) as shop:
            assert await called(shop.with_options(tags={"version": "2"}), 20) == {"memory:a2": 20}
            assert await called(shop.with_options(tags={"version": "2", "zone": "b"}), 20) == {"memory:b2": 20}
            with pytest.raises(elanus.NoInstanceError):
                await shop.with_options(tags={"version": "3"}).find("tea")

    run_virtual(scenario())


class CountingPicker(Picker):
    """The least busy, which is right only when it is told of every end."""

    def __init__(self, instances: Sequence[elanus.Instance]) -> None:
        self.running = dict.fromkeys(instances, 0)

    def pick(self, call: elanus.Call, excluded: Container[elanus.Instance], now: float) -> elanus.Instance | None:
        left = [instance for instance in self.running if instance not in excluded]
        if not left:
            return None
        instance = min(left, key=self.running.__getitem__)
        self.running[instance] += 1
        return instance

    def finished(self, instance: elanus.Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        self.running[instance] -= 1


class CountingBalancer(Balancer):
    name = "counting"

    def __init__(self) -> None:
        self.made: list[CountingPicker] = []

    def picker(self, instances: Sequence[elanus.Instance], previous: Picker | None = None) -> Picker:
        self.made.append(CountingPicker(instances))
        return self.made[-1]


def test_every_pick_of_an_inner_picker_has_its_end() -> None:
    """Calls with and without tags, failed and cancelled ones, all at the same time."""

    async def scenario() -> None:
        inner = CountingBalancer()
        async with client(LocalityBalancer(inner, prefer={"zone": "a"}), [NEAR[0], *FAR]) as shop:
            views = [shop, *(shop.with_options(tags={"version": str(n)}) for n in (1, 2))]
            tasks = [asyncio.create_task(views[n % 3].find(str(n))) for n in range(90)]
            await asyncio.sleep(0.005)
            busy = [sum(picker.running.values()) for picker in inner.made]
            assert busy[0] + busy[1] == 30, "near and far"
            assert sum(busy) == 90
            for task in tasks[::7]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert [count for picker in inner.made for count in picker.running.values() if count] == []

    run_virtual(scenario())


def test_ejections_by_the_inner_balancer_are_events_of_the_client() -> None:
    class Ejecting(InTurn):
        """Ejects, to say so, whatever has been called."""

        def picker(self, instances: Sequence[elanus.Instance], previous: Picker | None = None) -> Picker:
            inner, balancer = super().picker(instances, previous), self

            class Telling(Picker):
                def pick(
                    self, call: elanus.Call, excluded: Container[elanus.Instance], now: float
                ) -> elanus.Instance | None:
                    return inner.pick(call, excluded, now)

                def finished(
                    self, instance: elanus.Instance, error: BaseException | None, elapsed: float, now: float
                ) -> None:
                    balancer.ejecting(Ejection(instance, "why not", 5.0, now + 5.0))

            return Telling()

    async def scenario() -> None:
        inner = Ejecting()
        async with client(LocalityBalancer(inner, prefer={"zone": "a"}), [*NEAR, *FAR]) as shop:
            assert await called(shop, 1) == {"memory:a1": 1}
            (happened,) = (one for one in shop.events.recent() if one.name == "instance_ejected")
        assert happened.detail == "memory:a1 is ejected for 5 s: why not"
        told: list[Ejection] = []
        outer = LocalityBalancer(inner)
        outer.watch(told.append)
        outer.unwatch(told.append)
        inner.ejecting(happened.value)
        assert told == []

    run_virtual(scenario())
