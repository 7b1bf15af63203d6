"""Connections of a client, per instance and lane: taken without waiting where one is free, made where none is."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from elanus.errors import ConnectFailedError, StateError
from elanus.net.group import Group
from elanus.net.pool_report import PoolCounters

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from elanus.contracts.transport import Connection, LinkOptions, Transport
    from elanus.net.pool_report import GroupReport
    from elanus.options import PoolOptions

__all__ = ["Pool"]

#: The share of its greatest age by which a connection may end earlier, so that those made together do not end together.
_AGE_JITTER = 0.1
#: Seconds that a connection which no call uses has for saying goodbye.
_GRACE = 60.0
_LEAST_SWEEP = 0.05


class Pool:
    """All connections of one client.

    :param chance: draws by how much connections end before their greatest age.
    """

    def __init__(
        self, transport: Transport, link: LinkOptions, options: PoolOptions, chance: Random | None = None
    ) -> None:
        self._transport = transport
        self._link = link
        self.options = options
        self._chance = chance or Random()
        self._groups: dict[str, dict[str, Group]] = {}
        self._gone: set[Group] = set()
        self._past = PoolCounters()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closings: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self.closed = False
        #: Connections that are open or being made, over all groups.
        self.total = 0
        #: Groups in which calls wait because there are ``open_in_all`` connections, the one that waits longest first.
        self.starving: dict[Group, None] = {}
        #: Connections that are being closed to make room for those.
        self.room_coming = 0

    # -- for send -------------------------------------------------------------------------------------------------

    def lane(self, lane: str) -> dict[str, Group]:
        """The groups of one lane, by address; look there first, then :meth:`group`."""
        return self._groups.setdefault(lane, {})

    def group(self, address: str, lane: str) -> Group:
        """The group of an instance, made at its first call."""
        groups = self.lane(lane)
        group = groups.get(address)
        if group is None:
            group = groups[address] = Group(self, address, lane)
            if self._sweeper is None and self.options.keep and not self.closed:
                self._sweep_later()
        return group

    # -- for groups -----------------------------------------------------------------------------------------------

    async def connect(self, address: str, lane: str, connect_timeout: float) -> Connection:
        """Open a connection.

        :raises ConnectFailedError: it could not be opened within *connect_timeout* seconds.
        :raises StateError: the client is closed.
        """
        if self.closed:
            raise StateError("the client is closed", hint="Make calls inside of its `async with` block")
        try:
            async with asyncio.timeout(connect_timeout):
                connection = await self._transport.connect(address, lane, self._link)
        except TimeoutError as error:
            raise ConnectFailedError(
                f"no connection within {connect_timeout:g} s (connect_timeout)",
                hint="Nothing answers there: check the address, what filters the way, and the load of that server",
                instance=address,
            ) from error
        if self.closed:
            self.close_later(connection)
            raise StateError("the client was closed while it connected", hint="Make calls inside of its block")
        return connection

    def shares(self, group: Group) -> bool:
        """Whether the next connection of *group* will take many calls at once."""
        return self._transport.shares(group.address, group.lane)

    def end_of_life(self, now: float) -> float:
        """When a connection that was made *now* takes no more calls."""
        most = self.options.max_age
        return inf if most is None else now + most * (1 - _AGE_JITTER * self._chance.random())

    def has_room(self, group: Group) -> bool:
        """Whether *group* may open another connection. If not, it will be fed when there is room for one."""
        if self.total < self.options.open_in_all:
            return True
        self.starving[group] = None
        if self.room_coming <= sum(each.waiting for each in self.starving):
            self._make_room()
        return False

    def needs_room(self) -> bool:
        """Whether an idle connection should go, since calls wait to connect to other instances."""
        waiting = 0
        for group in list(self.starving):
            waiting += group.waiting
            if waiting > self.room_coming:
                return True
            if not group.waiting:
                del self.starving[group]
        return False

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest, of all whose instance nobody waits for."""
        oldest = [group.idle_since()[0] + (group,) for group in self._all() if not group.waiting and group.idle()]
        if oldest:
            _, connection, group = min(oldest, key=lambda one: one[0])
            group.retire(connection, "room")

    def feed(self) -> None:
        """There may be room for a connection: let one call try that waits for it."""
        while self.starving:
            group = next(iter(self.starving))
            del self.starving[group]
            if group.wake():
                if group.waiting > 1:  # the one that was woken is among them
                    self.starving[group] = None
                return

    def may_keep_more(self) -> bool:
        """Whether connections may be opened ahead of use: not over the bounds, which would only close them again."""
        if self.closed or self.total >= self.options.open_in_all:
            return False
        most = self.options.idle_in_all
        return self.total < most or self._idle() < most

    def close_later(self, connection: Connection, grace: float = _GRACE) -> None:
        """Close *connection* in the background, after its calls."""
        task = asyncio.get_running_loop().create_task(connection.aclose(grace))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run *work* in the background until the client closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget_gone(self, group: Group) -> None:
        """A connection of a group whose instance is no more has ended."""
        if not group.members and not group.connecting and group in self._gone:
            self._gone.discard(group)
            self._past.add(group.counters())

    # -- keeping --------------------------------------------------------------------------------------------------

    def drop(self, address: str) -> None:
        """The instance is gone: close its connections once their calls have ended."""
        for groups in self._groups.values():
            group = groups.pop(address, None)
            if group is not None:
                self._gone.add(group)
                group.drop()
                self.forget_gone(group)

    def _sweep_later(self) -> None:
        pause = self.options.idle_timeout / 4
        if self.options.max_age is not None:
            pause = min(pause, self.options.max_age / 20)
        self._sweeper = asyncio.get_running_loop().call_later(max(pause, _LEAST_SWEEP), self._sweep)

    def _sweep(self) -> None:
        now = monotonic()
        for groups in self._groups.values():
            for address, group in list(groups.items()):
                group.sweep(now)
                if group.unused:
                    del groups[address]
                    self._past.add(group.counters())
        surplus = self._idle() - self.options.idle_in_all
        if surplus > 0:
            self._drop_idle(surplus)
        self._sweep_later()

    def _drop_idle(self, count: int) -> None:
        idle = [(*one, group) for group in self._all() for one in group.idle_since()]
        for _, connection, group in sorted(idle, key=lambda one: one[0])[:count]:
            group.retire(connection, "surplus in all")

    def _idle(self) -> int:
        return sum(len(group.idle_since()) for group in self._all())

    def _all(self) -> Iterator[Group]:
        for groups in self._groups.values():
            yield from groups.values()

    # -- telling --------------------------------------------------------------------------------------------------

    def connections(self) -> dict[str, int]:
        """Open connections by address."""
        counts: dict[str, int] = {}
        for group in self._all():
            counts[group.address] = counts.get(group.address, 0) + len(group.members)
        return counts

    def counters(self) -> PoolCounters:
        """What has happened to connections, since the client started."""
        counters = PoolCounters()
        counters.add(self._past)
        for group in (*self._all(), *self._gone):
            counters.add(group.counters())
        return counters

    def report(self) -> Sequence[GroupReport]:
        """Every connection with its state, by instance; last those to instances that are gone."""
        now = monotonic()
        return [group.report(now) for group in (*self._all(), *self._gone)]

    async def aclose(self, grace: float) -> None:
        """Close every connection after its calls, or after *grace* seconds."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._tasks:
            task.cancel()
        for group in (*self._all(), *self._gone):
            group.close(grace)
        if self._closings or self._tasks:
            await asyncio.gather(*self._closings, *self._tasks, return_exceptions=True)
        for group in (*self._all(), *self._gone):
            self._past.add(group.counters())
        self._groups.clear()
        self._gone.clear()
