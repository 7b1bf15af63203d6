"""The instances of one client: what its resolver said last, the picker made of it, and what has changed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from elanus.events import DISCOVERY_CHANGE, DISCOVERY_DELETE
from elanus.net.watching import Watch, join_watch, leave_watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.balancer import Balancer, Picker
    from elanus.contracts.resolver import Resolver
    from elanus.events import EventBus
    from elanus.service import Instance

__all__ = ["Change", "FixedInstances", "WatchedInstances"]

_log = logging.getLogger("elanus.discovery")


@dataclass(frozen=True, slots=True)
class Change:
    """How a set of instances differs from the one before; instances are compared by address, weight and tags.

    The value of ``discovery_change``; of ``discovery_delete`` it has all of them as removed.
    """

    name: str
    added: Sequence[Instance]
    removed: Sequence[Instance]
    #: Those whose weight or tags are new.
    updated: Sequence[Instance]

    @classmethod
    def between(cls, name: str, before: Sequence[Instance], after: Sequence[Instance]) -> Change:
        """What leads from *before* to *after*."""
        known = {instance.address: instance for instance in before}
        left = {instance.address for instance in after}
        return cls(
            name,
            added=tuple(instance for instance in after if instance.address not in known),
            removed=tuple(instance for instance in before if instance.address not in left),
            updated=tuple(i for i in after if i.address in known and known[i.address] != i),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.updated)

    def __str__(self) -> str:
        parts = [("added", self.added), ("removed", self.removed), ("updated", self.updated)]
        listed = ", ".join(f"{len(some)} {word}" for word, some in parts if some)
        return f"{self.name}: {listed or 'nothing new'}"


class FixedInstances:
    """Instances that were given as addresses."""

    def __init__(self, name: str, instances: Sequence[Instance], balancer: Balancer) -> None:
        self.name = name
        self.resolver = "addresses"
        self.instances: Sequence[Instance] = tuple(instances)
        self.picker: Picker | None = balancer.picker(self.instances)

    def rebalance(self, balancer: Balancer) -> None:
        """Let another balancer pick from now on; it knows nothing of what the one before has learned."""
        self.picker = balancer.picker(self.instances)

    async def first(self) -> Picker:
        """The picker; it is there from the start."""
        assert self.picker is not None
        return self.picker

    async def aclose(self) -> None:
        """Nothing was opened."""


class WatchedInstances:
    """Instances that a resolver finds. The first look-up comes with the first call, or with a warm-up.

    An outage of the resolver leaves the last set in place. So does an empty answer, for a while: a registry that was
    restarted empty says that nobody is there until they have all come back.

    :param key: tells the resolver apart from others of this loop, see :func:`elanus.net.watching.watch_key`.
    :param owned: close the resolver when nobody uses it any more.
    :param empty_grace: seconds for which an empty answer changes nothing. Kitex: 0.
    :param events: gets ``discovery_change`` and ``discovery_delete``.
    """

    def __init__(
        self,
        name: str,
        resolver: Resolver,
        balancer: Balancer,
        events: EventBus,
        *,
        key: object,
        owned: bool,
        empty_grace: float,
    ) -> None:
        self.name = name
        self.resolver = resolver.name
        self.instances: Sequence[Instance] = ()
        self.picker: Picker | None = None
        self._balancer = balancer
        self._events = events
        self._key = key
        self._owned = owned
        self._empty_grace = empty_grace
        self._emptying: asyncio.TimerHandle | None = None
        self._watch: Watch = join_watch(key, resolver, name, self)

    def rebalance(self, balancer: Balancer) -> None:
        """Let another balancer pick from now on; it knows nothing of what the one before has learned."""
        self._balancer = balancer
        if self.picker is not None:
            self.picker = balancer.picker(self.instances)

    @property
    def last_error(self) -> str:
        """Why the resolver cannot be asked at present; empty when it can."""
        return self._watch.last_error

    async def first(self) -> Picker:
        """Wait for the first look-up.

        :raises DiscoveryError: it failed; the next call looks up anew.
        """
        await self._watch.first()
        assert self.picker is not None
        return self.picker

    def updated(self, instances: Sequence[Instance]) -> None:
        """The resolver's word, from the watch."""
        if self._emptying is not None:
            self._emptying.cancel()
            self._emptying = None
        if not instances and self.instances and self._empty_grace > 0:
            count, grace = len(self.instances), self._empty_grace
            _log.warning("%s: the resolver knows nobody; keeping the last %d for %g s", self.name, count, grace)
            self._emptying = asyncio.get_running_loop().call_later(grace, self._replace, ())
            return
        self._replace(instances)

    def _replace(self, instances: Sequence[Instance]) -> None:
        change = Change.between(self.name, self.instances, instances)
        if not change and self.picker is not None:
            return
        started = monotonic()
        self.picker = self._balancer.picker(instances, self.picker)
        self.instances = instances
        _log.info("%s (picker made in %.1f ms)", change, (monotonic() - started) * 1e3)
        self._events.emit(DISCOVERY_CHANGE, str(change), change)

    async def aclose(self) -> None:
        """Stop watching."""
        if self._emptying is not None:
            self._emptying.cancel()
        await leave_watch(self._key, self._watch, self, owned=self._owned)
        if self.instances:
            change = Change(self.name, (), self.instances, ())
            self._events.emit(DISCOVERY_DELETE, f"{self.name}: no longer watched", change)
