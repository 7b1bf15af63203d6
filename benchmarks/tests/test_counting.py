"""The parts that could report something wrong without a process failing."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from .. import measuring
from ..__main__ import _verdict
from ..cores import Cores, Moment, disturbance
from ..measuring import Plan, Sample, Series, run_plan
from ..peers.load import ERROR_LIMIT, FINE_US, Latencies, Run, messages
from ..peers.one_room import ROOM_CHAINS
from ..peers.speaking import Asked
from ..rows import FLOOR, OURS, ROWS, WORKLOADS, chosen, chosen_workloads, room_row
from ..table import aims, costs, ratios, table

ASKED = Asked("client", "", 1, 64, 0.0, 0.0, "asyncio", "", "bare", False)
SAMPLE = Sample(1000.0, 50.0, 90.0, 10.0, 20.0, 30 << 20, 40 << 20, 3000, 0, 0, None, 0.0)


@dataclass
class Message:
    message: str


def of(name: str, **changes: object) -> Series:
    (row,) = chosen([name])
    return Series(row, WORKLOADS[0], [replace(SAMPLE, **changes)])  # type: ignore[arg-type]


def test_percentiles_are_those_of_the_sorted_samples() -> None:
    latencies = Latencies()
    for microseconds in range(1, 101):
        latencies.add((microseconds + 0.25) / 1e6)
    assert latencies.total == 100
    assert latencies.percentile_us(0.5) == pytest.approx(50.5)
    assert latencies.percentile_us(0.99) == pytest.approx(99.5)
    assert latencies.mean_us() == pytest.approx(51.0)


def test_slow_samples_count_too() -> None:
    latencies = Latencies()
    latencies.add(10 / 1e6)
    latencies.add(2 * FINE_US / 1e6)
    latencies.add(3 * FINE_US / 1e6)
    assert latencies.percentile_us(0.5) == pytest.approx(2 * FINE_US)
    assert latencies.percentile_us(1.0) == pytest.approx(3 * FINE_US)
    assert Latencies().percentile_us(0.99) == 0.0


def test_no_two_workers_or_turns_share_a_message() -> None:
    everything = [message for worker in range(100) for message in messages(worker, 64)]
    assert len(set(everything)) == 200
    assert {len(message) for message in everything} == {64}


async def test_a_reply_of_another_call_is_a_wrong_reply() -> None:
    run = Run(ASKED)
    run.measuring = True
    requests = [Message(text) for text in messages(0, 64)]
    calls = 0

    async def echo(request: Message) -> Message:
        nonlocal calls
        calls += 1
        run.stopping = calls == 4
        return requests[0]

    await run.work(echo, requests)
    assert (run.decoded, run.wrong, run.latencies.total) == (2, 2, 2)


async def test_calls_that_began_before_the_window_do_not_count() -> None:
    run = Run(ASKED)

    async def echo(request: Message) -> Message:
        run.stopping = run.measuring
        run.measuring = True
        return request

    await run.work(echo, [Message("only")])
    assert run.decoded == 1


async def test_a_client_that_only_fails_stops() -> None:
    run = Run(ASKED)

    async def echo(request: Message) -> Message:
        raise ConnectionError("gone")

    await asyncio.wait_for(run.work(echo, [Message("only")]), 30.0)
    assert run.errors == ERROR_LIMIT
    assert run.last_error == "ConnectionError('gone')"


def test_what_others_had_of_a_core_is_its_time_less_our_own() -> None:
    before, after = Moment(busy=10.0, stolen=1.0, own=5.0), Moment(busy=12.5, stolen=1.1, own=7.0)
    assert disturbance(before, after, 2.0) == pytest.approx((0.5 + 0.1) / 2.0)
    assert disturbance(None, after, 2.0) is None


def test_a_disturbed_round_is_repeated_and_the_best_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([replace(SAMPLE, disturbance=share) for share in (0.5, 0.0, 0.0, 0.3, 0.2, 0.4)])
    monkeypatch.setattr(measuring, "run_pair", lambda *_: next(given))
    plan = Plan(chosen(["raw uvloop"]), WORKLOADS[:1], rounds=4, seconds=1.0, warmup=0.0, repeats=2)
    (series,) = run_plan(plan, Cores(1, 0), None, lambda line: None)
    # Four rounds allow two repetitions in all: the third round has one left, the fourth has none.
    assert [sample.disturbance for sample in series.samples] == [0.0, 0.0, 0.2, 0.4]
    assert series.thrown == 2
    assert series.disturbed


@pytest.mark.parametrize("change", [{"wrong_replies": 1}, {"errors": 1}, {"decoded_replies": 0}])
def test_a_wrong_or_missing_reply_fails_the_run(change: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert _verdict([of(FLOOR)]) == 0
    assert _verdict([of(FLOOR), of(OURS[0], **change)]) == 1
    assert OURS[0] in capsys.readouterr().err


def test_ratios_are_to_the_floor_and_to_each_peer() -> None:
    ours = of(OURS[0], calls_per_second=500.0, server_cpu_us=25.0)
    measured = [of(FLOOR), ours, of("grpc.aio uvloop full", calls_per_second=40.0)]
    (line,) = [line for line in table(measured) if line.startswith(OURS[0])]
    assert "0.50" in line.split()
    assert "0.80" in line.split()
    assert any(line.startswith("grpc.aio uvloop full") and "12.50 (0.80)" in line for line in ratios(measured))


def test_an_aim_is_judged_by_cpu_where_others_had_the_cores() -> None:
    peer = of("thriftpy2 aio uvloop bare", calls_per_second=100.0, server_cpu_us=20.0)
    assert any("2 x thriftpy2" in line and "reached" in line for line in aims([of(OURS[0]), peer]))
    disturbed = of(OURS[0], disturbance=0.5)
    assert any("2 x thriftpy2" in line and "MISSED" in line for line in aims([disturbed, peer]))


def test_what_a_room_costs_is_told_beside_the_bare_chain() -> None:
    bare, alone = of(room_row("send-only"), calls_per_second=1_000.0), of(room_row("only-retrier"), client_cpu_us=10.0)
    together = of(room_row("all-on"), calls_per_second=850.0)
    told = costs([bare, alone, together])
    assert [line.partition(" costs ")[0] for line in told[1:3]] == ["only-retrier", "all-on"]
    assert "15.0% of send-only" in told[2]
    assert told[2].endswith("at most 20%: reached")
    slower = of(room_row("all-on"), calls_per_second=790.0)
    assert costs([bare, slower])[1].endswith("MISSED")
    assert costs([alone, together]) == [], "there is nothing to compare with"


def test_every_room_has_its_row_where_its_parts_are_installed() -> None:
    assert [row.name for row in chosen(["elanus mux send-only", "elanus mux only-*", "elanus mux all-on"])] == [
        room_row(chain) for chain in ROOM_CHAINS
    ]


def test_names_of_rows_are_unique_and_patterns_choose_them() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert all(first in names for first in (FLOOR, *OURS))
    assert [row.name for row in chosen(["raw*"])] == ["raw uvloop", "raw asyncio"]
    with pytest.raises(ValueError, match="raw uvloop"):
        chosen(["nothing"])
    assert [str(workload) for workload in chosen_workloads(["1024x1"])] == ["1 KB, 1 in flight"]
    with pytest.raises(ValueError, match="16384x100"):
        chosen_workloads(["1x1"])
    assert all(list(row.workloads) == [w for w in WORKLOADS if w in row.workloads] for row in ROWS)
