"""The overload experiment counts what it says. How fast anything is, is not asked here."""

import asyncio

import pytest

from ..overload import Result, experiment, report


def result(name: str, answered: int, milliseconds: float, **counts: int) -> Result:
    values = {"refused": 0, "late": 0, "others": 0, **counts}
    return Result(name, 480.0, 1.0, [milliseconds / 1e3] * answered, **values)


@pytest.mark.parametrize(
    ("answered", "milliseconds", "others", "kept"),
    [(80, 300.0, 0, True), (79, 100.0, 0, False), (100, 301.0, 0, False), (100, 100.0, 1, False)],
)
def test_the_verdict(answered: int, milliseconds: float, others: int, kept: bool) -> None:
    overloaded = result("3 x, adaptive", answered, milliseconds, refused=5, others=others)
    lines, verdict = report([result("unloaded", 20, 100.0), result("peak", 100, 120.0), overloaded])
    assert verdict is kept
    assert f"{answered}%" in lines[3].replace(" ", "")


def test_nothing_answered_is_no_latency() -> None:
    lines, _ = report([result("unloaded", 20, 100.0), result("peak", 100, 120.0), result("none", 0, 0.0, late=480)])
    assert "nan" not in lines[3]
    assert "480" in lines[3]


@pytest.mark.bench
def test_every_call_has_an_outcome() -> None:
    results = asyncio.run(experiment(2.0, 1.0, 0.5))
    for each in results:
        begun = int(each.rate * 1.5) - int(each.rate * 0.5)
        assert len(each.latencies) + each.refused + each.late + each.others == begun
        assert each.others == 0, each.name
    assert [each.refused for each in results[:3]] == [0, 0, 0], "no limiter, no refusal"
    assert all(each.refused for each in results[3:])
