"""The loop of a registry, with a backend that fails on demand, in virtual time."""

import asyncio

import pytest

from elanus.errors import DiscoveryError
from elanus.net.reconciler import Announcer, ReconcilingRegistry
from elanus.reconcile import Rhythm
from elanus.service import Instance
from elanus.testing.clock import run_virtual

ONE = Instance("10.0.0.1:80", 10, {"zone": "a"})
TTL = 60.0


class Backend(Announcer):
    """A registry that can be down, silent, or emptied."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Instance] = {}
        self.down = False
        self.silent = False
        self.requests = 0
        self.closed = False

    async def _reach(self) -> None:
        self.requests += 1
        if self.silent:
            await asyncio.sleep(3600)
        if self.down:
            raise ConnectionError("refused")

    async def announce(self, name: str, instance: Instance) -> None:
        await self._reach()
        self.held[name, instance.address] = instance

    async def renew(self, name: str, instance: Instance) -> bool:
        await self._reach()
        return (name, instance.address) in self.held

    async def check(self, name: str, instance: Instance) -> bool:
        await self._reach()
        return self.held.get((name, instance.address)) == instance

    async def withdraw(self, name: str, instance: Instance) -> None:
        await self._reach()
        self.held.pop((name, instance.address), None)

    async def aclose(self) -> None:
        self.closed = True


def registry(backend: Backend) -> ReconcilingRegistry:
    return ReconcilingRegistry("test", backend, Rhythm(renew_every=TTL / 3, check_every=30.0, ttl=TTL))


def test_it_is_announced_when_register_returns_and_gone_when_deregister_does() -> None:
    async def scenario() -> None:
        backend = Backend()
        one = registry(backend)
        await one.register("echo", ONE)
        assert backend.held == {("echo", ONE.address): ONE}
        await one.deregister("echo", ONE)
        assert not backend.held
        await one.deregister("echo", ONE)
        await one.aclose()
        assert backend.closed

    run_virtual(scenario())


def test_a_first_registration_that_fails_raises_and_wants_nothing_any_more() -> None:
    async def scenario() -> None:
        backend = Backend()
        backend.down = True
        one = registry(backend)
        with pytest.raises(DiscoveryError, match=r"could not announce 'echo' at 10\.0\.0\.1:80: refused"):
            await one.register("echo", ONE)
        backend.down = False
        await asyncio.sleep(TTL)
        assert not backend.held
        assert one.status() == []
        await one.aclose()

    run_virtual(scenario())


def test_told_to_insist_it_goes_on_until_the_registry_is_there() -> None:
    async def scenario() -> None:
        backend = Backend()
        backend.down = True
        one = registry(backend)
        await one.register("echo", ONE, insist=True)
        [status] = one.status()
        assert status.registered_since is None
        assert status.last_error == "refused"
        backend.down = False
        await asyncio.sleep(6.0)
        assert backend.held
        [status] = one.status()
        assert status.registered_since is not None
        await one.aclose()

    run_virtual(scenario())


@pytest.mark.parametrize("outage", ["down", "silent"])
def test_it_is_back_within_seconds_of_any_outage_with_few_requests(outage: str) -> None:
    async def scenario() -> None:
        backend = Backend()
        one = registry(backend)
        await one.register("echo", ONE)
        setattr(backend, outage, True)
        backend.held.clear()
        before, hour = backend.requests, 3600.0
        await asyncio.sleep(hour)
        assert (backend.requests - before) / hour < 1.0
        [status] = one.status()
        assert status.lost_since is not None
        assert status.last_error == ("refused" if outage == "down" else "no answer within 3 s")
        setattr(backend, outage, False)
        await asyncio.sleep(10.0)
        assert backend.held
        assert one.status()[0].lost_since is None
        await one.aclose()

    run_virtual(scenario())


def test_what_is_deleted_or_changed_behind_our_back_is_repaired_at_the_next_check() -> None:
    async def scenario() -> None:
        backend = Backend()
        one = registry(backend)
        await one.register("echo", ONE)
        backend.held.clear()
        await asyncio.sleep(31.0)
        assert backend.held
        backend.held["echo", ONE.address] = Instance(ONE.address, 1)
        await asyncio.sleep(31.0)
        assert backend.held["echo", ONE.address] == ONE
        await one.aclose()

    run_virtual(scenario())


def test_closing_withdraws_everything_even_when_the_registry_is_down_and_leaves_no_task() -> None:
    async def scenario() -> None:
        backend = Backend()
        one = registry(backend)
        await one.register("echo", ONE)
        await one.register("other", ONE)
        backend.down = True
        await one.aclose()
        await one.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())
