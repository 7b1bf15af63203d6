"""The ring of buckets, against a list of instants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elanus_breaker_window.window import FAILURES, SLOW, SUCCESSES, TIMEOUTS, Window

STEPS = st.lists(st.tuples(st.sampled_from([SUCCESSES, FAILURES, TIMEOUTS, SLOW]), st.integers(0, 12)), max_size=60)


@given(st.integers(1, 10), st.integers(0, 1_000_000), STEPS)
def test_it_counts_what_a_list_of_instants_counts(buckets: int, slot: int, steps: list[tuple[int, int]]) -> None:
    window = Window(buckets, slot)
    told: list[tuple[int, int]] = []
    for kind, passed in steps:
        slot += passed
        window.add(kind, slot)
        told.append((slot, kind))
        inside = [one for at, one in told if at > slot - buckets]
        assert window.counts == [inside.count(each) for each in (SUCCESSES, FAILURES, TIMEOUTS, SLOW)]


@given(st.integers(1, 10), STEPS, st.integers(0, 30))
def test_moving_forgets_and_never_invents(buckets: int, steps: list[tuple[int, int]], passed: int) -> None:
    window, slot = Window(buckets, 5), 5
    for kind, step in steps:
        slot += step
        window.add(kind, slot)
    before = list(window.counts)
    window.move(slot + passed)
    assert all(0 <= after <= counted for after, counted in zip(window.counts, before, strict=True))
    if passed >= buckets:
        assert window.counts == [0, 0, 0, 0]
    if not passed:
        assert window.counts == before


def test_time_does_not_go_back() -> None:
    window = Window(10, 100)
    window.add(SUCCESSES, 100)
    window.add(SUCCESSES, 90)
    assert window.counts[SUCCESSES] == 2
    window.move(109)
    assert window.counts[SUCCESSES] == 2
    window.move(110)
    assert window.counts[SUCCESSES] == 0


def test_many_in_one_bucket() -> None:
    window = Window(2, 1)
    for _ in range(70_000):  # more than 16 bits hold
        window.add(FAILURES, 1)
    window.add(FAILURES, 2)
    window.move(3)
    assert window.counts[FAILURES] == 1
