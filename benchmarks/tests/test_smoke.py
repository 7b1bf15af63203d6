"""The whole harness once, with real processes: what it reports must have happened. Nothing here looks at a speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..idle import idle
from ..processes import ROOT, Peer, PeerFailedError, python_peer
from ..rows import chosen

#: Every row of raw and elanus alone: what needs no other framework and no Go.
OURS = ("raw*", "elanus*bare", "elanus*full", "elanus*every-room", "elanus mux send-only", "elanus mux all-on")

pytestmark = pytest.mark.bench


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a quick run of our own rows prints, and the folder of its files."""
    folder = tmp_path_factory.mktemp("results")
    done = bench("--quick", "--rows", ",".join(OURS), "--output", str(folder))
    assert done.returncode == 0, done.stderr
    (written,) = folder.iterdir()
    return done.stdout, written


@pytest.fixture(scope="module")
def series(quick: tuple[str, Path]) -> dict[str, Any]:
    """The JSON report by row name."""
    report = json.loads((quick[1] / "results.json").read_text())
    return {item["row"]: item for item in report["series"]}


def test_every_reply_is_decoded_and_is_its_own_calls(series: dict[str, Any]) -> None:
    assert list(series) == [row.name for row in chosen(OURS)]
    assert len(series) == 11
    for name, item in series.items():
        (sample,) = item["samples"]
        assert sample["decoded_replies"] > 0, name
        assert (sample["wrong_replies"], sample["errors"], sample["last_error"]) == (0, 0, None), name
        assert sample["client_cpu_us"] > 0 < sample["server_cpu_us"], name
        assert sample["client_rss_bytes"] > 1 << 20 < sample["server_rss_bytes"], name


def test_the_floors_frames_are_as_large_as_elanuss_requests(series: dict[str, Any]) -> None:
    raw = series["raw uvloop"]["samples"][0]["client_facts"]["request_bytes"]
    ours = series["elanus mux uvloop full"]["samples"][0]["client_facts"]["request_bytes"]
    assert abs(raw - ours) <= 16


def test_the_rooms_are_those_of_the_chain(series: dict[str, Any]) -> None:
    rooms = {name: item["samples"][0]["client_facts"].get("rooms") for name, item in series.items()}
    assert {"timeout", "resolve"} <= set(rooms["elanus mux uvloop full"])
    everything = series["elanus mux uvloop every-room"]["samples"][0]
    assert {"trace", "retry", "service_breaker", "acl", "error_map"} <= set(everything["client_facts"]["rooms"])
    assert {"trace", "limit", "breaker", "acl", "error_map"} <= set(everything["server_facts"]["rooms"])
    together = series["elanus mux all-on"]["samples"][0]
    assert {"retry", "service_breaker", "instance_breaker"} <= set(together["client_facts"]["rooms"])
    assert "limit" in together["server_facts"]["rooms"]
    alone = series["elanus mux send-only"]["samples"][0]
    assert alone["client_facts"]["rooms"] == ["recover", "timeout", "resolve", "send"], "what cannot be left out"
    assert alone["client_facts"]["request_bytes"] < together["client_facts"]["request_bytes"], "no metadata"


def test_the_report_is_a_table_and_a_chart(quick: tuple[str, Path]) -> None:
    printed, folder = quick
    assert "elanus mux uvloop full" in printed
    assert "x floor" in printed
    assert "all-on costs" in printed
    assert (folder / "table.txt").read_text().strip() in printed
    assert "<svg" in (folder / "chart.svg").read_text()


def test_a_profile_names_the_areas_of_both_sides() -> None:
    done = bench("--profile", "elanus mux uvloop full", "--profile-seconds", "1")
    assert done.returncode == 0, done.stderr
    for area in ("client:", "server:", "codec", "protocol", "connection", "rooms"):
        assert area in done.stdout


def test_idle_connections_are_held_and_weighed() -> None:
    text = "\n".join(idle(300))
    assert "300 idle connections" in text


def test_an_unknown_row_names_the_known_ones() -> None:
    done = bench("--rows", "no-such-row")
    assert done.returncode == 1
    assert "elanus mux uvloop full" in done.stderr


def test_a_peer_that_fails_is_told_with_its_log() -> None:
    command = python_peer("raw", "client", "--address", "127.0.0.1:1")
    with pytest.raises(PeerFailedError, match="ConnectionRefusedError"), Peer(command) as client:
        client.event("result")
