"""The timer wheel: never early, hardly late, one timer, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from elanus import wheel as wheel_module
from elanus.wheel import TimerWheel, wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeCall:
    expired = False


class FakeTask:
    def __init__(self, on_cancel: Callable[[], None] = lambda: None) -> None:
        self.cancelled_at: float | None = None
        self.on_cancel = on_cancel

    def cancel(self) -> None:
        self.on_cancel()


class FakeLoop:
    """As much of a loop as the wheel needs; *early* seconds too soon wakes it, as a coarse timer may."""

    def __init__(self, now: float = 1000.0, early: float = 0.0) -> None:
        self.now = now
        self.early = early
        self.timers: list[tuple[float, int, FakeHandle]] = []
        self.wake_ups = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], *, context: object) -> FakeHandle:
        handle = FakeHandle(callback)
        heapq.heappush(self.timers, (when, id(handle), handle))
        return handle

    @property
    def live_timers(self) -> int:
        return sum(not handle.cancelled for _, _, handle in self.timers)

    def run_until(self, instant: float) -> None:
        while self.timers and self.timers[0][0] - self.early <= instant:
            when, _, handle = heapq.heappop(self.timers)
            if not handle.cancelled:
                self.now = max(self.now + self.early / 10, when - self.early)
                self.wake_ups += 1
                handle.callback()
        self.now = max(self.now, instant)


class FakeHandle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def make(loop: FakeLoop) -> Any:  # the fakes are no Call, no Task and no loop to a type checker
    return TimerWheel(cast("asyncio.AbstractEventLoop", loop))


def test_expiry_marks_the_call_and_cancels_its_task() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    call = FakeCall()
    cancelled: list[bool] = []
    wheel.add(call, FakeTask(lambda: cancelled.append(call.expired)), 1000.25)
    loop.run_until(1000.249)
    assert not call.expired
    loop.run_until(1000.30)
    assert call.expired
    assert cancelled == [True], "the mark must be there before the cancellation, and the task cancelled once"
    assert len(wheel) == 0
    assert not wheel.armed


def test_a_removed_entry_never_expires() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    call, stays = FakeCall(), FakeCall()
    wheel.add(call, FakeTask(lambda: pytest.fail("cancelled")), 1000.25)
    wheel.add(stays, FakeTask(), 1000.25)
    wheel.remove(call, 1000.25)
    loop.run_until(1001.0)
    assert not call.expired
    assert stays.expired


def test_removing_after_expiry_does_nothing() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    call = FakeCall()
    wheel.add(call, FakeTask(), 1000.01)
    loop.run_until(1001.0)
    wheel.remove(call, 1000.01)
    assert call.expired


def test_a_deadline_in_the_past_expires_at_the_next_turn() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    call = FakeCall()
    wheel.add(call, FakeTask(), 990.0)
    assert not call.expired, "the caller has not awaited anything yet"
    loop.run_until(1000.0)
    assert call.expired


def test_an_earlier_deadline_moves_the_timer() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    late, soon = FakeCall(), FakeCall()
    wheel.add(late, FakeTask(), 1060.0)
    wheel.add(soon, FakeTask(), 1000.1)
    assert loop.live_timers == 1
    loop.run_until(1000.2)
    assert soon.expired
    assert not late.expired
    loop.run_until(1060.1)
    assert late.expired


def test_an_idle_wheel_is_not_armed() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    assert not wheel.armed
    assert loop.live_timers == 0
    call = FakeCall()
    wheel.add(call, FakeTask(), 1001.0)
    assert wheel.armed
    wheel.remove(call, 1001.0)
    loop.run_until(1002.0)
    assert not wheel.armed
    assert loop.live_timers == 0


def test_finished_calls_wake_the_loop_once_per_timeout_not_once_per_bucket() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    for number in range(10_000):  # 10 s of calls, each with a timeout of 1 s and done at once
        loop.run_until(1000.0 + number / 1000)
        call = FakeCall()
        wheel.add(call, FakeTask(), loop.now + 1.0)
        wheel.remove(call, loop.now + 1.0)
    assert loop.wake_ups <= 12


def test_a_coarse_timer_that_wakes_early_expires_nothing_early() -> None:
    loop = FakeLoop(early=0.004)
    wheel = make(loop)
    call = FakeCall()
    at = 1000.2501
    wheel.add(call, FakeTask(lambda: expired_at.append(loop.now)), at)
    expired_at: list[float] = []
    loop.run_until(1001.0)
    assert len(expired_at) == 1
    assert expired_at[0] >= at


def test_empty_buckets_do_not_pile_up() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    lasting = FakeCall()
    wheel.add(lasting, FakeTask(), 5000.0)
    for number in range(20_000):
        call = FakeCall()
        at = 2000.0 + number * 0.05
        wheel.add(call, FakeTask(), at)
        wheel.remove(call, at)
    assert len(wheel._buckets) <= 600
    assert sorted(wheel._keys) == sorted(wheel._buckets)
    loop.run_until(5000.1)
    assert lasting.expired


def test_sweeping_keeps_every_entry() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    calls = [FakeCall() for _ in range(5_000)]
    for number, call in enumerate(calls):
        wheel.add(call, FakeTask(), 1001.0 + number * 0.01)
    assert len(wheel) == 5_000
    loop.run_until(1052.0)
    assert all(call.expired for call in calls)


def test_close_forgets_entries_and_leaves_their_tasks_alone() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    call = FakeCall()
    wheel.add(call, FakeTask(lambda: pytest.fail("cancelled")), 1000.5)
    wheel.close()
    assert len(wheel) == 0
    assert loop.live_timers == 0
    loop.run_until(1002.0)
    assert not call.expired
    again = FakeCall()
    wheel.add(again, FakeTask(), 1003.0)
    loop.run_until(1003.1)
    assert again.expired, "a closed wheel may be used again"


def test_a_task_that_removes_entries_while_it_is_cancelled() -> None:
    loop = FakeLoop()
    wheel = make(loop)
    one, two = FakeCall(), FakeCall()
    wheel.add(one, FakeTask(lambda: wheel.remove(two, 1000.001)), 1000.001)
    wheel.add(two, FakeTask(lambda: wheel.remove(one, 1000.001)), 1000.001)
    loop.run_until(1000.1)
    assert one.expired
    assert two.expired


step = st.one_of(
    st.tuples(st.just("add"), st.floats(-0.1, 20.0)),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.tuples(st.just("wait"), st.floats(0.0, 3.0)),
)


@given(st.lists(step, max_size=60), st.floats(0.0, 1e6), st.sampled_from([0.0, 0.0005, 0.004]))
def test_against_a_plain_list_of_deadlines(steps: list[tuple[str, Any]], start: float, early: float) -> None:
    loop = FakeLoop(start, early)
    wheel = make(loop)
    live: dict[int, tuple[FakeCall, float]] = {}
    added: dict[int, float] = {}
    expired: dict[int, float] = {}

    def note(number: int) -> Callable[[], None]:
        return lambda: expired.__setitem__(number, loop.now)

    for number, (what, value) in enumerate(steps):
        if what == "add":
            call, at = FakeCall(), loop.now + value
            wheel.add(call, FakeTask(note(number)), at)
            live[number] = call, at
            added[number] = loop.now
        elif what == "remove" and value in live and value not in expired:
            wheel.remove(*live.pop(value))
        elif what == "wait":
            loop.run_until(loop.now + value)
    loop.run_until(loop.now + 100.0)
    assert expired.keys() == live.keys()
    assert not wheel.armed
    for number, (call, at) in live.items():
        assert call.expired
        assert expired[number] >= at
        assert expired[number] <= max(at, added[number]) + 0.012  # what is added too late expires at once


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_in_a_real_loop_tasks_are_cancelled_and_never_early(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        wheel = cast("Any", wheel_of(asyncio.get_running_loop()))
        early: list[float] = []

        async def attempt(timeout: float) -> None:
            call, at = FakeCall(), monotonic() + timeout
            wheel.add(call, asyncio.current_task(), at)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                assert call.expired
                if monotonic() < at:
                    early.append(at - monotonic())
            else:
                pytest.fail("nothing cancelled the attempt")

        await asyncio.gather(*(attempt(0.0003 * number) for number in range(300)))
        assert early == []
        assert len(wheel) == 0
        assert not wheel.armed

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_one_wheel_per_loop_which_goes_with_its_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loops = [new_loop(), new_loop()]
    wheels = [wheel_of(loop) for loop in loops]
    assert wheels[0] is not wheels[1]
    assert wheel_of(loops[0]) is wheels[0]
    cast("Any", wheels[0]).add(FakeCall(), FakeTask(), loops[0].time() + 60)
    assert wheels[0].armed, "a wheel that is still armed must not keep its loop either"
    keys, gone = {id(loop) for loop in loops}, [weakref.ref(loop) for loop in loops]
    assert keys <= wheel_module._wheels.keys()
    for loop in loops:
        loop.close()
    del loop, loops, wheels
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert not keys & wheel_module._wheels.keys()


def test_the_timer_does_not_hold_the_context_of_the_call_that_set_it() -> None:
    class Value:
        pass

    variable: contextvars.ContextVar[Value] = contextvars.ContextVar("variable")

    async def scenario() -> None:
        wheel = cast("Any", TimerWheel(asyncio.get_running_loop()))

        async def attempt() -> weakref.ref[Value]:
            value = Value()
            variable.set(value)
            call, at = FakeCall(), monotonic() + 60
            wheel.add(call, asyncio.current_task(), at)
            wheel.remove(call, at)
            return weakref.ref(value)

        held = await asyncio.create_task(attempt())
        await asyncio.sleep(0)  # the loop itself holds a finished task for the turn in which it is awaited
        gc.collect()
        assert held() is None
        wheel.close()

    asyncio.run(scenario())
