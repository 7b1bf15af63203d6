"""Interleaved weighted round robin: rounds, in which whoever has turns left gets one."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_weighted.interleaved import InterleavedPicker

CALL = make_call()
weights_lists = st.lists(st.integers(1, 20), min_size=1, max_size=10)


class FirstPlace(Random):
    """Chance that always says the first."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int) -> int:
        return 0


def make(weights: list[int], random: Random) -> tuple[InterleavedPicker, list[Instance]]:
    instances = [Instance(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]
    return InterleavedPicker(instances, weights, random), instances


def cycle(weights: list[int]) -> list[int]:
    """The places of one cycle, from the definition."""
    return [index for round_ in range(max(weights)) for index, weight in enumerate(weights) if weight > round_]


def test_the_order_of_one_cycle() -> None:
    picker, instances = make([5, 1, 2], FirstPlace())
    picked = [instances.index(picker.pick(CALL, (), 0.0) or instances[0]) for _ in range(8)]
    assert picked == [0, 1, 2, 0, 2, 0, 0, 0]


@given(weights_lists, st.integers(0, 2**32))
def test_the_first_cycle_goes_on_from_some_place(weights: list[int], seed: int) -> None:
    picker, instances = make(weights, Random(seed))
    places = cycle(weights)
    rest = len(picker._active) and sum(node.left for node in picker._active)
    picked = [instances.index(picker.pick(CALL, (), 0.0) or instances[0]) for _ in range(rest)]
    assert picked == places[len(places) - rest :]


@given(weights_lists, st.integers(0, 2**32), st.integers(0, 100))
def test_every_cycle_has_each_as_often_as_its_weight(weights: list[int], seed: int, cycles: int) -> None:
    picker, instances = make(weights, Random(seed))
    for _ in range(sum(node.left for node in picker._active)):
        picker.pick(CALL, (), 0.0)
    for _ in range(cycles % 3 + 1):
        counts = Counter(picker.pick(CALL, (), 0.0) for _ in range(sum(weights)))
        assert [counts[instance] for instance in instances] == weights


@given(weights_lists, st.integers(0, 2**32), st.data())
def test_the_excluded_are_never_picked_and_no_turn_is_lost(weights: list[int], seed: int, data: st.DataObject) -> None:
    picker, instances = make(weights, Random(seed))
    for _ in range(60):
        excluded = data.draw(st.lists(st.sampled_from(instances), unique=True, max_size=len(instances)))
        instance = picker.pick(CALL, excluded, 0.0)
        if len(excluded) == len(instances):
            assert instance is None
        else:
            assert instance is not None
            assert instance not in excluded
        nodes = [*picker._active, *picker._spent]
        assert len(nodes) == len(instances)
        assert picker._active
        assert all(1 <= node.left <= node.weight for node in nodes)
        assert all(node.left == node.weight for node in picker._spent)


def test_when_only_the_excluded_has_turns_left_the_others_share_its_calls() -> None:
    picker, instances = make([100, 1, 1, 1], FirstPlace())
    counts = Counter(picker.pick(CALL, instances[:1], 0.0) for _ in range(300))
    assert [counts[instance] for instance in instances] == [0, 100, 100, 100]


def test_each_place_is_as_likely_a_start_as_any_other() -> None:
    random = Random(5)
    counts = Counter(make([5, 1, 1], random)[0].pick(CALL, (), 0.0) for _ in range(7_000))
    assert sorted(counts.values())[-1] in range(4_700, 5_300)
    assert sorted(counts.values())[0] in range(800, 1_200)
