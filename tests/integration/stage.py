"""Outages that happen to any registry, and what has to hold in and after each of them."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from elanus.testing import FaultProxy

from .outages import Fleet, Watcher, eventually
from .servers import ServerProcess

__all__ = ["MARGIN", "OUTAGES", "Outage", "Stage"]

#: Seconds, for the machine, which does other things, too.
MARGIN = 1.0
_STRANGER = "192.0.2.1:1"
_OTHER = "acme.other"


class Stage(ABC):
    """A registry, a proxy before it, and a fleet that knows the proxy only.

    :param ttl: seconds after which the registry drops what is not renewed.
    """

    #: The registry itself; subclasses say of which kind.
    server: ServerProcess

    def __init__(self, server: ServerProcess, proxy: FaultProxy, fleet: Fleet, ttl: float) -> None:
        self.server = server
        self.proxy = proxy
        self.fleet = fleet
        self.ttl = ttl

    @property
    def outage(self) -> float:
        """Longer than three TTLs: what is not renewed is gone."""
        return 3 * self.ttl + 0.5

    @abstractmethod
    def announced(self) -> bool:
        """Whether the registry has exactly the fleet."""

    @abstractmethod
    def lost(self) -> bool:
        """Whether the registry has none of it."""

    @abstractmethod
    def add(self, name: str, address: str) -> None:
        """Announce somebody, without elanus."""

    @abstractmethod
    def remove(self, name: str, address: str) -> None:
        """Withdraw that."""

    @abstractmethod
    def wipe(self) -> None:
        """Remove the data of a registry that does not run."""

    async def do(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Run something that blocks."""
        await asyncio.to_thread(action, *arguments)

    async def recovers(self) -> None:
        """What has to hold from now on, when the outage is over."""
        await eventually(self.announced, self.ttl + MARGIN, "being announced again")
        await self.sees_the_next_change(2.0)

    async def sees_the_next_change(self, seconds: float) -> None:
        """Somebody appears and goes again.

        Under another name: a client that knew of him would call him, and he does not exist.
        """
        other = Watcher(self.fleet.watcher._resolver, _OTHER)
        following = asyncio.create_task(other.run())
        try:
            await eventually(lambda: other.sets > 0, seconds)
            await self.do(self.add, _OTHER, _STRANGER)
            await other.sees(lambda seen: _STRANGER in seen, seconds)
            await self.do(self.remove, _OTHER, _STRANGER)
            await other.sees(lambda seen: _STRANGER not in seen, seconds)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await self.fleet.watcher.sees(lambda seen: seen == self.fleet.addresses, seconds)


Outage = Callable[[Any], Awaitable[None]]


async def held_still(stage: Stage) -> None:
    stage.server.pause()
    await asyncio.sleep(stage.outage)
    stage.server.resume()


async def killed_and_restarted_with_its_data(stage: Stage) -> None:
    await stage.do(stage.server.kill)
    await asyncio.sleep(stage.outage)
    await stage.do(stage.server.start)


async def killed_and_restarted_at_once(stage: Stage) -> None:
    await stage.do(stage.server.kill)
    await stage.do(stage.server.start)


async def killed_and_restarted_empty(stage: Stage) -> None:
    await stage.do(stage.server.kill)
    await stage.do(stage.wipe)
    await stage.do(stage.server.start)


async def cable_pulled(stage: Stage) -> None:
    """Nothing passes, nothing is refused, nothing is lost: TCP would send it again."""
    stage.proxy.up.stall = stage.proxy.down.stall = True
    await asyncio.sleep(stage.outage)
    stage.proxy.heal()


async def half_open(stage: Stage) -> None:
    """What is sent vanishes, on old connections and on new ones."""
    stage.proxy.half_open = True
    stage.proxy.up.swallow = stage.proxy.down.swallow = True
    await asyncio.sleep(stage.outage)
    await stage.proxy.cut()
    stage.proxy.heal()


async def refused(stage: Stage) -> None:
    await stage.proxy.refuse()
    await stage.proxy.cut()
    await asyncio.sleep(stage.outage)
    await stage.proxy.accept()


async def cut_again_and_again(stage: Stage) -> None:
    for _ in range(8):
        await stage.proxy.cut()
        await asyncio.sleep(0.5)


async def slow(stage: Stage) -> None:
    """Every answer takes 0.4 s, and everything goes on."""
    stage.proxy.up.delay = stage.proxy.down.delay = 0.2
    await asyncio.sleep(stage.outage)
    assert stage.announced()
    await stage.sees_the_next_change(3.0)
    stage.proxy.heal()


async def the_wall_clock_jumps(stage: Stage) -> None:
    now = time.time
    with pytest.MonkeyPatch.context() as patch:
        for jump in (86_400.0, -86_400.0):
            patch.setattr(time, "time", lambda jump=jump: now() + jump)
            await asyncio.sleep(stage.outage / 2)
            assert stage.announced()


#: Those that need to know nothing of the registry.
OUTAGES: tuple[Outage, ...] = (
    held_still,
    killed_and_restarted_with_its_data,
    killed_and_restarted_at_once,
    killed_and_restarted_empty,
    cable_pulled,
    half_open,
    refused,
    cut_again_and_again,
    slow,
    the_wall_clock_jumps,
)
