"""The window and the budget, against models that keep everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elanus.contracts.retrier import Retry
from elanus.errors import RpcTimeoutError
from elanus.testing import make_call
from elanus_retrier_budget import Budget, BudgetRetrier, FailurePolicy, FixedBackOff
from elanus_retrier_budget.budget import Purse
from elanus_retrier_budget.window import Window

steps = st.lists(st.tuples(st.integers(0, 4_000), st.booleans()), max_size=120)


@given(st.integers(0, 10**9), steps)
def test_the_window_counts_the_last_hundred_buckets(start: int, happened: list[tuple[int, bool]]) -> None:
    window = Window()
    counted: list[tuple[int, bool]] = []
    now_ms = start
    for passed_ms, bad in happened:
        now_ms += passed_ms
        now = now_ms / 1000
        window.add(now, bad=bad)
        counted.append((int(now * 10), bad))
        inside = [bad for tick, bad in counted if tick > int(now * 10) - 100]
        assert (window.good, window.bad) == (inside.count(False), inside.count(True))
        assert window.total == len(inside)
        assert window.rate == (inside.count(True) / len(inside))


def test_a_window_starts_empty_and_a_step_back_is_no_step() -> None:
    window = Window()
    window.advance(5.0)
    assert (window.total, window.rate) == (0, 0.0)
    window.add(50.0, bad=True)
    window.add(49.0)
    assert (window.good, window.bad) == (1, 1)


@given(st.floats(0, 1), st.floats(0, 5), st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 4)), max_size=80))
def test_over_any_ten_seconds_there_are_no_more_retries_than_the_budget_says(
    share: float, least: float, happened: list[tuple[int, int]]
) -> None:
    purse = Purse(Budget(share, least))
    calls: list[int] = []
    drawn: list[int] = []
    now_ms = 1_000_000
    for passed_ms, wanted in happened:
        now_ms += passed_ms
        now = now_ms / 1000
        purse.calls.add(now)
        calls.append(int(now * 10))
        drawn += [int(now * 10) for _ in range(wanted) if purse.draw(now)]
        last = int(now * 10) - 100
        if drawn and drawn[-1] == int(now * 10):  # what was granted stays granted when calls leave the window
            recent = sum(tick > last for tick in drawn)
            assert recent <= sum(tick > last for tick in calls) * share + least * 10


def test_it_grants_as_many_as_it_says() -> None:
    purse = Purse(Budget(share=0.2, min_per_second=0))
    granted = 0
    for number in range(1_000):
        purse.calls.add(100 + number / 1_000)
        granted += purse.draw(100 + number / 1_000)
    assert granted == 200
    purse = Purse(Budget(share=0, min_per_second=3))
    assert sum(purse.draw(100.0) for _ in range(100)) == 30


def test_calls_that_pause_together_are_not_granted_the_same_attempt() -> None:
    # A hundred calls of as many methods time out in one instant, so that no breaker has seen enough to judge.
    retrier = BudgetRetrier(FailurePolicy(back_off=FixedBackOff(1.0)), budget=Budget(0.1, 0))
    calls = [make_call(f"method{number}") for number in range(100)]
    plans = [retrier.plan(call, 100.0) for call in calls]
    granted = 0
    for call, plan in zip(calls, plans, strict=True):
        assert plan is not None
        plan.started(call, 100.0)
    for call, plan in zip(calls, plans, strict=True):
        assert plan is not None
        granted += isinstance(plan.ended(call, None, RpcTimeoutError(1.0), 0, 101.0), Retry)
    assert granted == 10
