"""The instance cache of a client: what its resolver said last, and the picker made of it."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from elanus.errors import DiscoveryError, ElanusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from elanus.contracts.balancer import Balancer, Picker
    from elanus.contracts.resolver import Resolver
    from elanus.service import Instance

__all__ = ["FixedInstances", "WatchedInstances"]

_log = logging.getLogger("elanus.discovery")

_RETRY_AFTER = 1.0


class FixedInstances:
    """Instances that were given as addresses."""

    def __init__(self, name: str, instances: Sequence[Instance], balancer: Balancer) -> None:
        self.name = name
        self.resolver = "addresses"
        self.instances: Sequence[Instance] = tuple(instances)
        self.picker: Picker | None = balancer.picker(self.instances)

    async def first(self) -> Picker:
        """The picker; it is there from the start."""
        assert self.picker is not None
        return self.picker

    async def aclose(self) -> None:
        """Nothing was opened."""


class WatchedInstances:
    """Instances that a resolver watches. The first look-up starts with the first call; an error keeps the last set."""

    def __init__(
        self, name: str, resolver: Resolver, balancer: Balancer, removed: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self.resolver = resolver.name
        self.instances: Sequence[Instance] = ()
        self.picker: Picker | None = None
        self._resolver = resolver
        self._balancer = balancer
        self._removed = removed
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def first(self) -> Picker:
        """Wait, with everybody else who needs it, for the first look-up.

        :raises DiscoveryError: it failed; the next call looks up anew.
        """
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._first = loop.create_future()
            self._first.add_done_callback(_retrieved)
            self._task = loop.create_task(self._watch(), name=f"elanus watch {self.name}")
        assert self._first is not None
        await asyncio.shield(self._first)
        assert self.picker is not None
        return self.picker

    async def _watch(self) -> None:
        while True:
            try:
                async for instances in self._resolver.watch(self.name):
                    self._update(instances)
                problem: Exception = DiscoveryError(f"resolver {self.resolver!r} stopped watching {self.name!r}")
            except Exception as error:
                problem = error
            if self._first is not None and not self._first.done():
                self._first.set_exception(self._as_discovery_error(problem))
                return
            _log.warning("%s: keeping the last %d instances, %s", self.name, len(self.instances), problem)
            await asyncio.sleep(_RETRY_AFTER)

    def _as_discovery_error(self, problem: Exception) -> ElanusError:
        if isinstance(problem, ElanusError):
            return problem
        error = DiscoveryError(
            f"resolver {self.resolver!r} cannot look up {self.name!r}: {problem}",
            hint="Check the resolver's address and credentials",
        )
        error.__cause__ = problem
        return error

    def _update(self, instances: Sequence[Instance]) -> None:
        started = monotonic()
        gone = {instance.address for instance in self.instances} - {instance.address for instance in instances}
        self.instances = tuple(instances)
        self.picker = self._balancer.picker(self.instances, self.picker)
        _log.info("%s: %d instances (%.1f ms)", self.name, len(self.instances), (monotonic() - started) * 1e3)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        if self._removed is not None:
            for address in gone:
                self._removed(address)

    async def aclose(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._resolver.aclose()


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # every waiter may have been cancelled; the log has it
