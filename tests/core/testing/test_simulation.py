"""Simulations can be repeated exactly, walk through the real rooms, and do to instances what they are told to."""

from __future__ import annotations

import asyncio
import gc
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import plugins
from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.retrier import STOP, Plan, Retrier, Retry
from elanus.errors import ConfigError, PluginError
from elanus.testing import InTurn
from elanus.testing.simulation import (
    Cold,
    Evenly,
    Exponential,
    Fault,
    Group,
    Kind,
    LogNormal,
    Mixture,
    Poisson,
    simulate,
)

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call
    from elanus.contracts.retrier import Verdict
    from elanus.endpoint import Endpoint
    from elanus.service import Instance
    from elanus.testing.simulation import Report


class Thrice(Retrier):
    """Up to three attempts, one after another; with a delay, up to that many at the same time."""

    name = "thrice"

    def __init__(self, delay: float | None = None) -> None:
        self.delay = delay

    def plan(self, call: Call, now: float) -> Plan:
        return ThricePlan(self.delay)


class ThricePlan(Plan):
    def __init__(self, delay: float | None) -> None:
        self._delay = delay

    def started(self, attempt: Call, now: float) -> float | None:
        return self._delay if attempt.attempt < 2 else None

    def due(self, now: float) -> Verdict:
        return Retry()

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        return Retry() if error is not None and attempt.attempt < 2 else STOP


def everything(report: Report) -> list[Any]:
    """All that a report holds, but what the run cost."""
    series = [[getattr(one, name) for name in one.__slots__] for one in report.series]
    return [report.as_dict(), list(report.latency.cumulated()), series, list(report.instances), list(report.events)]


def lively(seed: int, balancer: Any = None) -> Report:
    groups = [
        Group(4, latency=Mixture((0.9, LogNormal(0.010, 0.040)), (0.1, Exponential(0.2))), errors=0.02),
        Group(1, workers=3, faults=[Fault(2, 4, slower=5), Fault(5, 6, refusing=True), Fault(7, 8, silent=True)]),
        Group(2, joins=3, leaves=7, cold=Cold(2, 10), server={}),
    ]
    options: dict[str, Any] = {"timeout": 0.5, "retrier": Thrice(0.1), "balancer": balancer or InTurn()}
    return simulate(groups, Poisson({0: 200, 5: 400}), seconds=10, seed=seed, clients=2, **options)


def test_an_equal_run_gives_an_equal_report_to_the_last_digit() -> None:
    assert everything(lively(1)) == everything(lively(1))


def test_another_seed_gives_another_report() -> None:
    assert everything(lively(1)) != everything(lively(2))


class Chance(Balancer):
    """Picks by chance. As a plugin's balancer does, it starts somewhere unless it is told where."""

    name = "chance"

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        assert self.seed is not None
        return ChancePicker(list(instances), self.seed)


class ChancePicker(Picker):
    def __init__(self, instances: list[Instance], seed: int) -> None:
        self._instances = instances
        self._chance = Random(seed)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        able = [one for one in self._instances if one not in excluded]
        return self._chance.choice(able) if able else None


class ChancePlugin:
    """Offers it by name."""

    @staticmethod
    @elanus.hookimpl
    def elanus_balancers() -> Sequence[elanus.Provider[Balancer]]:
        def build(options: Any) -> Balancer:
            return Chance(options.get("seed"))

        return [elanus.Provider("chance", build)]


@pytest.fixture
def _chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_process", plugins.PluginSet())
    elanus.register(ChancePlugin())


@pytest.mark.usefixtures("_chance")
def test_policies_that_are_named_get_their_seed_from_that_of_the_run() -> None:
    assert everything(lively(1, "chance")) == everything(lively(1, "chance"))
    assert lively(1, "chance").instances != lively(2, "chance").instances


def test_an_unknown_policy_is_refused_before_anything_runs() -> None:
    with pytest.raises(PluginError, match="nosuch"):
        simulate(Group(), Poisson(1), calls=1, balancer="nosuch")


@pytest.mark.parametrize("wrong", [{}, {"calls": 1, "interval": 0}, {"calls": 1, "clients": 0}])
def test_a_run_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        simulate(Group(), Poisson(1), balancer=InTurn(), **wrong)


# -- the rooms -------------------------------------------------------------------------------------------------------


def test_a_middleware_sees_every_attempt() -> None:
    seen: list[tuple[int, str]] = []

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            assert call.instance is not None
            seen.append((call.attempt, call.instance.address))
            return await next_endpoint(call)

        return endpoint

    options: dict[str, Any] = {"instance_middlewares": [middleware], "retrier": Thrice(), "balancer": InTurn()}
    report = simulate(Group(3, errors=0.3), Evenly(100), calls=500, seed=1, **options)
    assert len(seen) == sum(report.attempts.values()) == sum(one.attempts for one in report.instances)
    assert report.attempts["first"] == 500
    assert report.attempts["retry"] == sum(attempt > 0 for attempt, _ in seen) > 100
    assert report.retried_calls == sum(attempt == 1 for attempt, _ in seen)
    assert report.errors == {"ApplicationError": report.failed}
    assert report.extra_load == report.attempts["retry"] / 500
    assert sum(one.retries for one in report.instances) == report.attempts["retry"]


def test_the_clock_of_the_rooms_is_that_of_the_simulation() -> None:
    elapsed: list[float] = []

    class Watching(InTurn):
        def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
            inner = super().picker(instances, previous)

            class WatchingPicker(Picker):
                def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
                    return inner.pick(call, excluded, now)

                def finished(self, instance: Instance, error: BaseException | None, seconds: float, now: float) -> None:
                    elapsed.append(seconds)

            return WatchingPicker()

    simulate(Group(latency=3.0, round_trip=0.5), Evenly(1), calls=10, balancer=Watching())
    assert elapsed[1:] == pytest.approx([3.5] * 9)
    assert elapsed[0] == pytest.approx(4.0)  # the first one connects


def test_a_timeout_ends_a_call_and_not_the_work() -> None:
    report = simulate(Group(latency=2.0, workers=1), Evenly(1), calls=10, timeout=1.0, balancer=InTurn())
    assert report.errors == {"RpcTimeoutError": 10}
    assert report.total.failures.greatest == pytest.approx(1.0, abs=0.02)
    # The connection cannot tell the instance, which does the work for nobody.
    only = report.instances[0]
    assert (only.attempts, only.succeeded, only.abandoned) == (10, 5, 5)
    assert only.longest_queue == 5


def test_where_instances_hear_of_it_work_ends_with_its_caller() -> None:
    group = Group(latency=2.0, workers=1, cancels=True)
    report = simulate(group, Evenly(1), calls=10, timeout=1.0, balancer=InTurn())
    assert (report.instances[0].succeeded, report.instances[0].longest_queue) == (0, 1)


def test_hedges_are_counted_apart_from_retries() -> None:
    group = Group(10, latency=Mixture((0.9, 0.010), (0.1, 1.0)))
    report = simulate(group, Evenly(100), calls=1_000, seed=4, retrier=Thrice(0.05), balancer=InTurn())
    assert report.attempts["retry"] == 0
    assert report.attempts["hedge"] == pytest.approx(110, abs=40)
    assert report.retried_calls == pytest.approx(100, abs=35)
    # A call whose first attempt is late ends some 50 ms later; one whose second is late as well, 100 ms.
    assert report.percentile(98) == pytest.approx(0.0605, rel=0.02)
    assert report.percentile(99.5) == pytest.approx(0.1105, rel=0.02)


def test_calls_are_of_several_kinds() -> None:
    kinds = {
        "read": Kind(share=3),
        "write": Kind(share=1, work=2, metadata={"who": "writer"}, options={"timeout": 5.0}, argument=lambda chance: 7),
    }
    seen: set[tuple[str, str | None, bool, bool]] = set()

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        def endpoint(call: Call) -> Any:
            who = call.metadata.transient.get("who")
            seen.add((call.method.name, who, call.deadline is not None, call.arguments == (7,)))
            return next_endpoint(call)

        return endpoint

    options: dict[str, Any] = {"middlewares": [middleware], "balancer": InTurn()}
    report = simulate(Group(2, latency=0.1), Evenly({0: 100}), calls=1_000, seed=2, kinds=kinds, **options)
    assert seen >= {("read", None, False, False), ("write", "writer", True, True)}
    assert {method for method, who, _, _ in seen if who is not None} == {"write"}
    assert report.kinds["read"].calls == pytest.approx(750, abs=45)
    assert report.kinds["read"].calls + report.kinds["write"].calls == report.calls == 1_000
    assert report.kinds["read"].latency.percentile(50) == pytest.approx(0.1005, rel=0.01)
    assert report.kinds["write"].latency.percentile(50) == pytest.approx(0.2005, rel=0.01)


def test_several_clients_share_the_load() -> None:
    def loads(clients: int) -> list[int]:
        report = simulate(Group(4, latency=1.0), Evenly(1), calls=8, clients=clients, balancer=InTurn())
        assert {who for _, who, _, _ in report.events} == {f"client {number + 1}" for number in range(clients)}
        return [one.attempts for one in report.instances]

    assert loads(1) == [2, 2, 2, 2]
    assert loads(4) == [4, 4, 0, 0]  # each of them begins with the first instance


def test_it_runs_inside_of_a_running_loop_as_well() -> None:
    def run() -> Report:
        return simulate(Group(2), Poisson(50), calls=100, seed=3, balancer=InTurn())

    async def main() -> Report:
        return run()

    assert everything(asyncio.run(main())) == everything(run())


def test_afterwards_the_clock_is_the_real_one() -> None:
    simulate(Group(), Evenly(1), calls=1, balancer=InTurn())
    from elanus import call, client

    assert vars(call)["monotonic"] is vars(client)["monotonic"] is time.monotonic


# -- cost ------------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_calls() -> None:
    objects: dict[int, int] = {}

    def counting(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            if call.arguments[0] in (2_000, 20_000):
                gc.collect()
                objects[call.arguments[0]] = len(gc.get_objects())
            return await next_endpoint(call)

        return endpoint

    group = Group(20, latency=LogNormal(0.010, 0.030), errors=0.01)
    options: dict[str, Any] = {"middlewares": [counting], "balancer": InTurn(), "timeout": 1.0, "retrier": Thrice()}
    simulate(group, Evenly(1_000), calls=20_001, interval=30.0, **options)
    # The same calls are in flight; what may differ are a few of them and the buckets of deadlines that come.
    assert objects[20_000] - objects[2_000] < 200


def test_a_run_leaves_nothing_behind() -> None:
    def run() -> None:
        simulate(Group(3, server={}), Poisson(100), calls=200, timeout=0.5, balancer=InTurn())

    run()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(3):
        run()
    gc.collect()
    assert len(gc.get_objects()) - before < 200
