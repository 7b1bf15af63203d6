"""Chance by weight: measured with Pearson's chi-squared, from fixed seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_weighted.chance import AliasPicker, RandomPicker, _alias_table

CALL = make_call()
Make: TypeAlias = Callable[[Sequence[Instance], Sequence[int], Random], Any]
both = pytest.mark.parametrize("make", [RandomPicker, AliasPicker])


def instances_of(weights: Sequence[int]) -> list[Instance]:
    return [Instance(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]


def chi_squared(counts: Counter[Instance | None], instances: Sequence[Instance]) -> float:
    total = sum(instance.weight for instance in instances)
    picks = counts.total()
    expected = {instance: picks * instance.weight / total for instance in instances}
    return sum((counts[instance] - share) ** 2 / share for instance, share in expected.items())


# For each degree of freedom the value that a fair picker exceeds once in a million times.
CRITICAL = {2: 27.6, 3: 30.7, 4: 33.4, 7: 40.5}


@both
@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 1, 1), (1, 2, 3, 4), (1, 10, 100, 7, 3), (8, 7, 6, 5, 4, 3, 2, 1)])
def test_shares_are_those_of_the_weights(make: Make, weights: tuple[int, ...]) -> None:
    instances = instances_of(weights)
    picker = make(instances, weights, Random(11))
    counts = Counter(picker.pick(CALL, (), 0.0) for _ in range(60_000))
    assert chi_squared(counts, instances) < CRITICAL[len(weights) - 1]


@both
def test_chi_squared_would_notice_a_wrong_weight(make: Make) -> None:
    picker = make(instances_of((5, 1, 1)), (5, 1, 1), Random(11))
    counts = Counter(picker.pick(CALL, (), 0.0) for _ in range(60_000))
    assert chi_squared(counts, instances_of((6, 1, 1))) > CRITICAL[2]


@both
def test_excluding_leaves_the_shares_of_the_others_as_they_are(make: Make) -> None:
    weights = (6, 1, 2, 4, 1)
    instances = instances_of(weights)
    picker = make(instances, weights, Random(5))
    counts = Counter(picker.pick(CALL, [instances[0]], 0.0) for _ in range(60_000))
    assert counts[instances[0]] == 0
    assert chi_squared(counts, instances[1:]) < CRITICAL[3]


@both
@given(st.lists(st.integers(1, 2**31), min_size=1, max_size=30), st.integers(0, 2**32), st.data())
def test_the_excluded_are_never_picked(make: Make, weights: list[int], seed: int, data: st.DataObject) -> None:
    instances = instances_of(weights)
    picker = make(instances, weights, Random(seed))
    for _ in range(10):
        excluded = data.draw(st.lists(st.sampled_from(instances), unique=True, max_size=len(instances)))
        instance = picker.pick(CALL, excluded, 0.0)
        if len(excluded) == len(instances):
            assert instance is None
        else:
            assert instance in instances
            assert instance not in excluded


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_the_alias_table_holds_the_shares(weights: list[int]) -> None:
    instances = instances_of(weights)
    columns = _alias_table(instances, weights)
    held: Counter[Instance] = Counter()
    shares = {instance: Fraction(0) for instance in instances}
    for own_share, own, alias in columns:
        assert 0 <= own_share <= 1
        shares[own] += Fraction(own_share)
        shares[alias] += 1 - Fraction(own_share)
        held[own] += 1
    assert set(held.values()) == {1}
    for instance, weight in zip(instances, weights, strict=True):
        assert shares[instance] / len(weights) == pytest.approx(weight / sum(weights), rel=1e-9)


@both
@pytest.mark.parametrize("drawn", [0.0, 0.5, 1 - 2**-53])
def test_the_ends_of_the_unit_interval(make: Make, drawn: float) -> None:
    class Fixed(Random):
        def random(self) -> float:
            return drawn

    instances = instances_of((3, 1, 2, 7, 1, 1, 1))
    assert make(instances, [instance.weight for instance in instances], Fixed()).pick(CALL, (), 0.0) in instances
