"""Which of two instances is taken, and what is learned of each."""

from __future__ import annotations

import heapq
from asyncio import CancelledError
from collections import Counter
from random import Random
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import (
    ApplicationError,
    BizStatusError,
    CircuitOpenError,
    CodecError,
    ConnectFailedError,
    ConnectionLostError,
    LocalProtocolError,
    RemoteProtocolError,
    RpcTimeoutError,
)
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_latency import LatencyBalancer, LatencyPicker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALL = make_call()


def instances_of(*weights: int) -> list[Instance]:
    return [Instance(f"10.0.0.{number}:8888", weight) for number, weight in enumerate(weights)]


def picker_of(instances: Sequence[Instance], **options: Any) -> LatencyPicker:
    picker = LatencyBalancer(**{"seed": 1, "slow_start": 0, "max_ejected": 0, **options}).picker(instances)
    assert isinstance(picker, LatencyPicker)
    return picker


def pick(picker: LatencyPicker, now: float) -> Instance:
    instance = picker.pick(CALL, (), now)
    assert instance is not None
    return instance


def simulated(
    picker: LatencyPicker, latency: Callable[[Instance, Random], float], rate: float, seconds: float, start: float = 0.0
) -> tuple[Counter[Instance], list[float], float]:
    """Calls that come by chance, *rate* a second: the picks, the latencies, and the instant of the end."""
    random, now, number = Random(7), start, 0
    running: list[tuple[float, int, Instance, float]] = []
    counts: Counter[Instance] = Counter()
    latencies = []
    while now < start + seconds:
        now += random.expovariate(rate)
        while running and running[0][0] <= now:
            end, _, instance, took = heapq.heappop(running)
            picker.finished(instance, None, took, end)
        instance = pick(picker, now)
        counts[instance] += 1
        took = latency(instance, random)
        latencies.append(took)
        number += 1
        heapq.heappush(running, (now + took, number, instance, took))
    for end, _, instance, took in sorted(running):
        picker.finished(instance, None, took, end)
        now = max(now, end)
    return counts, latencies, now


def around(value: float, random: Random) -> float:
    return value * random.uniform(0.9, 1.1)


# For each degree of freedom the value that a fair picker exceeds once in a million times.
CRITICAL = {3: 30.7, 4: 33.4}


@pytest.mark.parametrize("weights", [(10, 10, 10, 10, 10), (1, 2, 3, 4, 10), (1, 2**40, 2**40, 2**39, 2**38)])
def test_idle_instances_of_equal_speed_are_picked_by_weight(weights: tuple[int, ...]) -> None:
    """By the list of places, and by prefix sums where that would be long."""
    instances = instances_of(*weights)
    picker = picker_of(instances)
    counts: Counter[Instance] = Counter()
    for number in range(50_000):
        instance = pick(picker, number / 100)
        picker.finished(instance, None, 0.005, number / 100 + 0.005)
        counts[instance] += 1
    expected = {instance: 50_000 * instance.weight / sum(weights) for instance in instances}
    statistic = sum((counts[i] - wanted) ** 2 / wanted for i, wanted in expected.items() if wanted > 1)
    assert statistic < CRITICAL[4]


def test_noise_leaves_the_shares_near_the_weights() -> None:
    instances = instances_of(10, 20, 30)
    counts, _, _ = simulated(picker_of(instances), lambda i, random: around(0.01, random), rate=200, seconds=100)
    for instance in instances:
        assert counts[instance] / counts.total() == pytest.approx(instance.weight / 60, rel=0.15)


def test_a_slow_instance_gets_few_calls_and_is_tried_again_and_again() -> None:
    instances = instances_of(*[10] * 10)
    slow = instances[3]
    counts, latencies, _ = simulated(
        picker_of(instances), lambda i, random: around(0.2 if i == slow else 0.01, random), rate=500, seconds=120
    )
    assert 1 <= counts[slow] < 60, "6,000 would be its share"
    assert mean(latencies) < 0.011
    others = [counts[instance] for instance in instances if instance != slow]
    assert min(others) > 0.6 * max(others)


def test_an_instance_that_recovers_gets_its_share_back() -> None:
    instances = instances_of(*[10] * 5)
    picker = picker_of(instances)
    _, _, now = simulated(picker, lambda i, random: around(0.3 if i == instances[0] else 0.01, random), 300, 30)
    counts, _, now = simulated(picker, lambda i, random: around(0.01, random), 300, 60, start=now)
    counts, _, _ = simulated(picker, lambda i, random: around(0.01, random), 300, 60, start=now)
    assert counts[instances[0]] / counts.total() == pytest.approx(0.2, rel=0.2)


def test_load_moves_calls_before_latency_tells() -> None:
    instances = instances_of(*[10] * 4)
    picker = picker_of(instances)
    held = Counter(pick(picker, 0.0) for _ in range(4_000))  # nobody answers
    assert set(held) == set(instances)
    assert max(held.values()) - min(held.values()) < 0.35 * 1_000, "two choices: by chance alone no bound would hold"
    assert {state.in_flight for state in picker.states(0.0).values()} == set(held.values())


def test_load_counts_by_weight() -> None:
    instances = instances_of(10, 40)
    picker = picker_of(instances)
    held = Counter(pick(picker, 0.0) for _ in range(1_000))
    assert held[instances[1]] / held[instances[0]] == pytest.approx(4, rel=0.25)


def test_of_two_both_are_always_looked_at() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    picker.finished(instances[0], None, 0.01, 1.0)
    picker.finished(instances[1], None, 0.5, 1.0)
    for _ in range(200):
        instance = pick(picker, 1.0)
        assert instance == instances[0]
        picker.finished(instance, None, 0.01, 1.0)


def test_what_is_expected_rises_at_once_and_falls_slowly() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances, decay=10)

    def latency(now: float) -> float:
        found = picker.states(now)[instances[0].address].latency
        assert found is not None
        return found

    for number in range(1_000):  # what is typical is known well
        picker.finished(instances[1], None, 0.010, number / 1_000)
    picker.finished(instances[0], None, 0.5, 1.0)
    assert latency(1.0) == 0.5
    picker.finished(instances[0], None, 0.010, 1.001)
    assert latency(1.001) == pytest.approx(0.5, rel=0.01)
    # Ten seconds later one part in e is left of what it had above the typical, without any call.
    typical = picker.fleet.typical
    assert latency(11.001) - typical == pytest.approx((latency(1.001) - typical) / 2.71828, rel=1e-3)
    picker.finished(instances[0], None, 0.010, 11.001)
    assert latency(11.001) == pytest.approx(0.01 + 0.49 / 2.71828, rel=0.02)


def test_nothing_is_expected_of_anybody_before_the_first_answer() -> None:
    picker = picker_of(instances_of(10, 10))
    assert [state.latency for state in picker.states(0.0).values()] == [None, None]


def test_what_nothing_is_known_of_is_as_fast_as_is_typical() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    picker.finished(instances[0], None, 0.02, 1.0)
    assert picker.states(1.0)[instances[1].address].latency == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (None, False),
        (BizStatusError(5, "no such user"), False),
        (ValueError("an exception of the IDL"), False),
        (ConnectFailedError("refused"), True),
        (ConnectionLostError("reset"), True),
        (RpcTimeoutError(1.0), True),
        (RemoteProtocolError("garbage"), True),
        (ApplicationError(6, "panic"), True),
        (CircuitOpenError("10.0.0.0:8888"), True),
        (CodecError("cannot be encoded"), None),
        (LocalProtocolError("too large"), None),
        (CancelledError(), None),
        (GeneratorExit(), None),
    ],
)
def test_what_counts_as_a_failure(error: BaseException | None, failed: bool | None) -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    for number in range(100):
        picker.finished(instances[1], None, 0.010, number / 10)
    picker.finished(instances[0], error, 0.005, 10.0)
    state = picker.states(10.0)[instances[0].address]
    assert state.failures == (failed is True)
    expected = {None: 0.010, False: 0.010, True: 0.100}[failed]  # of a failure, ten times what is typical
    assert state.latency == pytest.approx(expected, rel=0.51 if failed is False else 0.01)


def test_a_failure_that_took_longer_than_its_penalty_counts_as_long_as_it_took() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    picker.finished(instances[1], None, 0.010, 1.0)
    picker.finished(instances[0], RpcTimeoutError(2.0), 2.0, 1.0)
    assert picker.states(1.0)[instances[0].address].latency == 2.0


def test_failures_do_not_change_what_is_typical() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    picker.finished(instances[1], None, 0.010, 1.0)
    for number in range(50):
        picker.finished(instances[0], ConnectFailedError("refused"), 3.0, 1.0 + number)
    assert picker.fleet.typical == pytest.approx(0.010)


def test_a_cancelled_call_says_that_it_took_at_least_so_long() -> None:
    """An instance whose calls always lose against hedges never answers in time to be measured."""
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    picker.finished(instances[1], None, 0.010, 1.0)
    picker.finished(instances[0], CancelledError(), 0.3, 1.0)
    state = picker.states(1.0)[instances[0].address]
    assert state.latency == 0.3
    assert state.failures == 0


def test_a_call_that_fails_at_once_attracts_no_others() -> None:
    """Without the penalty, the broken instance would be the fastest of all."""
    instances = instances_of(*[10] * 5)
    picker = picker_of(instances)
    broken = instances[2]
    counts: Counter[Instance] = Counter()
    for number in range(5_000):
        now = number / 100
        instance = pick(picker, now)
        counts[instance] += 1
        if instance == broken:
            picker.finished(instance, ApplicationError(6, "panic"), 0.0001, now + 0.0001)
        else:
            picker.finished(instance, None, 0.010, now + 0.010)
    assert counts[broken] < 30


def test_time_may_stand_still_or_go_back_a_little() -> None:
    instances = instances_of(10, 10)
    picker = picker_of(instances)
    for number in range(200):
        instance = pick(picker, 5.0 - number * 100)
        picker.finished(instance, None, 0.01, 6.0)
    assert all(state.latency == pytest.approx(0.01) for state in picker.states(0.0).values())


def test_what_was_learned_outlives_a_change_of_the_set() -> None:
    instances = instances_of(10, 10, 10)
    balancer = LatencyBalancer(seed=1)
    old = balancer.picker(instances)
    assert isinstance(old, LatencyPicker)
    old.finished(instances[0], None, 0.5, 1.0)
    old.finished(instances[1], None, 0.01, 1.0)
    pending = pick(old, 1.0)
    heavier = [Instance(instances[0].address, 20), instances[1]]
    new = balancer.picker(heavier, old)
    assert isinstance(new, LatencyPicker)
    assert new.states(1.0)[instances[0].address].latency == 0.5
    assert new.states(1.0)[instances[0].address].instance == heavier[0]
    assert list(new.states(1.0)) == [instance.address for instance in heavier]
    old.finished(pending, None, 0.01, 1.1)  # reported to the picker that picked it
    assert all(state.in_flight == 0 for state in new.states(1.1).values())


def test_it_is_remembered_through_an_empty_set() -> None:
    instances = instances_of(10, 10)
    balancer = LatencyBalancer(seed=1)
    old = balancer.picker(instances)
    old.finished(instances[0], None, 0.5, 1.0)
    empty = balancer.picker([], old)
    assert empty.pick(CALL, (), 1.0) is None
    again = balancer.picker(instances, empty)
    assert isinstance(again, LatencyPicker)
    assert again.fleet.typical == pytest.approx(0.5)


def test_a_seed_makes_picks_foreseeable() -> None:
    instances = instances_of(10, 10, 20, 10)

    def picks(seed: int | None) -> tuple[Instance, ...]:
        picker = picker_of(instances, seed=seed)
        return tuple(pick(picker, number / 10) for number in range(40))

    assert picks(1) == picks(1)
    assert len({picks(None) for _ in range(20)}) > 1
