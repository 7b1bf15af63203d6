"""The connections of a client to one instance: taken, given back, made, and closed when nobody wants them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from elanus.call import Event
from elanus.errors import ConnectFailedError, ElanusError, StateError
from elanus.net.pool_report import ConnectionReport, GroupReport, PoolCounters

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.transport import Connection
    from elanus.net.pool import Pool

__all__ = ["Group", "Member"]

#: Connections that are being made to one instance at once, at the least; as many again as are open may be added.
_CONNECTING = 8
#: Seconds between two rounds of opening what should be open: at first, and at most, when the instance refuses.
_REFILL_PAUSE, _REFILL_PAUSE_MOST = 1.0, 30.0


class Member:
    """What the pool knows of one open connection."""

    __slots__ = ("closing", "ends", "leaving", "made", "since")

    def __init__(self, now: float, ends: float) -> None:
        self.made = now
        #: When a call on it last ended.
        self.since = now
        #: When it takes no more calls because of its age.
        self.ends = ends
        #: Why it takes no more calls, empty while it does; and whether it is being closed.
        self.leaving = ""
        self.closing = False


class Group:
    """The connections to one instance on one lane.

    A connection waits on ``_ready`` while it can take a call. One that takes a single call at a time leaves when it is
    taken and comes back when released; one that is multiplexed stays until it is full. One that is *leaving* is never
    on ``_ready`` again; it is closed when its last call has ended, so that the pool cuts no call.
    """

    __slots__ = (
        "_connect_timeout",
        "_counters",
        "_filling",
        "_idle",
        "_in_turn",
        "_keeps",
        "_pause",
        "_pool",
        "_ready",
        "_refill",
        "_refill_from",
        "_reused",
        "_waiters",
        "_wanted",
        "address",
        "connecting",
        "gone",
        "lane",
        "members",
        "waiting",
    )

    def __init__(self, pool: Pool, address: str, lane: str) -> None:
        self._pool = pool
        self.address = address
        self.lane = lane
        #: Open connections.
        self.members: dict[Connection, Member] = {}
        self._reused = 0
        self._ready: dict[Connection, None] = {}  # a set that keeps its order: the last one is used first
        self._waiters: deque[asyncio.Future[None]] = deque()
        #: Connections that are being made.
        self.connecting = 0
        self._counters = PoolCounters()
        #: The instance is no more: nothing is kept for another call.
        self.gone = False
        #: Calls that wait for a connection.
        self.waiting = 0
        options = pool.options
        self._keeps = options.keep
        self._in_turn = options.connections > 1
        self._idle = max(options.idle, options.connections if self._in_turn else 0)
        self._connect_timeout = 1.0
        self._wanted = options.idle_min if options.keep else 0
        self._refill: asyncio.TimerHandle | None = None
        self._filling = False
        self._refill_from = 0.0
        self._pause = _REFILL_PAUSE

    # -- taking and giving back -----------------------------------------------------------------------------------

    def take(self) -> Connection | None:
        """A connection that can take a call now, the one used last; ``None`` when there is none."""
        ready = self._ready
        while ready:
            connection = next(reversed(ready))
            free = connection.free
            if free > 1:
                self._reused += 1
                return connection if not self._in_turn else self._next_in_turn()
            del ready[connection]
            if free == 1:
                self._reused += 1
                return connection
            self._end_if_unused(connection)
        return None

    def _end_if_unused(self, connection: Connection) -> None:
        """*connection* takes no calls: it is full, or its server does not want it any longer."""
        if connection.busy == 0 and not connection.closed.done():
            self.retire(connection, "spent")

    def _next_in_turn(self) -> Connection:
        """The one that has waited longest among those that share calls; at least one can take another."""
        ready = self._ready
        if len(self.members) < self._pool.options.connections:
            self._wanted = self._pool.options.connections
            self.refill_soon()
        while True:
            connection = next(iter(ready))
            del ready[connection]
            free = connection.free
            if free > 1:
                ready[connection] = None
            if free > 0:
                return connection
            self._end_if_unused(connection)

    def release(self, connection: Connection) -> None:
        """A call on *connection* has ended. Exactly once for each one taken or acquired."""
        member = self.members.get(connection)
        if member is None:
            return
        now = member.since = monotonic()
        if connection in self._ready:
            if self._pool.starving and connection.busy == 0:
                self._offer(connection)
        elif self._keeps and member.ends > now and connection.free > 0:
            self._ready[connection] = None
            if self._waiters:
                self.wake()
            if len(self._ready) > self._idle:
                self._drop_oldest()
            elif self._pool.starving and connection.busy == 0:
                self._offer(connection)
        else:
            self._end(connection, member)

    def _end(self, connection: Connection, member: Member) -> None:
        """A call on *connection* has ended, and it takes no other, at least not now."""
        if member.leaving:
            if connection.busy == 0:
                self._close(connection, member)
        elif not self._keeps:
            self.retire(connection, "gone" if self.gone else "used")
        elif connection.free > 0:
            self.retire(connection, "age")
        elif connection.busy == 0:
            self.retire(connection, "spent")  # it takes no more calls, and the last one has ended

    def _offer(self, connection: Connection) -> None:
        """Give up a connection that nobody uses for one to another instance, if calls wait for that."""
        if not self.waiting and self._pool.needs_room():
            self.retire(connection, "room")

    def _drop_oldest(self) -> None:
        oldest = self.idle()
        if oldest is not None:
            self.retire(oldest, "surplus")

    def retire(self, connection: Connection, reason: str) -> None:
        """Hand *connection* to no more calls, and close it once the last one has ended."""
        member = self.members[connection]
        self._ready.pop(connection, None)
        if not member.leaving:
            self._leave(member, reason)
        if connection.busy == 0:
            self._close(connection, member)

    def _close(self, connection: Connection, member: Member) -> None:
        if not member.closing:
            member.closing = True
            self._pool.close_later(connection)

    def _leave(self, member: Member, reason: str) -> None:
        member.leaving = reason
        member.ends = -inf
        self._counters.evicted[reason] = self._counters.evicted.get(reason, 0) + 1
        if reason == "room":
            self._pool.room_coming += 1

    # -- waiting and connecting -----------------------------------------------------------------------------------

    async def acquire(self, connect_timeout: float, mark: Callable[[str], None] | None = None) -> Connection:
        """A connection that can take a call, made if need be.

        :param mark: told when this call begins to connect, instead of waiting for a connection of another's.
        :raises ConnectFailedError: none could be made within *connect_timeout* seconds, or the instance is gone.
        """
        waited = False
        while True:
            if self.gone:
                self._pool.feed()  # it may have been woken to connect
                raise self._gone_error()
            connection = self.take()
            if connection is not None:
                if self._waiters and (self._ready or self._within_bounds()):
                    self.wake()  # one wake-up a connection is too few where a connection takes many calls
                elif waited:
                    self._pool.feed()  # it was woken to connect, maybe, and need not
                return connection
            if self._may_connect():
                if mark is not None:
                    mark(Event.CONNECTING)
                return await self._connect(connect_timeout)
            if not waited:
                waited = True
                self._counters.waited += 1
            elif self._pool.total < self._pool.options.open_in_all:
                self._pool.starving.pop(self, None)  # the bounds of this instance keep it from what it was woken for
                self._pool.feed()
            await self._wait()

    def wake(self) -> bool:
        """Let one call that waits try again; whether there is one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    async def add(self, connect_timeout: float) -> None:
        """Make one more connection ahead of use.

        :raises ConnectFailedError: it could not be made within *connect_timeout* seconds.
        """
        self.release(await self._connect(connect_timeout))

    def _may_connect(self) -> bool:
        if self._pool.closed:
            return True  # and learn there that it cannot
        return self._within_bounds() and self._pool.has_room(self)

    def _within_bounds(self) -> bool:
        """Whether the bounds of this instance allow for one more connection to be made now."""
        opened = len(self.members)
        if opened + self.connecting >= self._pool.options.open:
            return False
        # One that many calls can share is worth waiting for.
        least = 1 if self._pool.options.keep and self._pool.shares(self) else _CONNECTING
        return self.connecting < max(least, opened)

    async def _connect(self, connect_timeout: float) -> Connection:
        pool = self._pool
        self._connect_timeout = connect_timeout
        self.connecting += 1
        pool.total += 1
        try:
            connection = await pool.connect(self.address, self.lane, connect_timeout)
        except BaseException as error:
            self._not_connected(error)
            raise
        self.connecting -= 1
        self._counters.connected += 1
        now = monotonic()
        member = self.members[connection] = Member(now, pool.end_of_life(now))
        connection.closed.add_done_callback(lambda _: self._forget(connection))
        if connection.free > 1 and self._keeps:
            self._ready[connection] = None
        elif self.gone:
            self._leave(member, "gone")
        self._pause = _REFILL_PAUSE
        self._wake_or_feed()
        self.refill_soon()
        return connection

    def _not_connected(self, error: BaseException) -> None:
        self.connecting -= 1
        self._pool.total -= 1
        if isinstance(error, ElanusError) and not isinstance(error, StateError):
            self._counters.failed += 1
            self._fail_waiters(error)
        self._wake_or_feed()
        if self.gone:
            self._pool.forget_gone(self)

    def _wake_or_feed(self) -> None:
        if not self.wake():
            self._pool.feed()

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
        self.waiting += 1
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_or_feed()  # it was woken and cannot use it
            raise
        finally:
            self.waiting -= 1

    def _forget(self, connection: Connection) -> None:
        """*connection* is closed, whoever closed it."""
        member = self.members.pop(connection)
        self._ready.pop(connection, None)
        self._pool.total -= 1
        if not member.leaving:
            self._counters.lost += 1
        elif member.leaving == "room":
            self._pool.room_coming -= 1
        self._wake_or_feed()
        self.refill_soon()
        if self.gone:
            self._pool.forget_gone(self)

    # -- keeping --------------------------------------------------------------------------------------------------

    def idle(self) -> Connection | None:
        """The connection that no call has used for longest; ``None`` when every one is in use."""
        return next((connection for connection in self._ready if connection.busy == 0), None)

    def idle_since(self) -> list[tuple[float, Connection]]:
        """Every idle connection with the instant since when it is; the one that has been idle for longest first."""
        idle = [(self.members[each].since, each) for each in self._ready if each.busy == 0]
        return sorted(idle, key=lambda one: one[0])

    def sweep(self, now: float) -> None:
        """Retire what is too old, and what has been idle for too long beyond the least that is kept."""
        for connection in [each for each in self._ready if self.members[each].ends <= now]:
            self.retire(connection, "age")
        before = now - self._pool.options.idle_timeout
        spare = sum(not member.leaving for member in self.members.values()) - self._pool.options.idle_min
        for since, connection in self.idle_since()[: max(0, spare)]:
            if since < before:
                self.retire(connection, "idle")
        self.refill_soon()

    def drop(self) -> None:
        """The instance is no more: keep nothing for another call."""
        self.gone = True
        self._keeps = False
        self.stop_refilling()
        self._fail_waiters(self._gone_error())
        for connection in list(self.members):
            self.retire(connection, "gone")

    def _gone_error(self) -> ConnectFailedError:
        hint = "It was taken out of discovery while the call waited for a connection"
        return ConnectFailedError("the instance is gone", hint=hint, instance=self.address)

    def close(self, grace: float) -> None:
        """The client is closed: close each connection after its calls, or after *grace* seconds."""
        self.stop_refilling()
        self._ready.clear()
        for connection, member in self.members.items():
            if not member.leaving:
                self._leave(member, "closed")
            member.closing = True
            self._pool.close_later(connection, grace)
        while self.wake():
            pass

    @property
    def unused(self) -> bool:
        """Nothing is open, wanted, or being made."""
        return not (self.members or self.connecting or self._waiters or self._filling or self._refill is not None)

    def refill_soon(self) -> None:
        """See to it that as many connections as should be open will be: at once, or when the last round is over and
        the instance may be asked again.
        """
        if self._refill is None and not self._filling and self._missing() > 0:
            pause = max(0.0, self._refill_from - monotonic())
            self._refill = asyncio.get_running_loop().call_later(pause, self._start_refill)

    def _missing(self) -> int:
        if self.gone or self._pool.closed or not self._wanted:
            return 0
        staying = sum(not member.leaving for member in self.members.values())
        room = self._pool.options.open - len(self.members)
        return min(self._wanted - staying, room) - self.connecting

    def _start_refill(self) -> None:
        self._refill = None
        self._filling = True
        self._pool.spawn(self._fill())

    async def _fill(self) -> None:
        """One connection after another: a server that has just come back needs no storm."""
        try:
            for _ in range(self._missing()):  # no more, whatever becomes of them: the next round has to wait
                if self._missing() > 0 and self._pool.may_keep_more():
                    await self.add(self._connect_timeout)
        except ElanusError:
            pause = self._pause
            self._pause = min(2 * pause, _REFILL_PAUSE_MOST)
        else:
            pause = _REFILL_PAUSE
            self._wanted = self._pool.options.idle_min  # more only when calls ask for it again
        finally:
            self._filling = False
        self._refill_from = monotonic() + pause
        if self._pool.may_keep_more():
            self.refill_soon()

    def stop_refilling(self) -> None:
        """Open nothing ahead of use any more."""
        if self._refill is not None:
            self._refill.cancel()
            self._refill = None

    # -- telling --------------------------------------------------------------------------------------------------

    def report(self, now: float) -> GroupReport:
        """The state of every connection, and what has happened."""
        connections = [
            ConnectionReport(
                age=now - member.made,
                idle=now - member.since if connection in self._ready and connection.busy == 0 else None,
                busy=connection.busy,
                free=max(0, connection.free),
                left=None if member.ends in (inf, -inf) else member.ends - now,
                leaving=bool(member.leaving),
            )
            for connection, member in self.members.items()
        ]
        return GroupReport(self.address, self.lane, connections, self.connecting, self.waiting, self.counters())

    def counters(self) -> PoolCounters:
        """What has happened here, as of now."""
        return replace(self._counters, reused=self._reused, evicted=dict(self._counters.evicted))
