"""Simulated queues against what queueing theory says of them, at fixed seeds, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from elanus.testing import InTurn
from elanus.testing.simulation import Constant, Exponential, Group, LogNormal, Poisson, Users, simulate

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.endpoint import Endpoint
    from elanus.testing.simulation import Latency, Load, Report


def one_queue(latency: Latency, load: Load, *, workers: int | None = 1, seconds: float = 600, **options: Any) -> Report:
    group = Group(1, latency=latency, workers=workers, round_trip=0.0)
    return simulate(group, load, seconds=seconds, skip=seconds / 20, seed=42, balancer=InTurn(), **options)


def test_one_worker_with_exponential_service_is_an_mm1_queue() -> None:
    mu, arrivals = 100.0, 70.0
    report = one_queue(Exponential(1 / mu), Poisson(arrivals))
    assert report.latency.mean == pytest.approx(1 / (mu - arrivals), rel=0.05)
    # The time in an M/M/1 system is exponential itself: its median is ln 2 of its mean, its p99 ln 100.
    assert report.percentile(50) == pytest.approx(0.6931 / (mu - arrivals), rel=0.05)
    assert report.percentile(99) == pytest.approx(4.6052 / (mu - arrivals), rel=0.10)
    assert report.instances[0].worked / (report.until - report.since) == pytest.approx(arrivals / mu, rel=0.03)


def test_one_worker_with_constant_service_is_an_md1_queue() -> None:
    service, arrivals = 0.010, 80.0
    busy = service * arrivals
    report = one_queue(Constant(service), Poisson(arrivals))
    # Pollaczek and Khinchine
    assert report.latency.mean == pytest.approx(service + busy * service / (2 * (1 - busy)), rel=0.04)
    assert report.latency.least == pytest.approx(service)


def test_several_workers_are_an_mmc_queue() -> None:
    mu, arrivals, workers = 10.0, 35.0, 5
    report = one_queue(Exponential(1 / mu), Poisson(arrivals), workers=workers, seconds=2_000)
    # Erlang's C formula for 5 servers at 3.5 erlang: the share of calls that wait.
    terms = [1.0]
    for number in range(1, workers + 1):
        terms.append(terms[-1] * (arrivals / mu) / number)
    last = terms.pop() * workers / (workers - arrivals / mu)
    waits = last / (sum(terms) + last)
    assert report.latency.mean == pytest.approx(1 / mu + waits / (workers * mu - arrivals), rel=0.05)


def test_without_workers_nothing_waits() -> None:
    report = one_queue(Constant(0.05), Poisson(500), workers=None, seconds=20)
    assert [report.latency.least, report.latency.greatest] == pytest.approx([0.05, 0.05])


def test_littles_law_holds() -> None:
    """What is in the system on average is the rate of arrivals times the time that each one stays."""
    present = area = last = 0.0

    def counted(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            nonlocal present, area, last
            arrived = call.timeline[0][1]
            area, last, present = area + present * (arrived - last), arrived, present + 1
            try:
                return await next_endpoint(call)
            finally:
                call.mark("left")
                left = call.timeline[-1][1]
                area, last, present = area + present * (left - last), left, present - 1

        return endpoint

    group = Group(1, latency=LogNormal(0.010, 0.050), workers=2, round_trip=0.0)
    report = simulate(group, Poisson(120), seconds=300, seed=3, balancer=InTurn(), middlewares=[counted])
    rate = report.calls / report.until
    assert area / report.until == pytest.approx(rate * report.latency.mean, rel=1e-3)


def test_users_wait_for_replies() -> None:
    """The interactive response time law: as many calls as users can make, who think between them."""
    report = one_queue(Exponential(0.010), Users(20, think=Exponential(0.5)), workers=4, seconds=300)
    throughput = report.succeeded / (report.until - report.since)
    assert throughput == pytest.approx(20 / (report.latency.mean + 0.5), rel=0.03)


def test_a_full_worker_does_as_much_as_it_can() -> None:
    report = one_queue(Constant(0.010), Users(50), workers=3, seconds=30)
    assert report.goodput == pytest.approx(3 / 0.010, rel=0.01)
    assert report.instances[0].longest_queue == 47
