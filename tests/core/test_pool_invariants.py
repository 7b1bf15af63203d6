"""What holds for a pool whatever happens to it: bounds are kept, no call is cut, nobody waits for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.errors import ConnectFailedError

from .pooled import FakeTransport, call, make, virtual

if TYPE_CHECKING:
    from elanus.net.group import Group
    from elanus.net.pool import Pool

ADDRESSES = ("a:1", "b:2", "c:3")

SHAPES = st.fixed_dictionaries(
    {
        "capacity": st.sampled_from([1, 1, 2, 5, 100]),
        "delay": st.sampled_from([0.0, 0.05]),
        "known": st.booleans(),
        "keep": st.sampled_from([True, True, True, False]),
        "idle": st.integers(2, 4),
        "idle_min": st.integers(0, 2),
        "idle_in_all": st.integers(0, 6),
        "idle_timeout": st.sampled_from([1.0, 20.0]),
        "max_age": st.sampled_from([None, 3.0]),
        "open": st.sampled_from([1, 2, 3, 4, 12]),
        "open_in_all": st.sampled_from([1, 2, 3, 4, 6, 12]),
        "connections": st.integers(1, 3),
    }
)
_PLACES = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(ADDRESSES), st.sampled_from([0.0, 0.1, 0.5, 4.0])),
    st.tuples(st.just("burst"), st.sampled_from(ADDRESSES), st.integers(2, 15)),
    st.tuples(st.just("cancel"), _PLACES),
    st.tuples(st.just("lose"), _PLACES),
    st.tuples(st.just("drain"), _PLACES),
    st.tuples(st.just("drop"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("refuse"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.2, 1.0, 5.0, 30.0])),
)


@dataclass
class World:
    pool: Pool
    transport: FakeTransport
    calls: list[asyncio.Task[Any]] = field(default_factory=list)

    def start(self, address: str, seconds: float) -> None:
        self.calls.append(asyncio.create_task(call(self.pool, seconds, address)))

    async def step(self, kind: str, *values: Any) -> None:
        if kind == "call":
            self.start(*values)
        elif kind == "burst":
            for _ in range(values[1]):
                self.start(values[0], 0.3)
        elif kind == "cancel":
            running = [task for task in self.calls if not task.done()]
            if running:
                running[values[0] % len(running)].cancel()
        elif kind in ("lose", "drain"):
            alive = [connection for connection in self.transport.made if not connection.closed.done()]
            if alive:
                connection = alive[values[0] % len(alive)]
                (connection.lose if kind == "lose" else connection.drain)()
        elif kind == "drop":
            self.pool.drop(values[0])
        elif kind == "refuse":
            self.transport.error = ConnectFailedError("refused") if values[0] else None
        elif kind == "wait":
            await asyncio.sleep(values[0])

    def groups(self) -> list[Group]:
        return [*self.pool._all(), *self.pool._gone]

    def check(self) -> None:
        pool = self.pool
        groups = self.groups()
        assert pool.total == sum(len(group.members) + group.connecting for group in groups) <= pool.options.open_in_all
        for group in groups:
            assert group.gone or len(group.members) + group.connecting <= pool.options.open
            for connection in group._ready:
                member = group.members[connection]
                assert not member.leaving, "it waits for calls and is about to end"
                assert not group.gone
            assert not any(member.closing and connection.busy for connection, member in group.members.items())
        assert not any(connection.cut for connection in self.transport.made)

    def check_quiet(self) -> None:
        """In a moment in which nothing is about to happen, whoever waits has a reason to."""
        for group in self.groups():
            if group.waiting:
                assert not any(connection.free > 0 for connection in group._ready)
                full = self.pool.total >= self.pool.options.open_in_all
                # Who makes a connection wakes the next one when it is there, or failed.
                assert full or group.connecting or not group._within_bounds()
                if full and group._within_bounds():
                    others = [other for other in self.groups() if not other.waiting and other.idle()]
                    assert not others, "an idle connection could make room"

    async def quiet(self) -> None:
        for turn in range(60):
            await asyncio.sleep(0)
            if turn < 3:
                self.check()
        self.check()

    async def end(self) -> None:
        """Everything comes to an end, and adds up."""
        self.transport.error = None
        await asyncio.sleep(60)
        assert all(task.done() for task in self.calls), "a call waits for ever"
        for task in self.calls:
            error = None if task.cancelled() else task.exception()
            assert error is None or isinstance(error, ConnectFailedError)
        self.check()
        assert not self.pool._gone, "every connection of an instance that is gone has ended"
        idle = sum(len(group.members) for group in self.groups())
        assert idle <= max(self.pool.options.idle_in_all, len(ADDRESSES) * self.pool.options.idle)
        await self.pool.aclose(0)
        counters = self.pool.counters()
        assert counters.connected == len(self.transport.made) == sum(counters.evicted.values()) + counters.lost
        assert all(connection.closed.done() for connection in self.transport.made)
        assert self.pool.total == 0


@settings(max_examples=100, deadline=None)
@given(SHAPES, st.integers(0, 30).flatmap(lambda steps: st.lists(STEPS, min_size=steps, max_size=steps)))
def test_whatever_happens(shape: dict[str, Any], steps: list[Any]) -> None:
    async def scenario() -> None:
        pool, transport = make(shape.pop("capacity"), shape.pop("delay"), **shape)
        world = World(pool, transport)
        for step in steps:
            await world.step(*step)
            await world.quiet()
            world.check_quiet()
        await world.end()

    virtual(scenario())
