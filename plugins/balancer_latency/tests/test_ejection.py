"""Ejection of instances that fail, and the slow start of new ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ConnectFailedError
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_latency import Ejection, LatencyBalancer, LatencyPicker

if TYPE_CHECKING:
    from collections.abc import Sequence

CALL = make_call()
REFUSED = ConnectFailedError("refused")


def instances_of(count: int, first: int = 0) -> list[Instance]:
    return [Instance(f"10.0.0.{number}:8888") for number in range(first, first + count)]


class Stage:
    """A picker, told of calls by hand."""

    def __init__(self, instances: Sequence[Instance], **options: Any) -> None:
        self.told: list[Ejection] = []
        self.balancer = LatencyBalancer(on_ejection=self.told.append, **{"seed": 1, "slow_start": 0, **options})
        self.picker: LatencyPicker
        self.replace(instances, None)

    def replace(self, instances: Sequence[Instance], previous: LatencyPicker | None) -> None:
        picker = self.balancer.picker(instances, previous)
        assert isinstance(picker, LatencyPicker)
        self.picker = picker

    def fail(self, instance: Instance, times: int, now: float) -> None:
        for _ in range(times):
            self.picker.finished(instance, REFUSED, 0.001, now)

    def succeed(self, instance: Instance, times: int, now: float) -> None:
        for _ in range(times):
            self.picker.finished(instance, None, 0.010, now)

    def ejected(self, now: float) -> list[Instance]:
        return list(self.picker.ejected(now))

    def picked(self, now: float, picks: int = 300, excluded: Sequence[Instance] = ()) -> Counter[Instance | None]:
        counts: Counter[Instance | None] = Counter()
        for _ in range(picks):
            instance = self.picker.pick(CALL, excluded, now)
            counts[instance] += 1
            if instance is not None:
                self.picker.finished(instance, None, 0.010, now)
        return counts


def test_failures_in_a_row() -> None:
    instances = instances_of(4)
    stage = Stage(instances, failures=5, ejection=30)
    stage.fail(instances[0], 4, 1.0)
    stage.succeed(instances[0], 1, 1.0)
    stage.fail(instances[0], 4, 1.0)
    assert stage.ejected(1.0) == []
    stage.fail(instances[0], 1, 2.0)
    assert stage.picker.ejected(2.0) == {instances[0]: 32.0}
    assert instances[0] not in stage.picked(2.0)
    assert instances[0] not in stage.picked(31.999)
    (ejection,) = stage.told
    assert str(ejection) == "10.0.0.0:8888 is ejected for 30 s: 5 failures in a row"


def test_one_failure_may_be_enough() -> None:
    instances = instances_of(4)
    stage = Stage(instances, failures=1, slow_factor=5)
    stage.succeed(instances[1], 100, 0.0)
    stage.fail(instances[0], 1, 1.0)
    assert stage.told[0].reason == "1 failure in a row"
    stage.picker.finished(instances[1], None, 10.0, 40.0)
    assert stage.told[1].reason == "1 failure or slow call in a row"


def test_it_comes_back() -> None:
    instances = instances_of(4)
    stage = Stage(instances)
    stage.fail(instances[0], 5, 0.0)
    state = stage.picker.states(10.0)[instances[0].address]
    assert state.ejected_until == 30.0
    assert state.share == 0
    assert stage.ejected(30.0) == []
    assert stage.picked(30.0, 2_000)[instances[0]] == pytest.approx(500, rel=0.2)
    assert stage.picker.states(30.0)[instances[0].address].ejected_until is None


def test_each_ejection_lasts_longer_up_to_a_limit_and_all_are_forgotten_in_time() -> None:
    instances = instances_of(4)
    stage = Stage(instances, ejection=30, longest_ejection=100)
    now = 0.0
    for expected in (30, 60, 90, 100, 100):
        stage.fail(instances[0], 5, now)
        assert stage.told[-1].seconds == expected
        now += expected + 50
    assert [ejection.times for ejection in stage.told] == [1, 2, 3, 4, 5]
    assert "for 100 s, 5 times now: " in str(stage.told[-1])
    now += 51  # more than a hundred seconds since it came back
    stage.fail(instances[0], 5, now)
    assert stage.told[-1].seconds == 30
    assert stage.told[-1].times == 1


def test_calls_in_flight_do_not_make_an_ejection_longer() -> None:
    instances = instances_of(4)
    stage = Stage(instances)
    stage.fail(instances[0], 50, 1.0)
    assert len(stage.told) == 1
    assert stage.picker.ejected(1.0) == {instances[0]: 31.0}


def test_a_share_of_failures() -> None:
    """Every third call works, so that there never are five failures in a row."""
    instances = instances_of(5)
    stage = Stage(instances, failure_share=0.5, min_calls=20)
    for number in range(40):
        for instance in instances[1:]:
            stage.succeed(instance, 3, float(number))
        if instances[0] in stage.ejected(float(number)):
            break
        stage.fail(instances[0], 2, float(number))
        stage.succeed(instances[0], 1, float(number))
    (ejection,) = stage.told
    assert ejection.instance == instances[0]
    assert ejection.reason.endswith("% of its last calls failed")
    assert 6 <= number < 15, "not before 20 calls"


def test_an_instance_that_fails_no_more_than_all_others_is_no_outlier() -> None:
    instances = instances_of(5)
    stage = Stage(instances, failure_share=0.5, min_calls=20)
    for number in range(200):
        for instance in instances:
            stage.fail(instance, 2, float(number))
            stage.succeed(instance, 1, float(number))
    # At first nothing is known of the others; once it is, two of three failing are what is usual.
    assert all(ejection.until < 100 for ejection in stage.told)


def test_the_failure_share_can_be_turned_off() -> None:
    instances = instances_of(3)
    stage = Stage(instances, failure_share=1, failures=0, min_calls=5)
    stage.fail(instances[0], 500, 0.0)
    assert stage.told == []


def test_slow_calls_can_count() -> None:
    instances = instances_of(4)
    stage = Stage(instances, slow_factor=5)
    for number in range(300):
        stage.succeed(instances[1 + number % 3], 1, number / 100)
    for _ in range(5):
        stage.picker.finished(instances[0], None, 0.1, 3.0)
    assert stage.ejected(3.0) == [instances[0]]
    assert stage.told[0].reason == "5 failures or slow calls in a row"
    quiet = Stage(instances)
    for _ in range(50):
        quiet.picker.finished(instances[0], None, 99.0, 3.0)
    assert quiet.told == []


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(1, 1.0, 0), (2, 0.3, 1), (3, 0.3, 1), (10, 0.3, 3), (10, 0.0, 0), (10, 1.0, 9), (4, 0.5, 2), (20, 0.01, 1)],
)
def test_no_more_are_ejected_than_allowed_and_never_all(count: int, most: float, expected: int) -> None:
    instances = instances_of(count)
    stage = Stage(instances, max_ejected=most)
    for number in range(5):
        for instance in instances:
            stage.fail(instance, 1, float(number))
    assert len(stage.ejected(5.0)) == expected
    assert set(stage.picked(5.0)) == set(instances) - set(stage.ejected(5.0))


def test_a_place_that_is_free_again_is_taken_at_the_next_failure() -> None:
    instances = instances_of(4)
    stage = Stage(instances, max_ejected=0.25)
    stage.fail(instances[0], 5, 0.0)
    stage.fail(instances[1], 5, 10.0)
    assert stage.ejected(10.0) == [instances[0]]
    stage.fail(instances[1], 1, 30.0)
    assert stage.ejected(30.0) == [instances[1]]


def test_an_ejected_one_is_better_than_none() -> None:
    instances = instances_of(2)
    stage = Stage(instances)
    stage.fail(instances[0], 5, 0.0)
    assert set(stage.picked(1.0)) == {instances[1]}
    assert set(stage.picked(1.0, excluded=[instances[1]])) == {instances[0]}
    assert set(stage.picked(1.0, excluded=instances)) == {None}


def test_the_balancer_tells_of_all_its_clients() -> None:
    balancer = LatencyBalancer(seed=1)
    near, far = instances_of(3), instances_of(3, first=100)
    pickers = [balancer.picker(near), balancer.picker(far)]
    assert set(balancer.states(0.0)) == {instance.address for instance in (*near, *far)}
    for _ in range(5):
        pickers[1].finished(far[0], REFUSED, 0.1, 1.0)
    assert balancer.ejected(1.0) == {far[0].address: 31.0}
    assert balancer.ejected(31.0) == {}
    pickers[0] = balancer.picker(near[:1], pickers[0])
    del pickers[1]
    assert set(balancer.states(0.0)) == {near[0].address}, "a client that is gone is not kept"


def test_how_much_is_available() -> None:
    instances = [Instance("10.0.0.1:1", 10), Instance("10.0.0.2:1", 30), Instance("10.0.0.3:1", 60)]
    stage = Stage(instances, max_ejected=1)
    assert stage.picker.available(0.0) == 1
    stage.fail(instances[1], 5, 0.0)
    assert stage.picker.available(1.0) == pytest.approx(0.7)
    stage.fail(instances[2], 5, 10.0)
    assert stage.picker.available(10.0) == pytest.approx(0.1)
    assert stage.picker.available(30.0) == pytest.approx(0.4)
    assert stage.picker.available(40.0) == 1


def test_ejections_outlive_a_change_of_the_set_within_its_limit() -> None:
    instances = instances_of(10)
    stage = Stage(instances, max_ejected=0.3)
    for now, instance in enumerate(instances[:3]):
        stage.fail(instance, 5, float(now))
    stage.replace([*instances[1:], *instances_of(1, first=50)], stage.picker)
    assert stage.ejected(5.0) == instances[1:3]
    stage.replace(instances[1:5], stage.picker)  # of four, one may be: the one that would be out for longest
    assert stage.ejected(5.0) == [instances[2]]
    assert instances[1] in stage.picked(5.0)
    stage.replace(instances[:5], stage.picker)
    assert instances[0] in stage.picked(5.0), "who comes again is not known"


def test_late_failures_of_who_is_gone_eject_nobody() -> None:
    instances = instances_of(4)
    stage = Stage(instances)
    old = stage.picker
    stage.replace(instances[1:], old)
    for _ in range(10):
        old.finished(instances[0], REFUSED, 0.1, 1.0)
    assert stage.told == []
    assert stage.ejected(1.0) == []


@given(
    st.integers(1, 12),
    st.sampled_from([0.1, 0.3, 1.0]),
    st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.floats(0, 20)), max_size=300),
)
def test_whatever_happens_somebody_is_picked(count: int, most: float, story: list[tuple[int, bool, float]]) -> None:
    instances = instances_of(count)
    stage = Stage(instances, failures=2, max_ejected=most, slow_start=5)
    now = 0.0
    for number, failed, seconds in story:
        now += seconds
        instance = instances[number % count]
        stage.picker.finished(instance, REFUSED if failed else None, 0.01, now)
        ejected = stage.ejected(now)
        assert len(ejected) <= max(1, int(most * count))
        assert len(ejected) < count
        assert stage.picker.available(now) > 0
        assert stage.picker.pick(CALL, (), now) in set(instances) - set(ejected)


# -- slow start -----------------------------------------------------------------------------------------------------


def share_of(stage: Stage, instance: Instance, now: float) -> float:
    counts = stage.picked(now, 4_000)
    return counts[instance] / counts.total()


def test_a_new_instance_gets_its_share_little_by_little() -> None:
    instances = instances_of(9)
    new = instances_of(1, first=50)[0]
    stage = Stage(instances, slow_start=10)
    assert min(stage.picked(0.0, 9_000).values()) > 700, "the first set starts at once"
    stage.replace([*instances, new], stage.picker)
    shares = [share_of(stage, new, 100.0 + seconds) for seconds in (0, 2.5, 5, 7.5, 10, 20)]
    # Of x times its weight, its share of all calls is x / (9 + x).
    for found, part in zip(shares, [0.05, 0.25, 0.5, 0.75, 1, 1], strict=True):
        assert found == pytest.approx(part / (9 + part), rel=0.35)
    assert stage.picker.states(105.0)[new.address].share == 0.5


def test_it_begins_with_the_first_pick_not_with_the_set() -> None:
    instances = instances_of(3)
    stage = Stage(instances[:2], slow_start=10)
    stage.picked(0.0)
    stage.replace(instances, stage.picker)
    assert share_of(stage, instances[2], 1_000.0) < 0.1
    assert stage.picker.states(1_010.0)[instances[2].address].share == 1


def test_the_only_one_left_gets_all_calls_even_in_its_slow_start() -> None:
    instances = instances_of(2)
    stage = Stage(instances[:1], slow_start=10)
    stage.replace(instances[1:], stage.picker)
    assert stage.picked(0.0, 100) == {instances[1]: 100}


def test_an_ejection_ends_with_a_slow_start() -> None:
    instances = instances_of(10)
    stage = Stage(instances, slow_start=10, ejection=30)
    stage.fail(instances[0], 5, 0.0)
    assert share_of(stage, instances[0], 30.0) < 0.03
    assert share_of(stage, instances[0], 35.0) == pytest.approx(0.5 / 9.5, rel=0.35)
    assert share_of(stage, instances[0], 40.0) == pytest.approx(0.1, rel=0.2)
