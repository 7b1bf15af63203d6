"""The ring of buckets, against a list of instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elanus_breaker_window.window import FAILURES, SLOW, SUCCESSES, TIMEOUTS, Window

#: Four ticks a bucket; powers of two, so that nothing is rounded.
_BUCKET, _TICK = 0.125, 0.125 / 4

STEPS = st.lists(st.tuples(st.sampled_from([SUCCESSES, FAILURES, TIMEOUTS, SLOW]), st.integers(0, 48)), max_size=60)


@given(st.integers(1, 10), st.integers(0, 1_000_000), STEPS)
def test_it_counts_what_a_list_of_instants_counts(buckets: int, ticks: int, steps: list[tuple[int, int]]) -> None:
    window = Window(buckets, _BUCKET, ticks * _TICK)
    told: list[tuple[int, int]] = []
    for kind, passed in steps:
        ticks += passed
        window.add(kind, ticks * _TICK)
        told.append((ticks // 4, kind))
        inside = [one for at, one in told if at > ticks // 4 - buckets]
        assert window.counts == [inside.count(each) for each in (SUCCESSES, FAILURES, TIMEOUTS, SLOW)]


@given(st.integers(1, 10), STEPS, st.integers(0, 120))
def test_moving_forgets_and_never_invents(buckets: int, steps: list[tuple[int, int]], passed: int) -> None:
    window, ticks = Window(buckets, _BUCKET, 0.0), 0
    for kind, step in steps:
        ticks += step
        window.add(kind, ticks * _TICK)
    before = list(window.counts)
    window.move((ticks + passed) * _TICK)
    assert all(0 <= after <= counted for after, counted in zip(window.counts, before, strict=True))
    if passed >= 4 * buckets:
        assert window.counts == [0, 0, 0, 0]
    if not passed:
        assert window.counts == before


def test_time_does_not_go_back() -> None:
    window = Window(10, 1.0, 100.0)
    window.add(SUCCESSES, 100.5)
    window.add(SUCCESSES, 90.0)
    window.move(90.0)
    assert window.counts[SUCCESSES] == 2
    window.move(109.9)
    assert window.counts[SUCCESSES] == 2
    window.move(110.0)
    assert window.counts[SUCCESSES] == 0


def test_many_in_one_bucket() -> None:
    window = Window(2, 1.0, 1.0)
    for _ in range(70_000):  # more than 16 bits hold
        window.add(FAILURES, 1.0)
    window.add(FAILURES, 2.0)
    window.move(3.0)
    assert window.counts[FAILURES] == 1
