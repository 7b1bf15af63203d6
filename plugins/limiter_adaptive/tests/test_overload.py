"""Three times more than a server can do, in the simulator, with its real rooms: what goodput and latency are left.

The bounds are the ones that elanus promises: at least 80 % of the peak, and a 99th percentile of admitted calls within
three times that of the unloaded server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from elanus.priority import Priority
from elanus.testing import InTurn
from elanus.testing.simulation import Exponential, Fault, Group, Kind, LogNormal, Poisson, simulate
from elanus_limiter_adaptive import AdaptiveLimiter

if TYPE_CHECKING:
    from elanus.testing.simulation import Report

WORKERS = 8
#: Seconds that each call keeps a worker busy: the distribution, and its mean.
LATENCIES: dict[str, tuple[Any, float]] = {
    "constant": (0.020, 0.020),
    "lognormal": (LogNormal(median=0.018, p99=0.050), 0.0198),
    "exponential": (Exponential(0.020), 0.020),
}


def run(latency: Any, rate: Any, limiter: AdaptiveLimiter | None = None, **options: Any) -> Report:
    """Twelve seconds of load, of which the first four do not count."""
    group = Group(1, latency=latency, workers=WORKERS, limiter=limiter, server={}, faults=options.pop("faults", ()))
    settings = {"seconds": 12, "skip": 4, "seed": 3, "balancer": InTurn(), "timeout": 1.0, **options}
    return simulate(group, Poisson(rate), **settings)


@pytest.mark.parametrize("algorithm", ["gradient", "aimd"])
@pytest.mark.parametrize("shape", LATENCIES)
def test_three_times_too_much(shape: str, algorithm: str) -> None:
    latency, mean = LATENCIES[shape]
    capacity = WORKERS / mean
    unloaded = run(latency, 0.2 * capacity)
    overloaded = run(latency, 3 * capacity, AdaptiveLimiter(algorithm=algorithm))
    assert unloaded.total.failed == 0
    assert overloaded.goodput >= 0.8 * capacity
    assert overloaded.percentile(99) <= 3 * unloaded.percentile(99)


def test_without_a_limiter_it_would_be_lost() -> None:
    """What the test above would say of a server that takes everything on."""
    latency, mean = LATENCIES["constant"]
    capacity = WORKERS / mean
    overloaded = run(latency, 3 * capacity)
    assert overloaded.goodput < 0.2 * capacity


@pytest.mark.parametrize("algorithm", ["gradient", "aimd"])
def test_a_load_that_fits_is_served_whole(algorithm: str) -> None:
    latency, mean = LATENCIES["lognormal"]
    report = run(latency, 0.7 * WORKERS / mean, AdaptiveLimiter(algorithm=algorithm))
    assert report.total.failed <= 0.005 * report.total.calls


def test_a_minute_of_overload_is_no_different_from_a_second() -> None:
    """What is taken for the latency of a quiet server must not creep upwards, nor the limit with it."""
    latency, mean = LATENCIES["constant"]
    capacity = WORKERS / mean
    unloaded = run(latency, 0.2 * capacity)
    limiter = AdaptiveLimiter(probe_interval=10.0)
    overloaded = run(latency, 2 * capacity, limiter, seconds=60, skip=40)
    assert overloaded.goodput >= 0.8 * capacity
    assert overloaded.percentile(99) <= 3 * unloaded.percentile(99)
    (method,) = limiter.state.methods.values()
    assert 0.020 <= method.baseline <= 0.025


def test_a_server_that_has_become_slower_for_good_is_used_again() -> None:
    """What looks like a queue at first is learnt to be the new latency."""
    latency, mean = LATENCIES["constant"]
    capacity = WORKERS / mean
    slower = [Fault(start=5.0, slower=2.0)]
    report = run(latency, 2 * capacity, AdaptiveLimiter(), faults=slower, seconds=30, skip=20)
    assert report.goodput >= 0.8 * capacity / 2


def test_a_rush_after_a_quiet_time_is_limited_at_once() -> None:
    latency, mean = LATENCIES["constant"]
    capacity = WORKERS / mean
    report = run(latency, {0: 0.3 * capacity, 6: 3 * capacity}, AdaptiveLimiter(), skip=6)
    assert report.goodput >= 0.8 * capacity
    assert report.percentile(99) <= 0.1


@pytest.mark.parametrize("algorithm", ["gradient", "aimd"])
def test_low_priority_is_shed_first(algorithm: str) -> None:
    """Half of what the server can do is normal, and two and a half times as much is low: the normal half is served."""
    latency, mean = LATENCIES["lognormal"]
    kinds = {
        "normal": Kind(share=1),
        "low": Kind(share=5, metadata=Priority.LOW.metadata),
    }
    limiter = AdaptiveLimiter(algorithm=algorithm)
    report = run(latency, 3 * WORKERS / mean, limiter, kinds=kinds)
    normal, low = report.kinds["normal"], report.kinds["low"]
    assert normal.succeeded >= 0.95 * normal.calls
    assert low.succeeded <= 0.35 * low.calls
    assert report.goodput >= 0.8 * WORKERS / mean


def test_low_priority_alone_may_use_the_whole_server() -> None:
    latency, mean = LATENCIES["lognormal"]
    kinds = {"low": Kind(metadata=Priority.LOW.metadata)}
    report = run(latency, 3 * WORKERS / mean, AdaptiveLimiter(), kinds=kinds)
    assert report.goodput >= 0.8 * WORKERS / mean
