"""The files of a report agree with the report, pictures need an extra that the error names."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import ConfigError
from elanus.testing import InTurn
from elanus.testing.simulation import Fault, Group, LogNormal, Mixture, Poisson, Report, compare, simulate

if TYPE_CHECKING:
    from pathlib import Path


def small(seed: int = 1, **options: Any) -> Report:
    groups = [Group(3, latency=LogNormal(0.01, 0.04), name="healthy"), Group(1, faults=[Fault(1, 2, errors=0.5)])]
    return simulate(groups, Poisson(200), seconds=4, seed=seed, balancer=InTurn(), **options)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_say_what_the_report_says(tmp_path: Path) -> None:
    report = small()
    files = {path.name: path for path in report.write(tmp_path / "made" / "here")}
    assert set(files) == {"summary.json", "series.csv", "instances.csv", "latency.csv", "events.csv"}
    summary = json.loads(files["summary.json"].read_text())
    assert summary["calls"] == report.calls == summary["succeeded"] + summary["failed"]
    assert summary["latency_seconds"]["p99"] == report.percentile(99)
    assert summary["errors"] == {"ApplicationError": report.failed}
    assert summary["cost"]["steps"] == report.cost.steps
    series = table(files["series.csv"])
    assert sum(int(row["began"]) for row in series) == report.calls
    assert sum(int(row["succeeded"]) for row in series) == report.succeeded
    assert [int(row["failed"]) > 0 for row in series[:4]] == [False, True, False, False]
    instances = table(files["instances.csv"])
    assert [int(row["attempts"]) for row in instances] == [one.attempts for one in report.instances]
    assert [row["group"] for row in instances] == ["healthy"] * 3 + [""]
    assert int(table(files["latency.csv"])[-1]["calls_not_above"]) == report.succeeded
    assert table(files["events.csv"])[0]["event"] == "discovery_change"


def test_an_equal_run_writes_equal_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        small().write(tmp_path / name, plots="svg")
    for path in (tmp_path / "one").iterdir():
        if path.name != "summary.json":  # has what the run cost
            assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name


def test_a_report_reads_well() -> None:
    report = small()
    text = str(report)
    assert f"{report.calls:,} calls: {report.succeeded:,} succeeded" in text
    assert f"errors: ApplicationError {report.failed}" in text
    assert f"p99 {report.percentile(99) * 1e3:.1f} ms" in text
    assert "unfinished" not in text


@pytest.mark.parametrize("form", ["svg", "png"])
def test_pictures_are_small(tmp_path: Path, form: str) -> None:
    report = simulate(Group(2_000, latency=Mixture((9, 0.01), (1, 0.1))), Poisson(5_000), seconds=2, balancer=InTurn())
    pictures = [path for path in report.write(tmp_path, plots=form) if path.suffix == f".{form}"]
    assert {path.stem for path in pictures} == {"latency", "series", "instances"}
    assert all(1_000 < path.stat().st_size < 60_000 for path in pictures)


def test_several_reports_are_compared_in_one_table_and_one_picture(tmp_path: Path) -> None:
    reports = {"one": small(1), "other": small(2)}
    files = {path.name: path for path in compare(reports, tmp_path, plots="svg")}
    assert set(files) == {"comparison.csv", "latency.svg", "series.svg", "instances.svg"}
    rows = table(files["comparison.csv"])
    assert [row["name"] for row in rows] == ["one", "other"]
    assert float(rows[1]["p99_ms"]) == pytest.approx(reports["other"].percentile(99) * 1e3, rel=1e-3)
    assert all(name in files["latency.svg"].read_text() for name in reports)


def test_without_matplotlib_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = small()
    assert len(report.write(tmp_path)) == 5
    with pytest.raises(ConfigError, match=r"elanus\[plots\]"):
        report.write(tmp_path, plots="svg")


def test_an_unknown_form_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'gif'"):
        small().write(tmp_path, plots="gif")
