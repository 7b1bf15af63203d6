"""Several reports beside each other: what another policy would have done."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from elanus.testing.simulation.report import Report

__all__ = ["compare", "row_of", "table_of"]


def row_of(report: Report) -> dict[str, Any]:
    """The figures by which reports are compared; milliseconds (``None`` where no call succeeded), calls per second, and
    percent.
    """
    known = report.succeeded > 0
    milliseconds = {f"p{one:g}_ms": round(report.percentile(one) * 1e3, 1) if known else None for one in (50, 99, 99.9)}
    return {
        "calls": report.calls,
        "failed": report.failed,
        "goodput": round(report.goodput, 1),
        **milliseconds,
        "extra_load_percent": round(report.extra_load * 100, 1),
        "refused": report.refused,
    }


def table_of(reports: Mapping[str, Report]) -> str:
    """A table for people, one line for each report."""
    rows = [{"": name, **row_of(report)} for name, report in reports.items()]
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    )


def compare(reports: Mapping[str, Report], folder: str | PathLike[str], *, plots: str | None = None) -> list[Path]:
    """Write ``comparison.csv`` of several reports into *folder*; with *plots*, pictures of all of them together.

    :param reports: by name.
    :param plots: ``"svg"`` or ``"png"``.
    :returns: the files.
    :raises ConfigError: as :meth:`Report.write`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "comparison.csv"
    rows = [{"name": name, **row_of(report)} for name, report in reports.items()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if plots is None:
        return [path]
    from elanus.testing.simulation.drawing import draw

    return [path, *draw(reports, place, plots)]


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
