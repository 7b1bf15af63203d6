"""Smooth weighted round robin: nginx's order, place by place, however it was worked out."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_weighted import WeightedBalancer, smooth
from elanus_balancer_weighted.smooth import SmoothOrder, SmoothPicker, is_affordable
from elanus_balancer_weighted.stride import StridePicker
from elanus_balancer_weighted.weights import reduced

CALL = make_call()
weights_lists = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def nginx(weights: list[int], picks: int) -> list[int]:
    """``ngx_http_upstream_get_peer``, as plainly as it can be written."""
    current = [0] * len(weights)
    picked = []
    for _ in range(picks):
        best = None
        for index, weight in enumerate(weights):
            current[index] += weight
            if best is None or current[index] > current[best]:
                best = index
        assert best is not None
        current[best] -= sum(weights)
        picked.append(best)
    return picked


def make(weights: list[int], seed: int = 0) -> tuple[SmoothPicker, list[Instance]]:
    instances = [Instance(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]
    return SmoothPicker(instances, weights, Random(seed)), instances


def pick(picker: SmoothPicker | StridePicker, excluded: list[Instance] | tuple[()] = ()) -> Instance:
    instance = picker.pick(CALL, excluded, 0.0)
    assert instance is not None
    return instance


def test_the_order_that_nginx_documents() -> None:
    # From the commit message that brought the algorithm to nginx (52327e0627f4, 2012): a a b a c a a.
    assert "".join("abc"[index] for index in islice(SmoothOrder([5, 1, 1]), 14)) == "aabacaa" * 2


@given(weights_lists)
def test_the_order_is_that_of_nginx(weights: list[int]) -> None:
    picks = 2 * sum(weights) + 3
    assert list(islice(SmoothOrder(weights), picks)) == nginx(weights, picks)


@given(weights_lists, st.integers(0, 2**32))
def test_picks_are_that_order_from_some_place_on(weights: list[int], seed: int) -> None:
    picker, instances = make(weights, seed)
    period = sum(weights)
    order = nginx(weights, 2 * period)
    start = picker._position
    picked = [instances.index(pick(picker)) for _ in range(period)]
    assert picked == order[start : start + period]


@given(weights_lists, st.integers(0, 2**32), st.integers(0, 400))
def test_any_window_of_one_period_has_each_as_often_as_its_weight(weights: list[int], seed: int, first: int) -> None:
    picker, instances = make(weights, seed)
    for _ in range(first):
        pick(picker)
    counts = Counter(pick(picker) for _ in range(sum(weights)))
    assert [counts[instance] for instance in instances] == weights


@given(weights_lists, st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 50))
def test_the_order_is_the_same_when_it_is_worked_out_on_the_way(
    weights: list[int], seed: int, batch: int, ahead: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smooth, "_BATCH", batch)
        patch.setattr(smooth, "_AHEAD", ahead * 12)
        picker, instances = make(weights, seed)
        start = picker._position
        period = sum(weights)
        picked = [instances.index(pick(picker)) for _ in range(2 * period)]
    order = nginx(weights, 3 * period)
    assert picked == order[start : start + 2 * period]
    assert len(picker._order) <= period


def test_equal_weights_are_a_plain_round_robin() -> None:
    picker, instances = make([1] * 5, seed=3)
    first = instances.index(pick(picker))
    assert [pick(picker) for _ in range(10)] == [instances[(first + step) % 5] for step in range(1, 11)]


def test_each_place_is_as_likely_a_start_as_any_other() -> None:
    instances = [Instance("a", 5), Instance("b", 1), Instance("c", 1)]
    balancer = WeightedBalancer(seed=7)
    counts = Counter(balancer.picker(instances).pick(CALL, (), 0.0) for _ in range(7_000))
    assert 4_700 < counts[instances[0]] < 5_300
    assert 800 < counts[instances[1]] < 1_200


def test_a_common_divisor_makes_no_longer_period() -> None:
    picker = WeightedBalancer(1).picker([Instance("a", 500), Instance("b", 100), Instance("c", 100)])
    assert isinstance(picker, SmoothPicker)
    assert len(picker._order) == 7


@given(weights_lists, st.data())
def test_the_excluded_are_never_picked_and_move_nobody(weights: list[int], data: st.DataObject) -> None:
    picker, instances = make(weights)
    plain, _ = make(weights)
    for _ in range(60):
        excluded = data.draw(st.lists(st.sampled_from(instances), unique=True, max_size=len(instances)))
        instance, expected = picker.pick(CALL, excluded, 0.0), pick(plain)
        if len(excluded) == len(instances):
            assert instance is None
        elif expected not in excluded:
            assert instance == expected, "whoever's turn it is gets the call, whatever was skipped before"
        else:
            assert instance is not None
            assert instance not in excluded


def test_calls_that_skip_the_heavy_one_are_spread_over_all_others() -> None:
    # The excluded one has 1,000 places in a row: a walk along the order would not leave them.
    weights = [100_000, *[1] * 50]
    picker, instances = make(weights)
    counts = Counter(picker.pick(CALL, instances[:1], 0.0) for _ in range(5_000))
    assert set(counts) == set(instances[1:])
    assert max(counts.values()) < 3 * 5_000 / 50


def test_two_picks_of_the_heavy_one_are_spread_out() -> None:
    picker, instances = make([10, 7, 3])
    picked = [pick(picker) for _ in range(40)]
    places = [place for place, instance in enumerate(picked) if instance == instances[0]]
    assert {after - before for before, after in pairwise(places)} <= {1, 2, 3}
    places = [place for place, instance in enumerate(picked) if instance == instances[2]]
    assert all(5 <= after - before <= 9 for before, after in pairwise(places))


@pytest.mark.parametrize(
    ("weights", "affordable"),
    [
        ([1] * 10_000, True),
        ([1 + number % 10 for number in range(10_000)], True),
        ([1 + number % 100 for number in range(10_000)], False),  # 100 comparisons a place
        ([2**31, 1], False),  # two thousand million places
        (list(range(1, 41)), True),  # 40 groups, and a short period
    ],
)
def test_the_order_is_kept_only_where_it_is_short_and_cheap(weights: list[int], affordable: bool) -> None:
    assert is_affordable(weights) is affordable
    picker = WeightedBalancer(1).picker([Instance(f"{n}:1", weight) for n, weight in enumerate(weights)])
    assert isinstance(picker, SmoothPicker if affordable else StridePicker)
    if isinstance(picker, SmoothPicker):
        assert len(picker._order) <= 100_000


@given(st.lists(st.integers(1, 10**40), min_size=1, max_size=20))
def test_reduced_weights_keep_their_shares(weights: list[int]) -> None:
    small = reduced([Instance(f"{number}:1", weight) for number, weight in enumerate(weights)])
    assert max(small) <= max(2**31, 1)
    assert min(small) >= 1
    for weight, least in zip(weights, small, strict=True):
        assert abs(weight / max(weights) - least / max(small)) <= 1e-9
