"""The registry and resolver suites, kept by the in-memory pair; and what is special to that pair."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from elanus.errors import DiscoveryError
from elanus.service import Instance
from elanus.testing.memory_registry import MemoryDirectory, MemoryRegistry, MemoryResolver
from elanus.testing.registry import RegistrySuite
from elanus.testing.resolver import ResolverSuite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from elanus.contracts.registry import Registry
    from elanus.contracts.resolver import Resolver


class TestMemoryRegistry(RegistrySuite):
    directory: MemoryDirectory

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Registry]:
        self.directory = MemoryDirectory()
        registry = MemoryRegistry(self.directory)
        try:
            yield registry
        finally:
            await registry.aclose()

    async def seen(self, name: str) -> Sequence[Instance]:
        return self.directory.instances(name)

    async def lose(self) -> None:
        self.directory.wipe()


class TestMemoryResolver(ResolverSuite):
    directory: MemoryDirectory

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Resolver]:
        self.directory = MemoryDirectory()
        resolver = MemoryResolver(self.directory)
        yield resolver
        await resolver.aclose()
        assert not self.directory._watchers

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        for instance in self.directory.instances(name):
            self.directory.drop(name, instance)
        for instance in instances:
            self.directory.put(name, instance)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.directory.fail("staged by a test")
        yield
        self.directory.heal()


async def test_an_outage_shows_in_the_status_and_is_repaired() -> None:
    directory = MemoryDirectory()
    registry = MemoryRegistry(directory)
    one = Instance("10.0.0.1:8888")
    await registry.register("echo", one)
    await asyncio.sleep(0)
    directory.fail("power cut")
    await asyncio.sleep(0.01)
    (registration,) = registry.status()
    assert registration.lost_since is not None
    assert "power cut" in registration.last_error
    directory.wipe()
    directory.heal()
    await asyncio.sleep(0.01)
    (registration,) = registry.status()
    assert (registration.lost_since, registration.last_error) == (None, "")
    assert directory.instances("echo") == [one]
    await registry.aclose()


async def test_the_first_announcement_fails_during_an_outage() -> None:
    directory = MemoryDirectory()
    directory.fail("power cut")
    registry = MemoryRegistry(directory)
    with pytest.raises(DiscoveryError, match=r"'echo'.*power cut"):
        await registry.register("echo", Instance("10.0.0.1:8888"))
    assert registry.status() == []
    await registry.aclose()


class Forgetful(MemoryRegistry):
    """Does not repair."""

    def _repair_once(self) -> None:
        return


class Clingy(MemoryRegistry):
    """Withdraws nothing when it is closed."""

    async def aclose(self) -> None:
        self._wanted.clear()
        await super().aclose()


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (Forgetful, "test_a_lost_announcement_is_made_again"),
        (Clingy, "test_closing_withdraws_everything"),
    ],
)
def test_the_suite_catches_a_fault(fault: type[MemoryRegistry], test: str) -> None:
    class Suite(TestMemoryRegistry):
        settle = 0.05

        @asynccontextmanager
        async def open(self) -> AsyncIterator[Registry]:
            self.directory = MemoryDirectory()
            registry = fault(self.directory)
            yield registry
            await registry.aclose()

    with pytest.raises(AssertionError, match="is still"):
        getattr(Suite(), test)()
