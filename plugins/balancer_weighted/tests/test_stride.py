"""Stride scheduling: shares that are exact in every window, at any size."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_weighted.stride import StridePicker

CALL = make_call()
weights_lists = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def make(weights: list[int], seed: int = 0) -> tuple[StridePicker, list[Instance]]:
    instances = [Instance(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]
    return StridePicker(instances, weights, Random(seed)), instances


@given(weights_lists, st.integers(0, 2**32), st.integers(1, 4))
def test_shares_are_off_by_a_turn_and_never_drift(weights: list[int], seed: int, periods: int) -> None:
    # In virtual time T instance i has had T * w_i / total turns, give or take one, so after m * total picks T differs
    # from m * total by less than n, the number of instances, however large m is.
    picker, instances = make(weights, seed)
    total = sum(weights)
    counts = Counter(picker.pick(CALL, (), 0.0) for _ in range(periods * total))
    for instance, weight in zip(instances, weights, strict=True):
        assert abs(counts[instance] - periods * weight) <= 1 + len(weights) * weight / total


@given(weights_lists, st.integers(0, 2**32), st.data())
def test_the_excluded_are_never_picked_and_keep_their_turn(weights: list[int], seed: int, data: st.DataObject) -> None:
    picker, instances = make(weights, seed)
    for _ in range(40):
        excluded = data.draw(st.lists(st.sampled_from(instances), unique=True, max_size=len(instances)))
        turns = {turn[3]: turn[0] for turn in picker._heap}
        instance = picker.pick(CALL, excluded, 0.0)
        after = {turn[3]: turn[0] for turn in picker._heap}
        left = [candidate for candidate in instances if candidate not in excluded]
        if not left:
            assert instance is None
            assert after == turns
            continue
        assert instance in left
        assert turns[instance] == min(turns[candidate] for candidate in left)
        assert {candidate for candidate in instances if after[candidate] != turns[candidate]} == {instance}


def test_ten_thousand_instances_of_as_many_weights() -> None:
    picker, instances = make(list(range(1, 10_001)))
    total = sum(range(1, 10_001))
    picks = 50_000
    counts = Counter(picker.pick(CALL, (), 0.0) for _ in range(picks))
    for instance in instances[::500]:
        assert abs(counts[instance] - picks * instance.weight / total) <= 3
