"""Real clients against simulated fleets, in virtual time: what the balancer is for, beside plain turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.testing import InTurn
from elanus.testing.simulation import Cold, Fault, Group, LogNormal, Poisson, simulate
from elanus_balancer_latency import LatencyBalancer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.testing.simulation import Report

WELL = LogNormal(median=0.010, p99=0.040)


def both(groups: Sequence[Group], **options: Any) -> tuple[Report, Report]:
    """What becomes of the same 500 calls a second with plain turns, and with this balancer."""
    reports = [
        simulate(groups, Poisson(500), seed=3, timeout=1.0, balancer=balancer, **{"seconds": 20, **options})
        for balancer in (InTurn(), LatencyBalancer(seed=3))
    ]
    return reports[0], reports[1]


def test_one_of_ten_is_slow() -> None:
    turns, learned = both([Group(9, latency=WELL, name="well"), Group(1, latency=0.2, name="slow")])
    assert turns.percentile(99) > 0.19
    assert learned.percentile(99) < 0.06
    assert learned.load("slow").mean < 0.1 * turns.load("slow").mean


def test_one_of_ten_fails_all_calls_at_once() -> None:
    turns, learned = both([Group(9, latency=WELL, name="well"), Group(1, latency=0.0005, errors=1.0, name="broken")])
    assert turns.failed > 900
    assert learned.failed < 30


def test_one_of_ten_hangs_for_a_while() -> None:
    turns, learned = both(
        [Group(9, latency=WELL), Group(1, latency=WELL, faults=[Fault(start=5, end=15, silent=True)], name="hangs")]
    )
    assert turns.failed > 400
    assert learned.failed < 30
    assert learned.load("hangs").mean > 250, "before that, it has its share"


def test_one_of_five_joins_cold() -> None:
    turns, learned = both(
        [
            Group(4, latency=WELL, workers=4, name="well"),
            Group(1, latency=WELL, workers=4, joins=5, cold=Cold(10, 20.0), name="new"),
        ],
        seconds=60,
    )
    assert turns.failed > 300
    assert learned.failed < 30
    assert learned.load("new").mean > 2_500, "once it is warm it has its share"


def test_half_the_speed_gets_half_the_calls() -> None:
    turns, learned = both(
        [
            Group(4, latency=0.010, workers=2, name="well"),
            Group(1, latency=0.020, workers=2, name="half"),
        ]
    )
    share = learned.load("half").mean / learned.load("well").mean
    assert 0.3 < share < 0.8
    assert learned.percentile(99) < turns.percentile(99)


def test_a_fleet_of_equals_is_none_the_worse() -> None:
    turns, learned = both([Group(10, latency=WELL, workers=2, name="well")])
    assert learned.failed == 0
    assert learned.percentile(99) <= 1.1 * turns.percentile(99)
    counts = learned.load("well")
    assert counts.greatest < 1.3 * counts.mean
