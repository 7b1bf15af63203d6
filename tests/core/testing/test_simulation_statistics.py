"""Histograms against exact computation, distributions against their formulas, arrivals against their rates."""

from __future__ import annotations

import itertools
from math import ceil, inf
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ConfigError
from elanus.testing.simulation import Constant, Evenly, Exponential, Histogram, LogNormal, Mixture, Poisson
from elanus.testing.simulation.latency import as_latency
from elanus.testing.simulation.statistics import ERROR, Interval, Spread

if TYPE_CHECKING:
    from elanus.testing.simulation import Latency

seconds = st.floats(min_value=1e-6, max_value=1e4)
percents = st.sampled_from([0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0])


def exact(values: list[float], percent: float) -> float:
    """The nearest-rank percentile, from all values."""
    return sorted(values)[max(ceil(percent / 100 * len(values) - 1e-9), 1) - 1]


def histogram(values: list[float]) -> Histogram:
    counted = Histogram()
    for value in values:
        counted.add(value)
    return counted


@given(st.lists(seconds, min_size=1, max_size=300), percents)
def test_a_percentile_is_off_by_half_a_percent_of_itself_at_most(values: list[float], percent: float) -> None:
    truth = exact(values, percent)
    assert abs(histogram(values).percentile(percent) - truth) <= ERROR * truth * (1 + 1e-9)


@given(st.lists(seconds, min_size=1, max_size=100), percents)
def test_an_interval_knows_the_same_percentiles_as_a_histogram(values: list[float], percent: float) -> None:
    counted, interval = Histogram(), Interval()
    for value in values:
        interval.add(counted.add(value))
    truth = exact(values, percent)
    assert interval.succeeded == len(values)
    assert abs(interval.percentile(percent) - truth) <= ERROR * truth * (1 + 1e-9)


@given(st.lists(seconds, min_size=1, max_size=100))
def test_count_mean_least_and_greatest_are_exact(values: list[float]) -> None:
    counted = histogram(values)
    assert (counted.count, counted.least, counted.greatest) == (len(values), min(values), max(values))
    assert counted.mean == pytest.approx(sum(values) / len(values))


@given(st.lists(st.lists(seconds, max_size=30), max_size=4))
def test_several_histograms_together_are_one_of_all_values(groups: list[list[float]]) -> None:
    together = Histogram.together(map(histogram, groups))
    at_once = histogram([value for group in groups for value in group])
    assert list(together.cumulated()) == list(at_once.cumulated())
    assert (together.count, together.least, together.greatest) == (at_once.count, at_once.least, at_once.greatest)


def test_what_is_too_small_or_too_large_for_a_bucket_is_counted_all_the_same() -> None:
    counted = histogram([0.0, 1e-9, 1e7])
    assert counted.count == 3
    assert counted.percentile(1) <= 1e-6
    assert counted.greatest == 1e7


def test_an_empty_histogram_answers_zero() -> None:
    assert (Histogram().percentile(99), Histogram().mean, Interval().percentile(50)) == (0.0, 0.0, 0.0)


def test_the_cumulated_counts_end_with_all_values() -> None:
    points = list(histogram([0.001, 0.002, 0.002, 0.5]).cumulated())
    assert [below for _, below in points] == [1, 3, 4]
    assert [value for value, _ in points] == pytest.approx([0.001, 0.002, 0.5], rel=ERROR)


def test_a_spread_is_that_of_the_whole_population() -> None:
    spread = Spread({"a": 2, "b": 4, "c": 6})
    assert (spread.least, spread.mean, spread.greatest) == (2, 4, 6)
    assert spread.variation == pytest.approx((8 / 3) ** 0.5 / 4)


DISTRIBUTIONS = [
    Constant(0.02),
    Exponential(0.02),
    LogNormal(0.02, 0.08),
    Mixture((0.9, 0.01), (0.1, Exponential(0.2))),
]


@pytest.mark.parametrize("latency", DISTRIBUTIONS, ids=lambda latency: type(latency).__name__)
def test_what_is_drawn_has_the_mean_that_is_said(latency: Latency) -> None:
    draw = latency.sampler(Random(7))
    assert sum(draw() for _ in range(50_000)) / 50_000 == pytest.approx(latency.mean, rel=0.03)


def test_a_lognormal_latency_has_its_median_and_its_99th_percentile() -> None:
    draw = LogNormal(median=0.010, p99=0.050).sampler(Random(3))
    counted = histogram([draw() for _ in range(50_000)])
    assert counted.percentile(50) == pytest.approx(0.010, rel=0.02)
    assert counted.percentile(99) == pytest.approx(0.050, rel=0.05)


def test_a_mixture_draws_each_part_by_its_share() -> None:
    draw = Mixture((3, 0.01), (1, 0.5)).sampler(Random(5))
    drawn = [draw() for _ in range(20_000)]
    assert set(drawn) == {0.01, 0.5}
    assert drawn.count(0.5) / len(drawn) == pytest.approx(0.25, abs=0.01)


def test_a_number_is_a_constant() -> None:
    assert as_latency(0.2) == Constant(0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Constant(-1),
        lambda: Exponential(0),
        lambda: LogNormal(0.1, 0.05),
        lambda: Mixture(),
        lambda: Mixture((0, 1.0)),
        lambda: Poisson(-1),
        lambda: Poisson({}),
        lambda: Evenly({-1: 5}),
        lambda: Evenly(inf),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        wrong()  # type: ignore[operator]


def arrivals(load: Poisson | Evenly, until: float) -> list[float]:
    following = load.instants(Random(11))
    found: list[float] = []
    at = following(0.0)
    while at < until:
        found.append(at)
        at = following(at)
    return found


def test_even_arrivals_come_at_equal_distances() -> None:
    assert arrivals(Evenly(4), 1.01) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_step_changes_the_rate_from_its_second_on() -> None:
    found = arrivals(Evenly({0: 10, 2: 100, 3: 0, 5: 10}), 5.95)
    edge = 0.005  # no arrival is as near to a full second as that, but those exactly on it
    per_second = [sum(second + edge < at <= second + 1 + edge for at in found) for second in range(6)]
    assert per_second == [10, 10, 100, 0, 0, 9]


def test_a_load_that_begins_later_or_ends_says_so() -> None:
    assert arrivals(Evenly({3: 1}), 5.5) == pytest.approx([4.0, 5.0])
    assert Evenly({0: 1, 2: 0}).instants(Random(0))(2.0) == inf


def test_poisson_arrivals_have_exponential_gaps() -> None:
    found = arrivals(Poisson(100), 200.0)
    gaps = [after - before for before, after in itertools.pairwise(found)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.03)
    assert variance**0.5 == pytest.approx(mean, rel=0.03)  # as of no other common distribution


def test_poisson_arrivals_follow_a_step() -> None:
    found = arrivals(Poisson({0: 100, 50: 300}), 100.0)
    assert sum(at < 50 for at in found) == pytest.approx(5_000, rel=0.05)
    assert sum(at >= 50 for at in found) == pytest.approx(15_000, rel=0.03)
