"""Whatever comes in whatever order: calls in flight are never negative nor let over the limit, and low goes first."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ApplicationError, RpcTimeoutError
from elanus.priority import Priority
from elanus_limiter_adaptive import AdaptiveLimiter

from .arrivals import arrival

if TYPE_CHECKING:
    from elanus.call import Call

ERRORS = [None, None, None, RpcTimeoutError(1.0), ApplicationError(6, "biz error"), CancelledError()]

steps = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "end"]),
        st.sampled_from(list(Priority)),
        st.floats(0.0, 0.4),
        st.integers(0, 1_000),
    ),
    max_size=250,
)


@pytest.mark.parametrize("algorithm", ["gradient", "aimd"])
@given(least=st.integers(1, 6), more=st.integers(0, 20), steps=steps)
def test_in_flight_is_never_negative_nor_let_over_the_limit(
    algorithm: str, least: int, more: int, steps: list[tuple[str, Priority, float, int]]
) -> None:
    limiter = AdaptiveLimiter(
        algorithm=algorithm,
        min_limit=least,
        initial_limit=least + more,
        max_limit=least + 2 * more,
        window=0.01,
        window_calls=1,
        probe_interval=1.0,
    )
    running: list[Call] = []
    now = 1_000.0
    for what, priority, pause, which in steps:
        now += pause
        state = limiter.state
        assert least <= state.limit <= least + 2 * more
        assert state.in_flight == len(running)
        rooms = [state.rooms[each.name.lower()] for each in Priority]
        assert rooms == sorted(rooms), "one that matters more never has less room"
        assert rooms[0] >= 1
        assert rooms[-1] <= state.limit
        if what == "call":
            call = arrival(now, priority)
            refusal = limiter.acquire(call, now)
            assert (refusal is None) == (len(running) < rooms[priority])
            if refusal is None:
                running.append(call)
            else:
                assert refusal.limit == f"concurrency[{priority.name.lower()}]"
        elif running:
            call = running.pop(which % len(running))
            limiter.release(call, ERRORS[which % len(ERRORS)], now - call.timeline[0][1], now)
    for call in running:
        limiter.release(call, None, 1.0, now + 1.0)
    assert limiter.state.in_flight == 0


@given(arrivals=st.lists(st.sampled_from(list(Priority)), min_size=30, max_size=120))
def test_what_matters_less_is_refused_first(arrivals: list[Priority]) -> None:
    limiter = AdaptiveLimiter(initial_limit=20)
    refused: set[Priority] = set()
    for priority in arrivals:
        refusal = limiter.acquire(arrival(1.0, priority), 1.0)
        if refusal is None:
            assert not any(each >= priority for each in refused), "room for it after one that matters as much had none"
        else:
            refused.add(priority)
    passed = limiter.state.in_flight
    assert passed <= 20


def test_the_room_that_is_left_to_others() -> None:
    limiter = AdaptiveLimiter(initial_limit=100, min_limit=1)
    assert limiter.state.rooms == {"low": 80, "normal": 90, "high": 95, "critical": 100}
    assert AdaptiveLimiter(initial_limit=10).state.rooms == {"low": 7, "normal": 8, "high": 9, "critical": 10}
    one = AdaptiveLimiter(initial_limit=1, min_limit=1, max_limit=1)
    assert set(one.state.rooms.values()) == {1}, "a quiet server takes calls of every priority"
