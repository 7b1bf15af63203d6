"""Calls a second: how many pass, from the first moment on, and for small limits as for large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.testing import make_call
from elanus_limiter_token import TokenLimiter

if TYPE_CHECKING:
    from elanus.call import Call


def passed(limiter: TokenLimiter, now: float, calls: int, **of: str) -> int:
    """How many of *calls* pass that come at *now* and are over at once."""
    count = 0
    for _ in range(calls):
        call = make_call(**of)  # type: ignore[arg-type]  # texts only
        if limiter.acquire(call, now) is None:
            limiter.release(call, None, 0.0, now)
            count += 1
    return count


@pytest.mark.parametrize(("qps", "at_once"), [(1000, 100), (100, 10), (50, 5), (10, 1), (5, 1), (1, 1), (0.1, 1)])
def test_a_bucket_starts_with_a_tenth_of_a_second_and_at_least_one(qps: float, at_once: int) -> None:
    assert passed(TokenLimiter(qps=qps), 100.0, 2_000) == at_once


@pytest.mark.parametrize("qps", [1, 2, 3, 5, 9, 10, 11, 99, 100, 1000])
def test_limits_of_every_size_let_their_number_pass(qps: int) -> None:
    """Kitex's refill of ``limit / 10`` whole tokens lets nothing pass below 10, and 10 of 19."""
    limiter = TokenLimiter(qps=qps)
    passed(limiter, 100.0, 2_000)
    steps = 10_000
    counted = sum(passed(limiter, 100.0 + 10 * step / steps, 2) for step in range(1, steps + 1))
    assert counted == 10 * qps


def test_a_limit_below_one_a_second_waits_longer() -> None:
    limiter = TokenLimiter(qps=0.1)
    assert [passed(limiter, now, 3) for now in (100.0, 105.0, 109.9, 110.0, 115.0, 120.0)] == [1, 0, 0, 1, 0, 1]


def test_after_a_quiet_time_a_second_of_calls_may_come_at_once() -> None:
    limiter = TokenLimiter(qps=100)
    passed(limiter, 100.0, 1)
    assert passed(limiter, 200.0, 1_000) == 100


def test_the_burst_is_an_option() -> None:
    limiter = TokenLimiter(qps=100, burst=3)
    assert passed(limiter, 100.0, 10) == 3, "the first fill is no more than the burst"
    assert passed(limiter, 200.0, 10) == 3
    wide = TokenLimiter(qps=1, burst=50)
    passed(wide, 100.0, 1)
    assert passed(wide, 1_000.0, 100) == 50


@pytest.mark.parametrize("unlimited", [None, 0, -1, -0.5])
def test_none_zero_and_below_are_no_limit(unlimited: float | None) -> None:
    limiter = TokenLimiter(qps=unlimited, concurrency=None if unlimited is None else int(unlimited))
    assert passed(limiter, 100.0, 5_000) == 5_000


def test_the_refusal_says_which_limit_with_kitexs_words_first() -> None:
    limiter = TokenLimiter(qps=1)
    passed(limiter, 100.0, 1)
    refusal = limiter.acquire(make_call(), 100.0)
    assert refusal is not None
    assert (refusal.limit, refusal.value, refusal.cut) == ("qps", 1.0, False)
    assert refusal.text == "request too frequent (qps = 1)"


def test_cutting_is_for_what_is_too_frequent_only() -> None:
    limiter = TokenLimiter(qps=1, concurrency=5, cut=True)
    passed(limiter, 100.0, 1)
    refusal = limiter.acquire(make_call(), 100.0)
    assert refusal is not None
    assert refusal.cut
    held = TokenLimiter(concurrency=1, cut=True)
    assert held.acquire(make_call(), 100.0) is None
    too_many = held.acquire(make_call(), 100.0)
    assert too_many is not None
    assert not too_many.cut


def test_a_clock_that_stands_still_gives_nothing() -> None:
    limiter = TokenLimiter(qps=10)
    assert passed(limiter, 100.0, 100) == 1
    assert passed(limiter, 100.0, 100) == 0


@given(
    qps=st.floats(0.05, 500.0),
    burst=st.none() | st.floats(1.0, 700.0),
    pauses=st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(0, 40)), max_size=40),
)
def test_never_more_than_the_burst_and_the_rate_and_never_less_than_possible(
    qps: float, burst: float | None, pauses: list[tuple[float, int]]
) -> None:
    """The bucket against its definition: over every stretch at most burst + qps * seconds, and a call that would have
    fitted is let through.
    """
    limiter = TokenLimiter(qps=qps, burst=burst)
    size = max(qps, 1.0) if burst is None else burst
    tokens, now = min(max(qps / 10, 1.0), size), 1_000.0
    tokens -= passed(limiter, now, 1)  # a bucket begins with the first call
    for pause, calls in pauses:
        now += pause
        tokens = min(size, tokens + pause * qps)
        for _ in range(calls):
            call = make_call()
            allowed = limiter.acquire(call, now) is None
            if abs(tokens - 1.0) > 1e-5:  # at the edge either is right
                assert allowed == (tokens > 1.0)
            if allowed:
                limiter.release(call, None, 0.0, now)
                tokens -= 1.0


def test_calls_that_were_refused_draw_nothing_from_any_rule() -> None:
    limiter = TokenLimiter(qps=1000, per_method={"echo": {"qps": 1}}, per_caller={"*": {"qps": 100}})
    assert passed(limiter, 100.0, 50) == 1
    levels = limiter.levels()
    assert levels["server"].tokens == 99.0
    assert levels["per_caller[tests]"].tokens == 9.0
    assert levels["per_method[echo]"].tokens == 0.0


def test_what_one_rule_refuses_leaves_the_others_whole() -> None:
    limiter = TokenLimiter(per_service={"EchoService": {"qps": 100}}, concurrency=1)
    running: Call = make_call()
    assert limiter.acquire(running, 100.0) is None
    for _ in range(20):
        refusal = limiter.acquire(make_call(), 100.0)
        assert refusal is not None
        assert refusal.limit == "concurrency"
    assert limiter.levels()["per_service[EchoService]"].tokens == 9.0
