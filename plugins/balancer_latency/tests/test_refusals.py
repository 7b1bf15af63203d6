"""An instance that refuses, since it has too much to do, is loaded and not broken."""

from __future__ import annotations

import pytest

from elanus.errors import ApplicationError
from elanus.service import Instance
from elanus.testing import InTurn
from elanus.testing.calls import make_call
from elanus.testing.simulation import Exponential, Group, Poisson, simulate
from elanus_balancer_latency import LatencyBalancer, LatencyPicker

FULL = ApplicationError(6, "request over limit: too many calls in flight")
BROKEN = ApplicationError(6, "forbidden by circuitbreaker: service circuitbreak")


def learned(count: int) -> tuple[LatencyPicker, list[Instance]]:
    """A picker that knows 10 ms of each of so many instances."""
    instances = [Instance(f"10.0.0.{number}:8888") for number in range(count)]
    picker = LatencyBalancer(seed=1).picker(instances)
    assert isinstance(picker, LatencyPicker)
    for instance in instances:
        picker.finished(instance, None, 0.010, 0.0)
    return picker, instances


def test_it_is_neither_failure_nor_success() -> None:
    picker, (full, *_) = learned(4)
    picker.finished(full, BROKEN, 0.0001, 0.5)
    for _ in range(100):
        picker.finished(full, FULL, 0.0001, 1.0)
    state = picker.states(1.0)[full.address]
    assert (state.failures, state.ejected_until) == (1, None)
    for _ in range(4):
        picker.finished(full, BROKEN, 0.0001, 1.0)
    assert picker.ejected(1.0), "what its breaker refuses is a failure: there the handler fails"


def test_a_quick_refusal_makes_nobody_look_fast() -> None:
    picker, (full, *_) = learned(4)
    latencies = []
    for step in range(15):
        picker.finished(full, FULL, 0.0001, 0.0)
        latencies.append(picker.states(0.0)[full.address].latency)
        assert step or latencies == [pytest.approx(0.020)], "one usual call more"
    assert latencies == sorted(latencies, key=lambda latency: latency or 0.0)
    assert latencies[-1] == pytest.approx(0.100), "what a failure costs, and no more"
    assert picker.states(60.0)[full.address].latency == pytest.approx(0.010, rel=0.1), "forgotten"


def test_others_get_its_calls() -> None:
    picker, (full, *_) = learned(4)
    for _ in range(5):
        picker.finished(full, FULL, 0.0001, 0.0)
    for _ in range(100):
        instance = picker.pick(make_call(), (), 0.0)
        assert instance is not None
        assert instance != full
        picker.finished(instance, None, 0.010, 0.0)


def test_a_refusal_before_anything_is_known_says_nothing() -> None:
    picker = LatencyBalancer(seed=1).picker([Instance("10.0.0.1:8888")])
    assert isinstance(picker, LatencyPicker)
    picker.finished(Instance("10.0.0.1:8888"), FULL, 0.0001, 0.0)
    assert picker.states(0.0)["10.0.0.1:8888"].latency is None


@pytest.mark.parametrize("load", [1.2, 2.0])
def test_a_fleet_that_sheds_answers_as_much_as_with_plain_turns(load: float) -> None:
    group = Group(10, latency=Exponential(0.020), workers=4, queue=8)  # 2,000 calls a second
    turns, learning = (
        simulate(group, Poisson(load * 2_000), seconds=8, skip=2, seed=5, timeout=0.5, balancer=balancer)
        for balancer in (InTurn(), LatencyBalancer(seed=5))
    )
    assert learning.refused > 0
    assert learning.goodput > 0.97 * turns.goodput
    assert learning.goodput > 0.9 * 2_000
    assert not learning.events_named("instance_ejected")


def test_one_that_can_do_little_gets_less() -> None:
    groups = [
        Group(9, latency=Exponential(0.020), workers=4, queue=8, name="well"),
        Group(1, latency=Exponential(0.060), workers=4, queue=2, name="small"),
    ]
    turns, learning = (
        simulate(groups, Poisson(1_600), seconds=8, skip=2, seed=5, timeout=0.5, balancer=balancer)
        for balancer in (InTurn(), LatencyBalancer(seed=5))
    )
    assert learning.failed < turns.failed / 3
    assert learning.load("small").mean < turns.load("small").mean / 2
