"""``python -m elanus.testing.simulation``: runs the scenarios that come with elanus."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elanus.errors import ElanusError
from elanus.testing.simulation.comparing import compare, table_of
from elanus.testing.simulation.drawing import FORMS
from elanus.testing.simulation.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from elanus.testing.simulation.report import Report


@click.command()
@click.argument("names", metavar="[SCENARIO]...", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option("--list", "listed", is_flag=True, help="Say which scenarios there are.")
@click.option("--out", type=click.Path(path_type=Path), help="Write each scenario's files into a folder in this one.")
@click.option("--plots", type=click.Choice(FORMS), help="Draw pictures, too. Needs elanus[plots].")
@click.option("--seed", default=1, show_default=True, help="Where all chance comes from.")
def main(names: tuple[str, ...], listed: bool, out: Path | None, plots: str | None, seed: int) -> None:
    """Simulate what elanus's policies do to a fleet: the named scenarios, or all but the costly ones."""
    if listed:
        for name, scenario in SCENARIOS.items():
            click.echo(f"{name:<14} {scenario.title}{' (takes minutes)' if scenario.costly else ''}")
        return
    # Servers and clients say what an operator should know. Here it is meant to happen.
    log = logging.getLogger("elanus")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        for name in names or [name for name, scenario in SCENARIOS.items() if not scenario.costly]:
            _run(name, SCENARIOS[name], seed, None if out is None else out / name, plots)
    except ElanusError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    finally:
        log.setLevel(before)


def _run(name: str, scenario: Scenario, seed: int, out: Path | None, plots: str | None) -> None:
    click.echo(f"{name}: {scenario.title}")
    reports = {variant: run(seed) for variant, run in scenario.runs.items()}
    click.echo(table_of(reports))
    if len(next(iter(reports.values())).kinds) > 1:
        for variant, report in reports.items():
            _kinds(variant, report)
    if scenario.costly:
        for report in reports.values():
            cost = report.cost
            memory = f"{cost.memory_bytes / 2**20:,.0f} MiB at most"
            click.echo(f"{cost.seconds:,.0f} s, {cost.cpu_seconds:,.0f} s of them at work, {memory}")
    if out is not None:
        for variant, report in reports.items():
            report.write(out / variant.replace(",", "").replace(" ", "-"))
        compare(reports, out, plots=plots)
    click.echo("")


def _kinds(variant: str, report: Report) -> None:
    for name, kind in report.kinds.items():
        share = kind.succeeded / max(kind.calls, 1)
        click.echo(f"{variant}, {name}: {share:.1%} of {kind.calls:,} calls succeeded")


if __name__ == "__main__":
    main()
