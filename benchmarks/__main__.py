"""``python -m benchmarks``: the comparison, or one of the other measurements."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .chart import draw
from .cores import Cores, usable
from .idle import idle
from .importing import imports
from .measuring import REPEATS, Plan, Series, run_plan
from .processes import ROOT
from .profiling import profile
from .rows import OURS, ROWS, WORKLOADS, chosen, chosen_workloads
from .table import aims, costs, ratios, rooms, table


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default="", help="patterns of row names, with commas: 'raw*,elanus*'; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each window")
    parser.add_argument("--warmup", type=float, default=0.7, help="seconds before each window")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of a round that others disturbed, at most")
    parser.add_argument("--workloads", default="", help="bytes x calls in flight: '1024x100,1024x1'; default: all")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, first workload, nothing repeated")
    parser.add_argument("--list", action="store_true", help="show the rows and end")
    parser.add_argument("--output", type=Path, default=ROOT / "bench-results", help="folder for JSON, text and SVG")
    parser.add_argument("--no-files", action="store_true", help="only print")
    parser.add_argument("--idle", type=int, nargs="?", const=10_000, help="measure so many idle connections instead")
    parser.add_argument("--import", dest="imports", action="store_true", help="measure import times instead")
    parser.add_argument("--discovery", action="store_true", help="measure a large fleet in a real etcd instead")
    parser.add_argument("--timeline", action="store_true", help="measure what the timeline of a call costs instead")
    parser.add_argument("--policies", nargs="?", const="*", help="measure decisions of policies instead: 'balancer*'")
    parser.add_argument("--profile", nargs="?", const=OURS[0], help="profile a row of Python peers instead")
    parser.add_argument("--profile-seconds", type=float, default=10.0, help="for how long it is sampled")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: 0, or 1 when a reply was wrong, a call failed, or a peer does not work."""
    options = parse(arguments)
    try:
        rows = chosen([pattern for pattern in options.rows.split(",") if pattern])
        if options.list:
            lines = [row.name for row in ROWS]
        elif options.idle is not None:
            lines = idle(options.idle)
        elif options.imports:
            lines = imports()
        elif options.discovery:
            from .discovery import measure_discovery

            lines = measure_discovery()
        elif options.timeline:
            from .timeline import timeline

            lines = timeline()
        elif options.policies is not None:
            from .policies import policies

            lines = policies(options.policies.split(","))
        elif options.profile is not None:
            plan = Plan(
                chosen([options.profile])[:1],
                _plan(options, rows).workloads,
                1,
                options.profile_seconds,
                options.warmup,
            )
            lines = profile(plan.rows[0], plan, usable())
        else:
            return compare(_plan(options, rows), None if options.no_files else options.output)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _plan(options: argparse.Namespace, rows: Sequence[Any]) -> Plan:
    if options.quick:
        return Plan(rows, WORKLOADS[:1], rounds=1, seconds=1.0, warmup=0.3, repeats=0)
    workloads = chosen_workloads([key for key in options.workloads.split(",") if key])
    return Plan(rows, workloads, options.rounds, options.seconds, options.warmup, options.repeats)


def compare(plan: Plan, folder: Path | None) -> int:
    """Run *plan*, print the report, and write it to *folder*."""
    cores = usable()
    kitex, without = _kitex(plan)
    head = _head(cores, without)
    print("\n".join(head), flush=True)
    measured = run_plan(plan, cores, kitex, lambda line: print(line, file=sys.stderr, flush=True))
    body = ["", *table(measured), *ratios(measured), *rooms(measured), *costs(measured), *aims(measured)]
    if any(series.disturbed for series in measured):
        body.append("* others had a core for a part of some round, however often it was repeated: trust `by CPU` only")
    print("\n".join(body))
    if folder is not None:
        _write(folder, cores, measured, [*head, *body])
    return _verdict(measured)


def _kitex(plan: Plan) -> tuple[Path | None, str]:
    """The Go peer, or why there is none."""
    if not any(row.needs_kitex for row in plan.rows):
        return None, ""
    from tests.interop.build_peers import PeerBuildError, peer_binary

    try:
        return peer_binary(), ""
    except PeerBuildError as error:
        return None, f"rows with Kitex are LEFT OUT: {error}"


def _head(cores: Cores, without: str) -> list[str]:
    versions = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    return [f"{versions}; {cores}", *([without] if without else [])]


def _write(folder: Path, cores: Cores, measured: Sequence[Series], text: Sequence[str]) -> None:
    target = folder / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target.mkdir(parents=True, exist_ok=True)
    report = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": str(cores),
        "series": [series.as_json() for series in measured],
    }
    (target / "results.json").write_text(json.dumps(report, indent=1))
    (target / "table.txt").write_text("\n".join(text) + "\n")
    draw(measured, target / "chart.svg")
    print(f"written: {target}/results.json, table.txt, chart.svg")


def _verdict(measured: Sequence[Series]) -> int:
    """A benchmark of wrong replies is worth nothing."""
    bad = [
        series
        for series in measured
        if series.total("wrong_replies") or series.total("errors") or not series.total("decoded_replies")
    ]
    for series in bad:
        print(
            f"BROKEN: {series.row.name}, {series.workload}: {series.total('wrong_replies')} wrong replies, "
            f"{series.total('errors')} errors ({series.samples[-1].last_error}), "
            f"{series.total('decoded_replies')} decoded",
            file=sys.stderr,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
