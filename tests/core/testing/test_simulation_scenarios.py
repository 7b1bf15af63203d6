"""The scenarios that come with elanus show what they are there to show, with the plugins that they name."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from elanus.testing.simulation.__main__ import main
from elanus.testing.simulation.scenarios import SCENARIOS, fleet

if TYPE_CHECKING:
    from pathlib import Path

    from elanus.testing.simulation import Report


@cache
def run(scenario: str, variant: str) -> Report:
    return SCENARIOS[scenario].runs[variant](1)


def test_a_balancer_that_learns_takes_the_slow_instance_out_of_the_tail() -> None:
    weighted, learning = run("slow-instance", "weighted"), run("slow-instance", "latency")
    assert weighted.percentile(99) > 0.200
    assert learning.percentile(99) < 0.050
    assert learning.load("slow").mean < weighted.load("slow").mean / 20


def test_a_breaker_spares_calls_the_wait_for_a_dead_host() -> None:
    without, breaker = run("dead-host", "no breaker"), run("dead-host", "window")
    assert without.percentile(99) > 0.200 > 0.050 > breaker.percentile(99)
    changes = breaker.events_named("instance_cb")
    assert 10 < changes[0][0] < 20
    assert "CLOSED -> OPEN" in changes[0][2]
    # Back in service: it gets its share again.
    assert 40 < changes[-1][0] < 50
    assert "HALFOPEN -> CLOSED" in changes[-1][2]
    assert breaker.instances[-1].attempts > 0.4 * breaker.load("healthy").mean


def test_retries_without_a_bound_keep_a_service_down_and_a_budget_does_not() -> None:
    unbounded, budget = run("retry-storm", "no budget"), run("retry-storm", "budget")
    assert sum(one.succeeded for one in unbounded.series[30:60]) == 0
    assert all(one.failed < one.began / 20 for one in budget.series[30:60])
    assert unbounded.extra_load > 1.5
    assert budget.extra_load < 0.2


def test_a_hedge_brings_the_tail_down_to_its_delay_and_a_usual_call() -> None:
    hedge = run("hedging", "hedge")
    assert hedge.percentile(99) < 0.050 + 2 * hedge.percentile(50)
    assert 0.04 < hedge.extra_load <= 0.05
    assert hedge.failed == 0


@pytest.mark.parametrize("limiter", ["token", "adaptive"])
def test_a_limiter_keeps_goodput_and_latency_at_three_times_the_load(limiter: str) -> None:
    quiet, limited = run("overload", "half load"), run("overload", f"3 x, {limiter}")
    assert limited.goodput > 0.8 * 1_000  # what the servers can do
    assert limited.percentile(99) < 3 * quiet.percentile(99)
    assert limited.refused == pytest.approx(limited.failed, rel=0.01)


def test_what_matters_less_is_shed_first() -> None:
    adaptive = run("priorities", "adaptive")
    important, other = adaptive.kinds["checkout"], adaptive.kinds["prefetch"]
    assert important.succeeded / important.calls > 0.9
    assert other.succeeded / other.calls < 0.5


@pytest.mark.parametrize("load", ["1.2 x", "2 x"])
def test_policies_that_meet_make_no_outage_of_an_overload(load: str) -> None:
    turns, together = run("together", f"{load}, weighted"), run("together", f"{load}, together")
    assert together.goodput > 0.8 * 2_000  # what the servers can do
    assert together.goodput > 0.97 * turns.goodput
    assert together.refused > 0
    assert not together.events_named("service_cb")
    assert not together.events_named("instance_ejected")


def test_a_fleet_runs() -> None:
    """The large one, in small."""
    report = fleet(200, 20_000)(1)
    assert (report.succeeded, report.failed) == (20_000, 0)
    assert report.load("slow").mean < report.load("healthy").mean / 2


def test_the_command_says_which_scenarios_there_are() -> None:
    done = CliRunner().invoke(main, ["--list"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()] == list(SCENARIOS)


def test_the_command_runs_a_scenario_and_writes_its_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["hedging", "--out", str(tmp_path), "--plots", "svg", "--seed", "2"])
    assert done.exit_code == 0, done.output
    head, _, first, second = done.output.splitlines()[:4]
    assert head.startswith("hedging: ")
    assert (first[:8], second[:5]) == ("no hedge", "hedge")
    place = tmp_path / "hedging"
    assert {path.name for path in place.iterdir()} == {
        *("comparison.csv", "latency.svg", "series.svg", "instances.svg", "no-hedge", "hedge")
    }
    assert json.loads((place / "hedge" / "summary.json").read_text())["failed"] == 0


def test_a_scenario_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(main, ["nosuch"])
    assert done.exit_code == 2
    assert "slow-instance" in done.output
