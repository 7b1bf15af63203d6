"""The report as a picture: calls per second and CPU per call of every row, one band per workload."""

from collections.abc import Sequence
from pathlib import Path

from .measuring import Series

__all__ = ["draw"]

_COLOURS = {
    "raw": "#9e9e9e",
    "elanus": "#1f6feb",
    "thriftpy2": "#d29922",
    "grpc": "#8957e5",
    "kitex": "#2da44e",
    "mixed": "#56b6c2",
}


def draw(measured: Sequence[Series], path: Path) -> None:
    """Write an SVG to *path*."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    workloads = list(dict.fromkeys(series.workload for series in measured))
    bands = [[series for series in measured if series.workload == workload] for workload in workloads]
    figure, grid = pyplot.subplots(
        len(bands),
        2,
        squeeze=False,
        figsize=(15, 1.2 * len(bands) + 0.3 * len(measured)),
        gridspec_kw={"height_ratios": [len(band) + 2 for band in bands]},
        layout="constrained",
    )
    for (left, right), band, workload in zip(grid, bands, workloads, strict=True):
        names = [series.row.name for series in band]
        colours = [_COLOURS[series.row.family] for series in band]
        speeds = left.barh(names, [series.median("calls_per_second") for series in band], color=colours)
        left.bar_label(speeds, fmt="{:,.0f}", padding=3, fontsize=8)
        left.set_title(f"echo of {workload}: calls per second", fontsize=10, loc="left")
        clients = [series.median("client_cpu_us") for series in band]
        servers = [series.median("server_cpu_us") for series in band]
        right.barh(names, clients, color=colours)
        bars = right.barh(names, servers, left=clients, color=colours, alpha=0.5)
        labels = [f"{client:.1f} + {server:.1f}" for client, server in zip(clients, servers, strict=True)]
        right.bar_label(bars, labels=labels, padding=3, fontsize=8)
        right.set_title("CPU per call in us: client + server", fontsize=10, loc="left")
        right.set_yticks([])
        for axes in (left, right):
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)
