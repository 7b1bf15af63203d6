"""Bounded loads, excluded instances, and calls without a key."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_hash import HashBalancer
from elanus_balancer_hash.picker import BoundedHashPicker

if TYPE_CHECKING:
    from collections.abc import Sequence


def instances_of(weights: Sequence[int]) -> list[Instance]:
    return [Instance(f"10.0.0.{number}:8888", weight) for number, weight in enumerate(weights)]


def bounded(instances: Sequence[Instance], factor: float = 1.25, previous: Any = None) -> BoundedHashPicker:
    picker = HashBalancer("argument:0", load_factor=factor).picker(instances, previous)
    assert isinstance(picker, BoundedHashPicker)
    return picker


def start(picker: Any, key: object, excluded: Sequence[Instance] = ()) -> Instance:
    instance = picker.pick(make_call(arguments=(key,)), excluded, 0.0)
    assert isinstance(instance, Instance)
    return instance


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=12),
    st.sampled_from([1.01, 1.25, 2.0]),
    st.lists(st.integers(0, 3), min_size=1, max_size=120),
)
def test_no_instance_has_more_than_its_bound(weights: list[int], factor: float, keys: list[int]) -> None:
    """Four keys at most: without a bound they would be at four instances."""
    instances = instances_of(weights)
    picker = bounded(instances, factor)
    held: Counter[Instance] = Counter()
    for number, key in enumerate(keys, 1):
        instance = start(picker, key)
        held[instance] += 1
        assert held[instance] <= ceil(factor * number * instance.weight / sum(weights)), "at the time of the pick"
    assert picker.in_flight() == {str(instance): count for instance, count in held.items()}


def test_a_call_alone_goes_where_its_key_says() -> None:
    instances = instances_of([10, 20, 10, 5])
    plain, picker = HashBalancer("argument:0").picker(instances), bounded(instances)
    for key in range(500):
        instance = start(picker, key)
        assert instance == start(plain, key)
        picker.finished(instance, None, 0.1, 0.1)
    assert picker.in_flight() == {}


def test_a_hot_key_overflows_to_the_same_neighbours_in_the_same_order() -> None:
    instances = instances_of([10] * 20)
    first, second = bounded(instances), bounded(list(reversed(instances)))
    order = [start(first, "hot") for _ in range(15)]
    assert [start(second, "hot") for _ in range(15)] == order
    assert len(set(order)) == 15, "with twenty instances, none may have two of fifteen calls"


def test_room_that_was_left_is_used_again() -> None:
    picker = bounded(instances_of([10] * 10))
    home = start(picker, "hot")
    assert start(picker, "hot") != home
    picker.finished(home, RuntimeError("whatever"), 1.0, 1.0)
    assert start(picker, "hot") == home


def test_calls_in_flight_outlive_a_change_of_the_set() -> None:
    instances = instances_of([10] * 10)
    old = bounded(instances)
    home = start(old, "hot")
    gone = next(instance for instance in instances if instance != home)
    new = bounded([instance for instance in instances if instance != gone], previous=old)
    assert new.in_flight() == {str(home): 1}
    assert start(new, "hot") != home
    old.finished(home, None, 1.0, 1.0)  # reported to the picker that picked it
    assert home.address not in new.in_flight()
    assert start(new, "hot") == home


def test_what_nobody_picked_is_not_counted() -> None:
    instances = instances_of([10] * 3)
    picker = bounded(instances)
    picker.finished(instances[0], None, 0.0, 0.0)
    picker.finished(Instance("192.0.2.1:1"), None, 0.0, 0.0)
    assert picker.in_flight() == {}
    assert start(picker, "a") in instances


def test_the_least_loaded_is_found_when_all_that_are_near_are_full_or_excluded() -> None:
    # Nearly all points are of the first; it is excluded, so both others go over their bounds, in turn by weight.
    instances = instances_of([10_000, 20, 10])
    picker = bounded(instances)
    held = Counter(start(picker, number, instances[:1]) for number in range(30))
    assert held == {instances[1]: 20, instances[2]: 10}


@pytest.mark.parametrize("factor", [None, 1.25])
def test_walking_on_is_the_same_everywhere(factor: float | None) -> None:
    instances = instances_of([10] * 9)
    for key in range(200):
        tried: list[Instance] = []
        for _ in range(9):
            here = start(HashBalancer("argument:0", load_factor=factor).picker(instances), key, tried)
            there = start(HashBalancer("argument:0", load_factor=factor).picker(instances[::-1]), key, tried)
            assert here == there
            assert here not in tried
            tried.append(here)


def test_the_instance_after_a_failed_one_is_the_one_that_inherits_its_keys() -> None:
    balancer = HashBalancer("argument:0")
    instances = instances_of([10] * 9)
    picker = balancer.picker(instances)
    for key in range(300):
        home = start(picker, key)
        left = [instance for instance in instances if instance != home]
        assert start(picker, key, [home]) == start(balancer.picker(left), key)


# For each degree of freedom the value that a fair picker exceeds once in a million times.
CRITICAL = {3: 30.7}


@pytest.mark.parametrize("factor", [None, 1.25])
def test_calls_without_a_key_are_spread_by_weight(factor: float | None) -> None:
    instances = instances_of([1, 2, 3, 4])
    picker = HashBalancer("metadata:user", seed=3, load_factor=factor).picker(instances)
    counts: Counter[Instance] = Counter()
    for _ in range(20_000):
        instance = start(picker, "no such metadata")
        picker.finished(instance, None, 0.0, 0.0)
        counts[instance] += 1
    assert sum((counts[i] - 2_000 * i.weight) ** 2 / (2_000 * i.weight) for i in instances) < CRITICAL[3]


def test_a_seed_makes_calls_without_a_key_foreseeable() -> None:
    instances = instances_of([10] * 5)

    def picks(seed: int | None) -> tuple[Instance, ...]:
        picker = HashBalancer("metadata:user", seed=seed).picker(instances)
        return tuple(start(picker, 0) for _ in range(30))

    assert picks(1) == picks(1)
    assert len({picks(None) for _ in range(20)}) > 1


@pytest.mark.parametrize("factor", [None, 1.25])
@pytest.mark.parametrize("key", [None, "", b""])
def test_calls_without_a_key_can_be_refused(factor: float | None, key: object) -> None:
    """As Kitex does, where an empty key gets no instance."""
    balancer = HashBalancer("argument:0", keyless="refuse", load_factor=factor)
    picker = balancer.picker(instances_of([10] * 3))
    assert picker.pick(make_call(arguments=(key,)), (), 0.0) is None
    assert picker.pick(make_call(arguments=("a",)), (), 0.0) is not None
