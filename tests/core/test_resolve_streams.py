"""What a balancer is told of streams."""

import asyncio
from collections.abc import Container, Sequence

import pytest

import elanus
from elanus.contracts.balancer import Balancer, Picker
from elanus.testing import JsonCodec, MemoryTransport, run_virtual

idl = JsonCodec().loads("service Feed {\n  get(name)\n  server-stream follow(name)\n}")


class NotingPicker(Picker):
    def __init__(self, instances: Sequence[elanus.Instance]) -> None:
        self.instances = instances
        self.told: list[tuple[float, float, BaseException | None]] = []

    def pick(self, call: elanus.Call, excluded: Container[elanus.Instance], now: float) -> elanus.Instance | None:
        return next((instance for instance in self.instances if instance not in excluded), None)

    def finished(self, instance: elanus.Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        self.told.append((elapsed, now, error))


class NotingBalancer(Balancer):
    name = "noting"

    def __init__(self) -> None:
        self.made: list[NotingPicker] = []

    def picker(self, instances: Sequence[elanus.Instance], previous: Picker | None = None) -> Picker:
        self.made.append(NotingPicker(instances))
        return self.made[-1]


class Feed:
    async def get(self, name: str) -> str:
        await asyncio.sleep(2.0)
        return name

    async def follow(self, name: str):  # type: ignore[no-untyped-def]
        await asyncio.sleep(600)
        yield name
        await asyncio.sleep(3_000)
        if name == "fails":
            raise ValueError("no more")


async def told(name: str) -> tuple[float, float, BaseException | None]:
    """What is told at the end of one call, with the instant of that end counted from its start."""
    balancer = NotingBalancer()
    server = elanus.Server()
    server.add_service(idl.Feed, Feed())
    await server.start()
    async with elanus.Client(idl.Feed, "memory:1", transport=MemoryTransport(server), balancer=balancer) as client:
        started = asyncio.get_running_loop().time()
        if name == "get":
            await client.get("a")
        else:
            try:
                async for _ in client.follow(name):
                    pass
            except elanus.ElanusError:
                pass
    await server.stop()
    ((elapsed, now, error),) = balancer.made[0].told
    return elapsed, now - started, error


def test_how_long_a_stream_lasts_is_not_how_long_its_instance_took() -> None:
    elapsed, end, error = run_virtual(told("stream"))
    assert error is None
    assert end >= 3_600
    assert elapsed < 1


def test_a_stream_that_fails_is_told_when_it_fails() -> None:
    elapsed, end, error = run_virtual(told("fails"))
    assert isinstance(error, elanus.ApplicationError)
    assert end >= 3_600
    assert elapsed < 1


def test_a_call_is_told_with_the_time_until_its_reply() -> None:
    elapsed, end, error = run_virtual(told("get"))
    assert error is None
    assert elapsed == pytest.approx(2.0)
    assert end == pytest.approx(2.0)
