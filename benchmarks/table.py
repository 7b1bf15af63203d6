"""The report as text: one table, what elanus is to each peer, and the aims."""

from collections.abc import Iterable, Sequence

from .measuring import Series
from .peers.one_room import ALL_ON, ROOM_CHAINS, SEND_ONLY
from .rows import FLOOR, OURS, Workload, room_row

__all__ = ["aims", "costs", "ratios", "rooms", "table"]

_COLUMNS = (
    ("", "<36"),
    ("calls/s", ">9"),
    ("x floor", ">8"),
    ("by CPU", ">7"),
    ("p50 us", ">9"),
    ("p99 us", ">10"),
    ("client us", ">10"),
    ("server us", ">10"),
    ("RSS MB", ">9"),
    ("decoded", ">10"),
    ("wrong", ">6"),
    ("thrown", ">7"),
)


def table(measured: Sequence[Series]) -> list[str]:
    """Every row, by workload; medians of the rounds."""
    lines = []
    for workload in _workloads(measured):
        floor = _find(measured, FLOOR, workload)
        lines += [f"echo of {workload}", _line(name for name, _ in _COLUMNS)]
        lines += [_line(_cells(series, floor)) for series in measured if series.workload == workload]
        lines.append("")
    return lines


def _line(cells: Iterable[str]) -> str:
    return "".join(f"{cell:{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True)).rstrip()


def _cells(series: Series, floor: Series | None) -> list[str]:
    client, server = series.median("client_rss_bytes") / 1e6, series.median("server_rss_bytes") / 1e6
    return [
        series.row.name + (" *" if series.disturbed else ""),
        f"{series.median('calls_per_second'):,.0f}",
        _ratio(series, floor, "calls"),
        _ratio(series, floor, "cpu"),
        f"{series.median('p50_us'):,.0f}",
        f"{series.median('p99_us'):,.0f}",
        f"{series.median('client_cpu_us'):.1f}",
        f"{series.median('server_cpu_us'):.1f}",
        f"{client:.0f}/{server:.0f}",
        f"{series.total('decoded_replies'):,}",
        f"{series.total('wrong_replies') + series.total('errors')}",
        f"{series.thrown}",
    ]


def _speed(series: Series, measure: str) -> float:
    return series.core_calls_per_second if measure == "cpu" else series.median("calls_per_second")


def _ratio(series: Series, other: Series | None, measure: str) -> str:
    return "" if other is None else f"{_speed(series, measure) / _speed(other, measure):.2f}"


def ratios(measured: Sequence[Series]) -> list[str]:
    """elanus against each row of its peers: by calls per second, and by CPU of the busier side."""
    lines = []
    for workload in _workloads(measured):
        ours = [series for name in OURS if (series := _find(measured, name, workload)) is not None]
        others = [series for series in measured if series.workload == workload and series.row.family != "elanus"]
        if not ours or not others:
            continue
        lines.append(f"elanus to its peers, echo of {workload} (calls/s, and in brackets by CPU)")
        lines.append(f"{'':32}" + "".join(f"{series.row.name:>32}" for series in ours))
        for other in others:
            cells = [f"{_ratio(series, other, 'calls')} ({_ratio(series, other, 'cpu')})" for series in ours]
            lines.append(f"{other.row.name:32}" + "".join(f"{cell:>32}" for cell in cells))
        lines.append("")
    return lines


def rooms(measured: Sequence[Series]) -> list[str]:
    """Which rooms a call of each elanus row walks through, and how large its frames are."""
    lines = []
    for series in measured:
        if series.row.family == "elanus" and series.workload == _workloads(measured)[0]:
            client, server = series.samples[-1].client_facts, series.samples[-1].server_facts
            lines.append(
                f"{series.row.name}: client {' > '.join(client['rooms'])}; server {' > '.join(server['rooms'])}"
                f"; frames {client['request_bytes']} + {client['reply_bytes']} B, {client['transport']}"
            )
    return ["rooms", *lines, ""] if lines else []


#: The share of the bare chain's throughput that all rooms together may cost, with 100 calls in flight.
_ALL_ON_COSTS = 0.2


def costs(measured: Sequence[Series]) -> list[str]:
    """What each room takes of the bare chain's throughput, and all of them together; an aim is said."""
    lines = []
    for workload in _workloads(measured):
        bare = _find(measured, room_row(SEND_ONLY), workload)
        for chain in ROOM_CHAINS if bare is not None else ():
            series = _find(measured, room_row(chain), workload)
            if series is None or series is bare or bare is None:
                continue
            by_calls, by_cpu = (1 - _speed(series, m) / _speed(bare, m) for m in ("calls", "cpu"))
            more = [series.median(side) - bare.median(side) for side in ("client_cpu_us", "server_cpu_us")]
            line = f"{chain} costs {by_calls:.1%} of {SEND_ONLY}, by CPU {by_cpu:.1%}"
            line += f"; {more[0]:+.1f} us on the client, {more[1]:+.1f} us on the server"
            if chain == ALL_ON:
                cost = by_cpu if bare.disturbed or series.disturbed else by_calls
                line += f"; at most {_ALL_ON_COSTS:.0%}: {'reached' if cost <= _ALL_ON_COSTS else 'MISSED'}"
            lines.append(line)
    return ["rooms, to the bare chain", *lines, ""] if lines else []


#: What is aimed at: our row, times this, at least (or for p50 at most) that of the peer.
_BUSY, _ALONE = Workload(1024, 100), Workload(1024, 1)
_AIMS = (
    ("calls of Kitex with metadata and a 1 s timeout", _BUSY, "kitex ping-pong full", 1.0),
    ("10 x grpc.aio", _BUSY, "grpc.aio uvloop full", 10.0),
    ("2 x thriftpy2 aio", _BUSY, "thriftpy2 aio uvloop bare", 2.0),
)


def aims(measured: Sequence[Series]) -> list[str]:
    """What the project aims at, and where it is."""
    lines = []
    for what, workload, peer, factor in _AIMS:
        ours, other = _find(measured, OURS[0], workload), _find(measured, peer, workload)
        if ours is not None and other is not None:
            by_calls, by_cpu = (_speed(ours, m) / _speed(other, m) for m in ("calls", "cpu"))
            # Calls per second of a disturbed round say who else was there.
            judged = by_cpu if ours.disturbed or other.disturbed else by_calls
            reached = "reached" if judged >= factor else "MISSED"
            lines.append(f"{what} ({workload}): {by_calls:.2f} x, by CPU {by_cpu:.2f} x: {reached}")
    ours, other = _find(measured, OURS[0], _ALONE), _find(measured, "kitex ping-pong full", _ALONE)
    if ours is not None and other is not None:
        own, theirs = ours.median("p50_us"), other.median("p50_us")
        reached = "reached" if own <= theirs else "MISSED"
        lines.append(f"p50 no worse than Kitex's ({_ALONE}): {own:.0f} us, Kitex {theirs:.0f} us: {reached}")
    return ["aims (elanus mux uvloop full)", *lines, ""] if lines else []


def _workloads(measured: Sequence[Series]) -> list[Workload]:
    return list(dict.fromkeys(series.workload for series in measured))


def _find(measured: Sequence[Series], name: str, workload: Workload) -> Series | None:
    return next((s for s in measured if s.row.name == name and s.workload == workload), None)
