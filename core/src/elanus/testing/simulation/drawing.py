"""Pictures of reports. Needs matplotlib, which ``elanus[plots]`` brings; nothing else here does."""

from __future__ import annotations

from math import ceil, nan
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from elanus.testing.simulation.report import Report

__all__ = ["FORMS", "draw"]

FORMS = ("svg", "png")

#: Points of a line, and bars of a picture, at most; more make files large and nothing clearer.
_POINTS = 300
#: Ten percentiles between each two of 0, 90, 99, 99.9 and 99.99: where a curve of latencies is worth looking at.
_SHOWN = [100.0 - 10.0 ** (2.0 - step / 10.0) for step in range(41)]
_TICKS = {0.0: "0", 90.0: "90", 99.0: "99", 99.9: "99.9", 99.99: "99.99"}


def draw(reports: Mapping[str, Report], folder: Path, form: str) -> list[Path]:
    """Draw ``latency``, ``series`` and ``instances`` of *reports* over one another, each under its name.

    :param form: ``"svg"`` or ``"png"``.
    :returns: the files.
    :raises ConfigError: matplotlib is not installed, or *form* is another one.
    """
    if form not in FORMS:
        raise ConfigError(f"plots={form!r}", hint=f"Give one of {', '.join(FORMS)}, or None for no pictures")
    pictures: dict[str, Callable[[Any, Mapping[str, Report]], None]] = {
        "latency": _latency,
        "series": _series,
        "instances": _instances,
    }
    return [_picture(folder / f"{name}.{form}", reports, paint) for name, paint in pictures.items()]


def _picture(path: Path, reports: Mapping[str, Report], paint: Callable[[Any, Mapping[str, Report]], None]) -> Path:
    matplotlib, figures = _matplotlib()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "elanus", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    with matplotlib.rc_context(settings):
        figure = figures.Figure(figsize=(7.2, 3.6), layout="constrained")
        paint(figure, reports)
        # Without a date, an equal report makes an equal file.
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _matplotlib() -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib import figure
    except ImportError as error:
        raise ConfigError("matplotlib is not installed", hint="Run: pip install 'elanus[plots]'") from error
    return matplotlib, figure


def _latency(figure: Any, reports: Mapping[str, Report]) -> None:
    axes = figure.add_subplot()
    for name, report in reports.items():
        axes.plot(
            [1.0 / (1.0 - percent / 100.0) for percent in _SHOWN],
            [report.percentile(percent) * 1e3 for percent in _SHOWN],
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1.0 / (1.0 - percent / 100.0) for percent in _TICKS], _TICKS.values())
    axes.minorticks_off()
    axes.set(xlabel="percentile", ylabel="latency of successful calls (ms)")
    _legend(axes, reports)


def _series(figure: Any, reports: Mapping[str, Report]) -> None:
    above, below = figure.subplots(2, sharex=True)
    for name, report in reports.items():
        lasted = report.series[: max(int(report.until / report.interval), 1)]
        width = ceil(len(lasted) / _POINTS)
        rows = [lasted[at : at + width] for at in range(0, len(lasted), width)]
        instants = [number * width * report.interval for number in range(len(rows))]
        seconds = width * report.interval
        above.plot(instants, [sum(one.succeeded for one in row) / seconds for row in rows], label=name)
        # A gap where no call succeeded.
        below.plot(instants, [max(one.percentile(99) for one in row) * 1e3 or nan for row in rows], label=name)
    above.set(ylabel="succeeded/s")
    above.set_ylim(bottom=0)
    below.set(ylabel="p99 (ms)", xlabel="second", yscale="log")
    _legend(above, reports)


def _instances(figure: Any, reports: Mapping[str, Report]) -> None:
    axes = figure.add_subplot()
    for number, (name, report) in enumerate(reports.items()):
        loads = [one.attempts for one in report.instances]
        if len(loads) * len(reports) <= _POINTS // 3:
            width = 0.8 / len(reports)
            offset = (number - (len(reports) - 1) / 2) * width
            axes.bar([at + offset for at in range(1, len(loads) + 1)], loads, width, label=name)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_xlabel("instance")
        else:
            axes.plot(*_ranked(loads), label=name)
            axes.set_xlabel("instances, least loaded first")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("requests")
    _legend(axes, reports)


def _ranked(loads: Sequence[int]) -> tuple[list[int], list[int]]:
    ranked = sorted(loads)
    step = ceil(len(ranked) / _POINTS)
    places = [*range(0, len(ranked) - 1, step), len(ranked) - 1]
    return places, [ranked[at] for at in places]


def _legend(axes: Any, reports: Mapping[str, Report]) -> None:
    if any(reports):
        axes.legend(fontsize=8)
