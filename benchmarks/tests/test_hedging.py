"""The hedging experiment counts what it says. How fast anything is, is not asked here."""

import asyncio

import pytest

from ..hedging import experiment, report

pytestmark = pytest.mark.bench


def test_every_hedge_has_its_loser_and_stays_in_the_budget() -> None:
    results = asyncio.run(experiment(servers=2, rate=100.0, seconds=1.0, delay=0.05))
    lines, right = report(results, 0.05)
    assert right, "\n".join(lines)
    plain, single, shared = results
    assert (plain.hedges, plain.requests) == (0, plain.calls)
    assert shared.hedges > 0
    assert shared.cancelled == 0, "TTHeader has no word for it on a shared connection"
    assert 0 < single.cancelled <= single.lost == single.hedges
    assert all(result.name in "\n".join(lines) for result in results)
