"""Connections of a client, per instance and lane: taken without waiting where one is free, made where none is."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from elanus.call import Event
from elanus.errors import ConnectFailedError, ElanusError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.transport import Connection, LinkOptions, Transport
    from elanus.options import PoolOptions

__all__ = ["Group", "Pool"]

#: Connections that are being made to one instance at once, at the least; as many again as are open may be added.
_CONNECTING = 8


class Group:
    """The connections to one instance on one lane.

    A connection waits on ``_ready`` while it can take a call. One that takes a single call at a time leaves when it is
    taken and comes back when released; one that is multiplexed stays until it is full.
    """

    __slots__ = ("_connecting", "_pool", "_ready", "_waiters", "address", "lane", "members")

    def __init__(self, pool: Pool, address: str, lane: str) -> None:
        self._pool = pool
        self.address = address
        self.lane = lane
        #: Open connections, each with the time at which a call on it last ended.
        self.members: dict[Connection, float] = {}
        self._ready: dict[Connection, None] = {}  # a set that keeps its order: the last one is used first
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._connecting = 0

    def take(self) -> Connection | None:
        """A connection that can take a call now, the one used last; ``None`` when there is none."""
        ready = self._ready
        while ready:
            connection = next(reversed(ready))
            free = connection.free
            if free > 1:
                return connection
            del ready[connection]
            if free == 1:
                return connection
        return None

    def release(self, connection: Connection) -> None:
        """A call on *connection* has ended. Exactly once for each one taken or acquired."""
        ready = self._ready
        if connection in ready:
            self.members[connection] = monotonic()
        elif connection in self.members:
            self._come_back(connection)

    def _come_back(self, connection: Connection) -> None:
        options = self._pool.options
        if not options.keep:
            self._pool.close_later(connection)
            return
        self.members[connection] = monotonic()
        if connection.free > 0:
            self._ready[connection] = None
            if len(self._ready) > options.idle:
                self._drop_oldest()
            self.wake()
        elif connection.busy == 0:
            self._pool.close_later(connection)  # it takes no more calls, and the last one has ended

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._ready))
        if oldest.busy == 0:
            del self._ready[oldest]
            self._pool.close_later(oldest)

    def wake(self) -> None:
        """Let one call that waits try again."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def acquire(self, connect_timeout: float, mark: Callable[[str], None] | None = None) -> Connection:
        """A connection that can take a call, made if need be.

        :param mark: told when this call begins to connect, instead of waiting for a connection of another's.
        :raises ConnectFailedError: none could be made within *connect_timeout* seconds.
        """
        while True:
            connection = self.take()
            if connection is not None:
                if self._waiters and self._ready:
                    self.wake()  # one wake-up a connection is too few where a connection takes many calls
                return connection
            if self._may_connect():
                if mark is not None:
                    mark(Event.CONNECTING)
                return await self._connect(connect_timeout)
            await self._wait()

    async def add(self, connect_timeout: float) -> None:
        """Make one more connection ahead of use.

        :raises ConnectFailedError: it could not be made within *connect_timeout* seconds.
        """
        self.release(await self._connect(connect_timeout))

    def _may_connect(self) -> bool:
        opened = len(self.members)
        if opened + self._connecting >= self._pool.options.open:
            return False
        return self._connecting < max(_CONNECTING, opened)

    async def _connect(self, connect_timeout: float) -> Connection:
        self._connecting += 1
        try:
            connection = await self._pool.connect(self.address, self.lane, connect_timeout)
        except ElanusError as error:
            self._fail_waiters(error)
            raise
        finally:
            self._connecting -= 1
            self.wake()
        self.members[connection] = monotonic()
        connection.closed.add_done_callback(lambda _: self._forget(connection))
        if connection.free > 1 and self._pool.options.keep:
            self._ready[connection] = None
        return connection

    def _fail_waiters(self, error: ElanusError) -> None:
        """Those who wait for a connection to the same dead instance need not find out one after another."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                again = ConnectFailedError(error.message, hint=error.hint, instance=self.address)
                again.__cause__ = error.__cause__
                waiter.set_exception(again)

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.wake()  # it was woken and cannot use it
            raise

    def _forget(self, connection: Connection) -> None:
        self.members.pop(connection, None)
        self._ready.pop(connection, None)
        self.wake()

    def expired(self, before: float) -> list[Connection]:
        """Take the connections out that have been idle since *before*."""
        idle = [connection for connection in self._ready if connection.busy == 0 and self.members[connection] < before]
        for connection in idle:
            del self._ready[connection]
        return idle


class Pool:
    """All connections of one client."""

    def __init__(self, transport: Transport, link: LinkOptions, options: PoolOptions) -> None:
        self._transport = transport
        self._link = link
        self.options = options
        self._groups: dict[str, dict[str, Group]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        #: Connections made, and those that could not be made.
        self.connected = 0
        self.failed = 0

    def lane(self, lane: str) -> dict[str, Group]:
        """The groups of one lane, by address; look there first, then :meth:`group`."""
        return self._groups.setdefault(lane, {})

    def group(self, address: str, lane: str) -> Group:
        """The group of an instance, made at its first call."""
        groups = self.lane(lane)
        group = groups.get(address)
        if group is None:
            group = groups[address] = Group(self, address, lane)
            if self._sweeper is None and self.options.keep:
                self._sweep_later()
        return group

    async def connect(self, address: str, lane: str, connect_timeout: float) -> Connection:
        """Open a connection; for groups."""
        if self._closed:
            raise StateError("the client is closed", hint="Make calls inside of its `async with` block")
        try:
            async with asyncio.timeout(connect_timeout):
                connection = await self._transport.connect(address, lane, self._link)
        except TimeoutError as error:
            self.failed += 1
            raise ConnectFailedError(f"no connection within {connect_timeout:g} s", instance=address) from error
        except ElanusError:
            self.failed += 1
            raise
        self.connected += 1
        if self._closed:
            self.close_later(connection)
            raise StateError("the client was closed while it connected", hint="Make calls inside of its block")
        return connection

    def drop(self, address: str) -> None:
        """The instance is gone: close its connections once their calls have ended."""
        for groups in self._groups.values():
            group = groups.pop(address, None)
            for connection in list(group.members) if group is not None else ():
                self.close_later(connection)

    def close_later(self, connection: Connection, grace: float = 60.0) -> None:
        """Close *connection* in the background, after its calls."""
        task = asyncio.get_running_loop().create_task(connection.aclose(grace))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _sweep_later(self) -> None:
        delay = max(self.options.idle_timeout / 4, 0.05)
        self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        before = monotonic() - self.options.idle_timeout
        idle = 0
        for groups in self._groups.values():
            for address, group in list(groups.items()):
                for connection in group.expired(before):
                    self.close_later(connection)
                idle += len(group.members)
                if not group.members and not group._connecting and not group._waiters:
                    del groups[address]
        if idle > self.options.idle_in_all:
            self._drop_idle(idle - self.options.idle_in_all)
        self._sweep_later()

    def _drop_idle(self, count: int) -> None:
        ready = [
            (since, connection)
            for groups in self._groups.values()
            for group in groups.values()
            for connection, since in group.members.items()
            if connection.busy == 0
        ]
        for _, connection in sorted(ready, key=lambda item: item[0])[:count]:
            self.close_later(connection)

    def connections(self) -> dict[str, int]:
        """Open connections by address."""
        counts: dict[str, int] = {}
        for groups in self._groups.values():
            for address, group in groups.items():
                counts[address] = counts.get(address, 0) + len(group.members)
        return counts

    async def aclose(self, grace: float) -> None:
        """Close every connection after its calls, or after *grace* seconds."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        members = [c for groups in self._groups.values() for group in groups.values() for c in group.members]
        for connection in members:
            self.close_later(connection, grace)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        self._groups.clear()
