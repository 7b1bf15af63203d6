"""The simulations that come with elanus: what each policy does, beside what happens without it.

They name policies as an application does, and run with what is installed: ``pip install 'elanus[thrift,governance]'``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.contracts.retrier import STOP, Plan, Retrier, Retry
from elanus.limits import Limits
from elanus.options import PoolOptions
from elanus.priority import Priority
from elanus.testing.simulation.fleet import Fault, Group
from elanus.testing.simulation.latency import Exponential, LogNormal, Mixture
from elanus.testing.simulation.load import Kind, Poisson
from elanus.testing.simulation.run import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus.call import Call
    from elanus.contracts.retrier import Verdict
    from elanus.testing.simulation.report import Report

__all__ = ["SCENARIOS", "Scenario"]

#: One run, from its seed.
Run: TypeAlias = "Callable[[int], Report]"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Several runs that differ in one thing.

    :param title: what is compared, in one sentence.
    :param runs: by the name of what differs.
    :param costly: takes minutes, so it runs only when it is named.
    """

    title: str
    runs: Mapping[str, Run]
    costly: bool = False


def _slow_instance(balancer: str) -> Run:
    """Ten instances, of which one takes twenty times as long as the others."""

    def run(seed: int) -> Report:
        usual, slow = LogNormal(0.010, 0.030), LogNormal(0.200, 0.600)
        groups = [Group(9, latency=usual, name="healthy"), Group(1, latency=slow, name="slow")]
        return simulate(groups, Poisson(500), seconds=60, skip=10, seed=seed, balancer=balancer, timeout=2.0)

    return run


def _dead_host(breaker: str | None) -> Run:
    """Ten instances; from the 10th to the 40th second the host of one is off, and connecting to it times out."""

    def run(seed: int) -> Report:
        off = Fault(10, 40, refusing=True, silent=True)
        latency = LogNormal(0.010, 0.030)
        groups = [Group(9, latency=latency, name="healthy"), Group(1, latency=latency, faults=[off], name="off")]
        options: dict[str, Any] = {"connect_timeout": 0.2, "timeout": 1.0, "instance_breaker": breaker}
        return simulate(groups, Poisson(500), seconds=60, seed=seed, balancer="weighted", **options)

    return run


class Insistent(Retrier):
    """What is written in a hurry: up to three attempts, at once and whatever happens."""

    name = "insistent"

    def plan(self, call: Call, now: float) -> Plan:
        return _InsistentPlan()


class _InsistentPlan(Plan):
    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        return Retry() if error is not None and attempt.attempt < 2 else STOP


def _retry_storm(retrier: Any) -> Run:
    """Servers that are busy to 70 % are three times as slow for five seconds. Nobody tells them who waits no longer."""

    def run(seed: int) -> Report:
        bad = Fault(10, 15, slower=3)
        group = Group(2, latency=Exponential(0.020), workers=10, faults=[bad])
        options = {"attempt_timeout": 0.2, "retrier": retrier}
        return simulate(group, Poisson(700), seconds=60, seed=seed, balancer="weighted", **options)

    return run


def _late_replies(retrier: Any) -> Run:
    """5 % of the replies come after half a second, whatever the instance."""

    def run(seed: int) -> Report:
        group = Group(10, latency=Mixture((0.95, LogNormal(0.010, 0.020)), (0.05, 0.500)))
        options = {"timeout": 2.0, "retrier": retrier}
        return simulate(group, Poisson(500), seconds=90, skip=10, seed=seed, balancer="weighted", **options)

    return run


#: Calls per second that the servers of the overload can do.
_CAPACITY = 1_000


def _overload(load: float, *, limiter: Any = None, enforce_deadline: bool = True) -> Run:
    """Two servers of ten workers each, 20 ms a call; *load* times of what they can do. Callers wait half a second."""

    def run(seed: int) -> Report:
        # Without core's hard limit of 10,000 calls in flight, to show what a limiter is for.
        server = {"enforce_deadline": enforce_deadline, "limits": Limits(calls=1_000_000)}
        group = Group(2, latency=Exponential(0.020), workers=10, limiter=limiter, server=server)
        arrivals = Poisson(load * _CAPACITY)
        return simulate(group, arrivals, seconds=20, skip=5, seed=seed, balancer="weighted", timeout=0.5)

    return run


def _priorities(limiter: Any) -> Run:
    """The same servers at twice what they can do; every fourth call matters more than the others."""

    def run(seed: int) -> Report:
        group = Group(2, latency=Exponential(0.020), workers=10, limiter=limiter, server={})
        kinds = {
            "checkout": Kind(share=1, metadata=Priority.HIGH.metadata),
            "prefetch": Kind(share=3, metadata=Priority.LOW.metadata),
        }
        options: dict[str, Any] = {"balancer": "weighted", "timeout": 0.5}
        return simulate(group, Poisson(2 * _CAPACITY), seconds=20, skip=5, seed=seed, kinds=kinds, **options)

    return run


def _together(load: float, balancer: str, *, policies: bool = True) -> Run:
    """Ten servers that shed what is too much, under clients that have everything against failures."""

    def run(seed: int) -> Report:
        group = Group(10, latency=Exponential(0.020), workers=4, limiter="adaptive", server={})
        clients: dict[str, Any] = {"service_breaker": "window", "retrier": "budget"} if policies else {}
        arrivals = Poisson(load * 2 * _CAPACITY)
        return simulate(group, arrivals, seconds=9, skip=3, seed=seed, balancer=balancer, timeout=0.5, **clients)

    return run


def fleet(instances: int, calls: int) -> Run:
    """A large fleet under a balancer that learns, with deadlines; one instance in a hundred is slow."""

    def run(seed: int) -> Report:
        usual, slow = LogNormal(0.010, 0.040), LogNormal(0.100, 0.400)
        few = instances // 100
        groups = [Group(instances - few, latency=usual, name="healthy"), Group(few, latency=slow, name="slow")]
        pool = PoolOptions(idle_in_all=2 * instances, open_in_all=2 * instances)
        arrivals = Poisson(10.0 * instances)
        return simulate(groups, arrivals, calls=calls, seed=seed, balancer="latency", timeout=1.0, pool=pool)

    return run


_HEDGE = ("budget", {"retries": 1, "hedge_after": 0.05, "share": 0.05, "min_per_second": 0.0})
_TOKEN = ("token", {"concurrency": 15})

SCENARIOS: Mapping[str, Scenario] = {
    "slow-instance": Scenario(
        "One of ten instances is twenty times as slow: the weighted balancer, and the one that learns latency",
        {"weighted": _slow_instance("weighted"), "latency": _slow_instance("latency")},
    ),
    "dead-host": Scenario(
        "The host of one of ten instances is off for 30 s: without a breaker, and with one for each instance",
        {"no breaker": _dead_host(None), "window": _dead_host("window")},
    ),
    "retry-storm": Scenario(
        "Servers are slow for 5 s: without retries, with retries that know no bounds, and with a budget",
        {
            "no retries": _retry_storm(None),
            "no budget": _retry_storm(Insistent()),
            "budget": _retry_storm(("budget", {"retries": 2})),
        },
    ),
    "hedging": Scenario(
        "5 % of the replies take 500 ms: without and with a second attempt after 50 ms",
        {"no hedge": _late_replies(None), "hedge": _late_replies(_HEDGE)},
    ),
    "overload": Scenario(
        "Three times what servers can do: without a limiter, with limits, and what the same servers do otherwise",
        {
            "half load": _overload(0.5),
            "3 x, nothing": _overload(3, enforce_deadline=False),
            "3 x, deadlines": _overload(3),
            "3 x, token": _overload(3, limiter=_TOKEN),
            "3 x, adaptive": _overload(3, limiter="adaptive"),
        },
    ),
    "priorities": Scenario(
        "Twice what servers can do, a quarter of it important: which calls are shed",
        {"token": _priorities(_TOKEN), "adaptive": _priorities("adaptive")},
    ),
    "together": Scenario(
        "More than ten servers with limiters can do: clients that only take turns, and with all policies at once",
        {
            "1.2 x, weighted": _together(1.2, "weighted", policies=False),
            "1.2 x, together": _together(1.2, "latency"),
            "2 x, weighted": _together(2, "weighted", policies=False),
            "2 x, together": _together(2, "latency"),
        },
    ),
    "fleet": Scenario(
        "10,000 instances, of which 100 are slow, and 10 million calls, balanced by latency",
        {"latency": fleet(10_000, 10_000_000)},
        costly=True,
    ),
}
