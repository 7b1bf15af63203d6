"""The loop around the reconcile policy: who waits for which step, and what a step in flight must not spoil."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from elanus.errors import DiscoveryError, StateError
from elanus.net.reconciler import Announcer, ReconcilingRegistry
from elanus.reconcile import Rhythm
from elanus.service import Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE = Instance("10.0.0.1:80")


class Slow(Announcer):
    """A backend whose requests end when a test lets them, and that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.answers: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.kept: dict[str, Instance] = {}
        self.announced = asyncio.Event()
        self.closed = False

    async def _request(self, what: str) -> None:
        self.asked.put_nowait(what)
        answer = await self.answers.get()
        if answer is not None:
            raise answer

    async def announce(self, name: str, instance: Instance) -> None:
        await self._request("announce")
        self.kept[instance.address] = instance
        self.announced.set()

    async def renew(self, name: str, instance: Instance) -> bool:
        await self._request("renew")
        return instance.address in self.kept

    async def check(self, name: str, instance: Instance) -> bool:
        await self._request("check")
        return instance.address in self.kept

    async def withdraw(self, name: str, instance: Instance) -> None:
        await self._request("withdraw")
        self.kept.pop(instance.address, None)

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[ReconcilingRegistry, Slow]]:
    backend = Slow()
    rhythm = Rhythm(renew_every=0.02, check_every=60.0, ttl=1.0, first_retry=0.01, longest_retry=0.02)
    registry = ReconcilingRegistry("slow", backend, rhythm)
    async with asyncio.timeout(10):
        yield registry, backend
        for _ in range(100):
            backend.answers.put_nowait(None)
        await registry.aclose()
    assert backend.closed


async def registered(registry: ReconcilingRegistry, backend: Slow) -> None:
    backend.answers.put_nowait(None)
    await registry.register("echo", ONE)
    assert await backend.asked.get() == "announce"


@pytest.mark.parametrize("outcome", [None, OSError("down")], ids=["succeeds", "fails"])
async def test_a_withdrawal_is_waited_for_although_a_renewal_in_flight_ends_first(outcome: Exception | None) -> None:
    async with opened() as (registry, backend):
        await registered(registry, backend)
        assert await backend.asked.get() == "renew"
        withdrawing = asyncio.create_task(registry.deregister("echo", ONE))
        await asyncio.sleep(0)
        backend.answers.put_nowait(outcome)
        assert await backend.asked.get() == "withdraw"
        await asyncio.sleep(0)
        assert not withdrawing.done(), "the renewal was not what it waits for"
        backend.answers.put_nowait(None)
        await withdrawing
        assert backend.kept == {}


async def test_closing_lets_a_withdrawal_end_that_began_behind_a_renewal() -> None:
    async with opened() as (registry, backend):
        await registered(registry, backend)
        assert await backend.asked.get() == "renew"
        closing = asyncio.create_task(registry.aclose())
        await asyncio.sleep(0)
        backend.answers.put_nowait(None)
        assert await backend.asked.get() == "withdraw"
        backend.answers.put_nowait(None)
        await closing
        assert backend.kept == {}


async def test_registering_anew_during_a_withdrawal_is_not_forgotten_with_it() -> None:
    async with opened() as (registry, backend):
        await registered(registry, backend)
        assert await backend.asked.get() == "renew"
        backend.answers.put_nowait(None)
        withdrawing = asyncio.create_task(registry.deregister("echo", ONE))
        assert await backend.asked.get() == "withdraw"
        registering = asyncio.create_task(registry.register("echo", ONE))
        await asyncio.sleep(0)
        backend.answers.put_nowait(None)
        await withdrawing
        assert await backend.asked.get() == "announce"
        backend.answers.put_nowait(None)
        await registering
        assert backend.kept == {ONE.address: ONE}
        assert [one.instance for one in registry.status()] == [ONE]


async def test_a_first_announcement_that_fails_is_an_error_and_forgotten_unless_it_insists() -> None:
    async with opened() as (registry, backend):
        backend.answers.put_nowait(OSError("down"))
        with pytest.raises(DiscoveryError, match=r"'slow' could not announce 'echo' at 10\.0\.0\.1:80: down"):
            await registry.register("echo", ONE)
        assert registry.status() == []
        backend.answers.put_nowait(OSError("still down"))
        await registry.register("echo", ONE, insist=True)
        (status,) = registry.status()
        assert (status.registered_since, status.last_error) == (None, "still down")
        backend.answers.put_nowait(None)
        await backend.announced.wait()
        await asyncio.sleep(0)
        assert registry.status()[0].registered_since is not None


async def test_a_closed_one_says_so() -> None:
    async with opened() as (registry, _):
        await registry.aclose()
        with pytest.raises(StateError, match="registry 'slow' is closed"):
            await registry.register("echo", ONE)
