"""Simulations: what a balancer, breaker, limiter or retrier does to a fleet, before it does it to yours. ::

    from elanus.testing.simulation import Group, LogNormal, Poisson, simulate

    report = simulate(
        [
            Group(9, latency=LogNormal(median=0.010, p99=0.040), name="healthy"),
            Group(1, latency=0.200, name="slow"),
        ],
        Poisson(2_000),  # calls per second
        seconds=60,
        seed=1,
        balancer="weighted",  # and every other option of elanus.Client
        timeout=1.0,
    )
    print(report.percentile(99), report.goodput, report.load("slow").mean)
    report.write("slow-instance", plots="svg")

The clients are real: :class:`elanus.Client` with all its rooms, and the policies, by name or as objects, are those that
run in production. So are the servers of groups with ``limiter=`` or ``server=``. Simulated is what stands around them:
instances (:class:`Group`, with :class:`Fault` and :class:`Cold`), how long they take (a number, :class:`Constant`,
:class:`Exponential`, :class:`LogNormal`, :class:`Mixture`), who calls (:class:`Poisson`, :class:`Evenly`,
:class:`Users`, in :class:`Kind` of calls), and time, which jumps. Equal
arguments give equal reports, to the last digit.

Memory does not grow with the number of calls: histograms instead of lists. A call takes some 20 us of real time, and
some 50 through a real server.

``python -m elanus.testing.simulation`` runs the scenarios that come with elanus.
"""

from __future__ import annotations

from elanus.testing.simulation.comparing import compare
from elanus.testing.simulation.fleet import Cold, Fault, Group
from elanus.testing.simulation.latency import Constant, Exponential, Latency, LogNormal, Mixture
from elanus.testing.simulation.load import Evenly, Kind, Load, Poisson, Users
from elanus.testing.simulation.report import InstanceReport, KindReport, Report
from elanus.testing.simulation.run import simulate
from elanus.testing.simulation.statistics import Histogram

__all__ = [
    "Cold",
    "Constant",
    "Evenly",
    "Exponential",
    "Fault",
    "Group",
    "Histogram",
    "InstanceReport",
    "Kind",
    "KindReport",
    "Latency",
    "Load",
    "LogNormal",
    "Mixture",
    "Poisson",
    "Report",
    "Users",
    "compare",
    "simulate",
]
