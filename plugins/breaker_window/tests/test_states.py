"""From one state to the next, with Kitex's numbers and with others."""

from __future__ import annotations

import pytest

from elanus.contracts.breaker import Counts, Outcome, State, Transition
from elanus_breaker_window import WindowBreaker

SUCCESS, FAILURE, TIMEOUT, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED
KEY = "web/store/get"
T = 1_000.0


def tell(breaker: WindowBreaker, outcome: Outcome, times: int = 1, now: float = T, elapsed: float = 0.001) -> int:
    """That many calls at *now*, and how many of them were allowed."""
    allowed = 0
    for _ in range(times):
        if breaker.allow(KEY, now - elapsed):
            allowed += 1
            breaker.record(KEY, outcome, elapsed, now)
    return allowed


def state(breaker: WindowBreaker) -> State:
    return breaker.states().get(KEY, State.CLOSED)


def opened(breaker: WindowBreaker) -> WindowBreaker:
    tell(breaker, FAILURE, 200)
    assert state(breaker) is State.OPEN
    return breaker


def log(breaker: WindowBreaker) -> list[Transition]:
    seen: list[Transition] = []
    breaker.watch(seen.append)
    return seen


# -- opening: 200 samples in 10 s, half of them bad ---------------------------------------------------------------


def test_two_hundred_samples_are_needed() -> None:
    breaker = WindowBreaker()
    assert tell(breaker, FAILURE, 199) == 199
    assert state(breaker) is State.CLOSED
    tell(breaker, FAILURE)
    assert state(breaker) is State.OPEN
    assert not breaker.allow(KEY, T)


def test_half_of_them_must_be_bad() -> None:
    breaker = WindowBreaker()
    tell(breaker, SUCCESS, 101)
    tell(breaker, FAILURE, 50)
    tell(breaker, TIMEOUT, 50)
    assert state(breaker) is State.CLOSED, "100 of 201"
    tell(breaker, TIMEOUT)
    assert state(breaker) is State.OPEN, "101 of 202: timeouts count as failures do"


def test_only_a_failure_asks_the_rules() -> None:
    breaker = WindowBreaker()
    tell(breaker, FAILURE, 199)
    tell(breaker, SUCCESS, 1)
    assert state(breaker) is State.CLOSED, "199 of 200 are bad, and the last one was none"
    tell(breaker, FAILURE)
    assert state(breaker) is State.OPEN


def test_what_is_ignored_is_no_sample() -> None:
    breaker = WindowBreaker()
    tell(breaker, IGNORED, 1_000)
    assert breaker.known == 0, "nor is it worth a key"
    tell(breaker, FAILURE, 199)
    tell(breaker, IGNORED, 1_000)
    assert state(breaker) is State.CLOSED


def test_samples_leave_after_a_hundred_buckets_of_a_tenth_of_a_second() -> None:
    breaker = WindowBreaker()
    tell(breaker, FAILURE, 199, now=T + 0.05)
    assert breaker.counts(KEY, T + 9.99) == Counts(failures=199)
    assert breaker.counts(KEY, T + 10.0) == Counts()
    tell(breaker, FAILURE, 199, now=T + 10.05)
    assert state(breaker) is State.CLOSED
    tell(breaker, FAILURE, 1, now=T + 19.95)
    assert state(breaker) is State.OPEN


# -- open: 5 s; half-open: one probe in 200 ms, two successes -----------------------------------------------------


def test_all_is_refused_for_five_seconds() -> None:
    breaker = opened(WindowBreaker())
    assert not any(breaker.allow(KEY, T + milliseconds / 1_000) for milliseconds in range(5_000))
    assert breaker.allow(KEY, T + 5.0)
    assert state(breaker) is State.HALF_OPEN


def test_one_probe_in_two_hundred_milliseconds() -> None:
    breaker = opened(WindowBreaker())
    asked = [T + 5.0 + milliseconds / 1_000 for milliseconds in range(1_000)]
    allowed = [now - T for now in asked if breaker.allow(KEY, now)]
    assert allowed == pytest.approx([5.0, 5.2, 5.4, 5.6, 5.8], abs=0.0015), "whether their results come or not"


def test_two_successes_close_it_with_empty_counts() -> None:
    breaker = opened(WindowBreaker())
    assert tell(breaker, SUCCESS, now=T + 5.1) == 1
    assert state(breaker) is State.HALF_OPEN
    assert tell(breaker, SUCCESS, now=T + 5.4) == 1
    assert state(breaker) is State.CLOSED
    assert breaker.counts(KEY, T + 5.4) == Counts()
    assert tell(breaker, FAILURE, 199, now=T + 5.5) == 199, "what had failed before counts no more"
    assert state(breaker) is State.CLOSED


@pytest.mark.parametrize("outcome", [FAILURE, TIMEOUT])
def test_a_bad_probe_opens_it_for_another_five_seconds(outcome: Outcome) -> None:
    breaker = opened(WindowBreaker())
    tell(breaker, SUCCESS, now=T + 5.1)
    tell(breaker, outcome, now=T + 5.4)
    assert state(breaker) is State.OPEN
    assert not breaker.allow(KEY, T + 10.399)
    tell(breaker, SUCCESS, now=T + 10.5)
    assert state(breaker) is State.HALF_OPEN, "the success from before the failure is not added"
    tell(breaker, SUCCESS, now=T + 10.9)
    assert state(breaker) is State.CLOSED


def test_a_probe_that_says_nothing_is_followed_by_the_next() -> None:
    breaker = opened(WindowBreaker())
    tell(breaker, SUCCESS, now=T + 5.1)
    assert tell(breaker, IGNORED, now=T + 5.4) == 1
    assert state(breaker) is State.HALF_OPEN
    assert breaker.allow(KEY, T + 5.7), "and this one never ends"
    tell(breaker, SUCCESS, now=T + 6.0)
    assert state(breaker) is State.CLOSED, "two successes in a row: nothing bad came between them"


def test_results_from_before_it_opened_are_dropped() -> None:
    breaker = opened(WindowBreaker())
    assert breaker.allow(KEY, T + 5.0)
    for outcome in (SUCCESS, SUCCESS, FAILURE, TIMEOUT):
        breaker.record(KEY, outcome, 5.05, T + 5.05)  # allowed at T, when it opened
        assert state(breaker) is State.HALF_OPEN
    breaker.record(KEY, SUCCESS, 0.1, T + 5.1)
    tell(breaker, SUCCESS, now=T + 5.3)
    assert state(breaker) is State.CLOSED
    breaker.record(KEY, FAILURE, 6.0, T + 5.4)
    assert breaker.counts(KEY, T + 5.4) == Counts()


def test_a_probe_of_an_earlier_time_does_not_count_in_a_later_one() -> None:
    breaker = opened(WindowBreaker())
    assert breaker.allow(KEY, T + 5.0), "a slow one"
    tell(breaker, FAILURE, now=T + 5.3)
    assert breaker.allow(KEY, T + 10.3)
    breaker.record(KEY, SUCCESS, 5.4, T + 10.4)
    breaker.record(KEY, SUCCESS, 0.1, T + 10.4)
    assert state(breaker) is State.HALF_OPEN


def test_a_second_probe_that_is_still_running_when_it_closes_counts_from_then_on() -> None:
    breaker = opened(WindowBreaker(consecutive=1))
    for now in (5.0, 5.2, 5.41):
        assert breaker.allow(KEY, T + now)
    breaker.record(KEY, SUCCESS, 0.5, T + 5.5)
    breaker.record(KEY, SUCCESS, 0.3, T + 5.5)
    assert state(breaker) is State.CLOSED
    breaker.record(KEY, FAILURE, 0.2, T + 5.6)
    assert state(breaker) is State.OPEN


def test_the_whole_way_as_events() -> None:
    breaker = WindowBreaker()
    seen = log(breaker)
    tell(breaker, SUCCESS, 50)
    tell(breaker, FAILURE, 100)
    tell(breaker, TIMEOUT, 50)
    tell(breaker, FAILURE, now=T + 5.1)
    for now in (10.2, 10.6):
        tell(breaker, SUCCESS, now=T + now)
    closed, opened_, half = State.CLOSED, State.OPEN, State.HALF_OPEN
    assert [(one.before, one.after) for one in seen] == [
        (closed, opened_),
        (opened_, half),
        (half, opened_),
        (opened_, half),
        (half, closed),
    ]
    assert seen[0].counts == Counts(50, 100, 50)
    assert seen[2].counts == Counts(50, 101, 50), "the probe that failed is counted"
    assert seen[4].counts == Counts(0, 1, 0), "what was in the window before it was emptied"
    assert str(seen[0]) == f"{KEY}: CLOSED -> OPEN, (succ: 50, err: 100, timeout: 50, rate: 0.750000)"
    assert [round(one.now - T, 3) for one in seen] == [0.0, 5.099, 5.1, 10.199, 10.6]


# -- other rules --------------------------------------------------------------------------------------------------


def test_failures_in_a_row() -> None:
    breaker = WindowBreaker(error_rate=2.0, consecutive=3)
    for _ in range(100):
        tell(breaker, FAILURE, 1)
        tell(breaker, TIMEOUT, 1)
        tell(breaker, IGNORED, 1)
        tell(breaker, SUCCESS, 1)
    assert state(breaker) is State.CLOSED
    tell(breaker, FAILURE, 2, now=T + 60.0)
    tell(breaker, FAILURE, 1, now=T + 3_600.0)
    assert state(breaker) is State.OPEN, "however far apart they are"
    tell(breaker, SUCCESS, 1, now=T + 3_605.1)
    tell(breaker, SUCCESS, 1, now=T + 3_605.4)
    tell(breaker, FAILURE, 2, now=T + 3_606.0)
    assert state(breaker) is State.CLOSED, "closing begins a new row"


def test_so_many_failures_in_the_window() -> None:
    breaker = WindowBreaker(error_rate=2.0, errors=10)
    for second in range(100):
        tell(breaker, FAILURE, 1, now=T + 2 * second)
        tell(breaker, SUCCESS, 100, now=T + 2 * second)
    assert state(breaker) is State.CLOSED, "never more than five within ten seconds"
    tell(breaker, FAILURE, 5, now=T + 200.0)
    assert state(breaker) is State.CLOSED, "nine"
    tell(breaker, FAILURE, 1, now=T + 200.0)
    assert state(breaker) is State.OPEN


def test_the_share_of_slow_calls() -> None:
    breaker = WindowBreaker(slow_after=1.0, slow_rate=0.5, min_samples=10)
    tell(breaker, SUCCESS, 5)
    tell(breaker, SUCCESS, 4, elapsed=1.5)
    assert state(breaker) is State.CLOSED
    tell(breaker, SUCCESS, 1, elapsed=1.0)
    assert state(breaker) is State.CLOSED, "exactly so long is not slow"
    tell(breaker, SUCCESS, 2, elapsed=1.5)
    assert state(breaker) is State.OPEN, "6 of 12, though none has failed"
    assert tell(breaker, SUCCESS, 1, now=T + 7.0, elapsed=1.5) == 1
    assert state(breaker) is State.OPEN, "a slow probe is a bad one"
    for now in (13.0, 14.0):
        tell(breaker, SUCCESS, 1, now=T + now, elapsed=0.5)
    assert state(breaker) is State.CLOSED


def test_failures_may_be_slow_too() -> None:
    breaker = WindowBreaker(error_rate=2.0, slow_after=1.0, slow_rate=1.0, min_samples=10)
    tell(breaker, TIMEOUT, 5, elapsed=2.0)
    tell(breaker, FAILURE, 5, elapsed=2.0)
    assert state(breaker) is State.OPEN


def test_more_or_fewer_probes() -> None:
    breaker = opened(WindowBreaker(cooling=1, probe_every=0.5, probe_successes=3))
    for number, now in enumerate((1.1, 1.7, 2.3)):
        assert state(breaker) is (State.HALF_OPEN if number else State.OPEN)
        tell(breaker, SUCCESS, now=T + now)
    assert state(breaker) is State.CLOSED


# -- keys ---------------------------------------------------------------------------------------------------------


def test_keys_are_independent_and_may_be_forgotten() -> None:
    breaker = opened(WindowBreaker())
    assert breaker.allow("other", T)
    breaker.record("other", FAILURE, 0.1, T)
    assert dict(breaker.states()) == {KEY: State.OPEN}
    breaker.forget(KEY)
    assert dict(breaker.states()) == {}
    assert breaker.known == 1


def test_idle_keys_give_way_first_then_the_least_used_and_open_ones_last() -> None:
    breaker = WindowBreaker(max_keys=16, consecutive=1)
    breaker.record("open", FAILURE, 0.1, T)
    breaker.record("idle", SUCCESS, 0.1, T)
    for number in range(14):
        breaker.record(f"used {number}", SUCCESS, 0.1, T + 10.0 + number / 10)
    breaker.record("new", SUCCESS, 0.1, T + 12.0)
    assert breaker.known <= 16
    assert dict(breaker.states()) == {"open": State.OPEN}
    now = T + 12.0
    kept = {
        key for key in ["idle", "new", *(f"used {number}" for number in range(14))] if breaker.counts(key, now).samples
    }
    assert "idle" not in kept
    assert {"new", "used 13", "used 2"} <= kept
    assert "used 0" not in kept, "an eighth is made free at once"


def test_why_it_refuses() -> None:
    breaker = WindowBreaker()
    assert breaker.why(KEY, T) == "", "it does not"
    tell(breaker, SUCCESS, 50)
    tell(breaker, FAILURE, 150)
    assert state(breaker) is State.OPEN
    counted = "150 of 200 calls had failed"
    assert breaker.why(KEY, T + 2.1) == f"it opened 2.1 s ago, next probe in 2.9 s; {counted}"
    assert breaker.allow(KEY, T + 6)
    assert breaker.why(KEY, T + 6.1) == f"half-open, it opened 6.1 s ago, next probe in 0.1 s; {counted}"
    breaker.record(KEY, FAILURE, 0.001, T + 6.05)
    assert breaker.why(KEY, T + 7.05) == f"it opened 1.0 s ago, next probe in 4.0 s; {counted}"
