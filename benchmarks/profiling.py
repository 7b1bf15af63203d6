"""Where the microseconds of a call go: one row with the sampling profiler on both sides, by area and by function."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .cores import Cores
from .measuring import Plan, run_pair
from .rows import Row

__all__ = ["profile"]

#: Path fragment to area; the first that fits counts.
_AREAS = (
    ("<event loop>", "event loop (C): poll, read, step tasks"),
    ("elanus_codec_thrift", "codec"),  # with the code that it generates, which has no path
    ("/thriftpy2/", "codec"),
    ("/elanus_transport_ttheader/protocol/", "protocol"),
    ("/elanus_transport_ttheader/", "connection"),
    ("/elanus/middlewares/", "rooms"),
    ("/elanus/net/send", "send"),
    ("/elanus/net/pool", "send"),
    ("/elanus/net/dispatch", "dispatch"),
    ("/elanus/net/", "dispatch"),
    ("/elanus/wheel", "deadlines"),
    ("/elanus/deadline", "deadlines"),
    ("/elanus/", "client, call and metadata"),
    ("/elanus_", "other plugins (balancer)"),
    ("/asyncio/", "asyncio (Python)"),
    ("/benchmarks/", "the benchmark's own loop and handler"),
)
_FUNCTIONS_SHOWN = 22


def profile(row: Row, plan: Plan, cores: Cores) -> list[str]:
    """Run *row* once with profilers and give the tables as lines."""
    sample = run_pair(row, plan.workloads[0], plan, cores, None, "--profile")
    lines = [f"{row.name}, echo of {plan.workloads[0]}: {sample.calls_per_second:,.0f} calls/s while sampled", ""]
    sides = (
        ("client", sample.client_cpu_us, sample.client_facts),
        ("server", sample.server_cpu_us, sample.server_facts),
    )
    for side, cpu_us, facts in sides:
        lines += _side(side, cpu_us, facts["samples"])
    return lines


def _side(side: str, cpu_us: float, samples: list[list[Any]]) -> list[str]:
    total = sum(alone for _, _, alone, _ in samples) or 1
    scale = cpu_us / total
    areas: Counter[str] = Counter()
    for file, _, alone, _ in samples:
        areas[_area(file)] += alone
    lines = [f"{side}: {cpu_us:.1f} us of CPU per call, {total} samples", "  us/call  share  area"]
    lines += [f"  {count * scale:7.2f}  {count / total:5.1%}  {area}" for area, count in areas.most_common()]
    lines += ["", "    alone   within  function (us per call; C that it calls counts as its own)"]
    lines += _functions(sorted(samples, key=lambda item: -item[2]), scale)
    return [*lines, ""]


def _functions(samples: Iterable[list[Any]], scale: float) -> list[str]:
    shown = [item for item in samples if item[2]][:_FUNCTIONS_SHOWN]
    return [
        f"  {alone * scale:7.2f}  {within * scale:7.2f}  {_short(file)} {function}"
        for file, function, alone, within in shown
    ]


def _area(file: str) -> str:
    return next((area for fragment, area in _AREAS if fragment in file), "other")


def _short(file: str) -> str:
    return file if file.startswith("<") else "/".join(Path(file).parts[-2:])
