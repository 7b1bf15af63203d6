"""Run pairs: interleaved rounds, disturbed rounds thrown away, medians at the end."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from .cores import Cores, Moment, disturbance, resident_bytes
from .processes import Peer
from .rows import Row, Workload

__all__ = ["Plan", "Sample", "Series", "run_pair", "run_plan"]

#: A round in which others had more than this share of either core is thrown away.
DISTURBED = 0.05
#: How often a thrown-away round is repeated; after that the least disturbed one stands, and is marked.
REPEATS = 3
#: Repetitions in all, as a share of the rounds that were asked for: on a busy machine there would be no end.
REPEATED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rows: Sequence[Row]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    warmup: float
    repeats: int = REPEATS


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one pair. CPU in microseconds per call, sizes in bytes."""

    calls_per_second: float
    p50_us: float
    p99_us: float
    client_cpu_us: float
    server_cpu_us: float
    client_rss_bytes: int
    server_rss_bytes: int
    decoded_replies: int
    wrong_replies: int
    errors: int
    last_error: str | None
    #: The larger share of a core that others had; ``None`` where that cannot be known.
    disturbance: float | None
    #: What the peers said beside: rooms, frame sizes, samples of the profiler.
    server_facts: dict[str, Any] = field(default_factory=dict)
    client_facts: dict[str, Any] = field(default_factory=dict)

    @property
    def disturbed(self) -> bool:
        return self.disturbance is not None and self.disturbance > DISTURBED


@dataclass(slots=True)
class Series:
    """The rounds of one row and workload that count."""

    row: Row
    workload: Workload
    samples: list[Sample] = field(default_factory=list)
    #: Rounds that were thrown away because others had a core.
    thrown: int = 0

    def median(self, name: str) -> float:
        """The median of one number of the samples."""
        return float(median(getattr(sample, name) for sample in self.samples))

    def total(self, name: str) -> int:
        """The sum of one count of the samples."""
        return int(sum(getattr(sample, name) for sample in self.samples))

    @property
    def disturbed(self) -> bool:
        """Whether a round counts that others disturbed, because every repetition was disturbed too."""
        return any(sample.disturbed for sample in self.samples)

    @property
    def core_calls_per_second(self) -> float:
        """What the busier side's core allows: steadier than calls per second when others use the cores too."""
        return 1e6 / max(self.median("client_cpu_us"), self.median("server_cpu_us"), 1e-3)

    def as_json(self) -> dict[str, Any]:
        """Everything, for the JSON report."""
        return {
            "row": self.row.name,
            "family": self.row.family,
            "payload_bytes": self.workload.payload,
            "concurrency": self.workload.concurrency,
            "thrown_rounds": self.thrown,
            "disturbed": self.disturbed,
            "core_calls_per_second": self.core_calls_per_second,
            "samples": [asdict(sample) for sample in self.samples],
        }


def run_plan(plan: Plan, cores: Cores, kitex: Path | None, tell: Callable[[str], None]) -> list[Series]:
    """Measure everything, one round of every row after the other, so that a slow minute meets all alike."""
    everything = [
        Series(row, workload)
        for workload in plan.workloads
        for row in plan.rows
        if workload in row.workloads and (kitex is not None or not row.needs_kitex)
    ]
    left = int(len(everything) * plan.rounds * REPEATED_SHARE) if plan.repeats else 0
    for number in range(plan.rounds):
        for series in everything:
            thrown = series.thrown
            sample = _undisturbed(series, replace(plan, repeats=min(plan.repeats, left)), cores, kitex)
            left -= series.thrown - thrown
            series.samples.append(sample)
            mark = f"  (others had {sample.disturbance:.0%} of a core)" if sample.disturbed else ""
            tell(
                f"round {number + 1}/{plan.rounds}  {series.workload!s:18} {series.row.name:30}"
                f"{sample.calls_per_second:9,.0f}/s{mark}"
            )
    return everything


def _undisturbed(series: Series, plan: Plan, cores: Cores, kitex: Path | None) -> Sample:
    """One round that had its cores; after so many repetitions the best of the disturbed ones."""
    tried: list[Sample] = []
    for _ in range(plan.repeats + 1):
        sample = run_pair(series.row, series.workload, plan, cores, kitex)
        tried.append(sample)
        if not sample.disturbed:
            break
    series.thrown += len(tried) - 1
    return min(tried, key=lambda sample: sample.disturbance or 0.0)


def run_pair(row: Row, workload: Workload, plan: Plan, cores: Cores, kitex: Path | None, *more: str) -> Sample:
    """Start the server and the client of *row*, measure one window, end both.

    :param more: flags for both sides.
    :raises PeerFailedError: one of them does not work.
    """
    with Peer(row.server.command("server", kitex, *more), cores.server) as server:
        ready = server.event("ready")
        load = {
            "address": ready["address"],
            "concurrency": workload.concurrency,
            "payload": workload.payload,
            "warmup": plan.warmup,
            "seconds": plan.seconds,
        }
        flags = [f"--{name}={value}" for name, value in load.items()]
        with Peer(row.client.command("client", kitex, *flags, *more), cores.client) as client:
            client.event("measuring", plan.warmup)
            moments = _Moments(cores, server, client)
            before = server.stats()
            result = client.event("result", plan.seconds)
            after = server.stats()
            share = moments.disturbance(result["seconds"])
            sizes = [resident_bytes(peer.pid, peak=True) for peer in (client, server)]
    handled = max(after["handled"] - before["handled"], 1)
    return Sample(
        calls_per_second=result["calls_per_second"],
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        client_cpu_us=result["cpu_us_per_call"],
        # The server's own count: its window is a little longer than the client's.
        server_cpu_us=(after["cpu_seconds"] - before["cpu_seconds"]) * 1e6 / handled,
        client_rss_bytes=sizes[0] or result["max_rss_bytes"],
        server_rss_bytes=sizes[1] or after["max_rss_bytes"],
        decoded_replies=result["decoded_replies"],
        wrong_replies=result["wrong_replies"],
        errors=result["errors"],
        last_error=result["last_error"],
        disturbance=share,
        server_facts={**_facts(ready), **_new_samples(before, after)},
        client_facts=_facts(result),
    )


class _Moments:
    """Both cores at the start of a window."""

    def __init__(self, cores: Cores, server: Peer, client: Peer) -> None:
        self._sides = [(cores.server, server.pid), (cores.client, client.pid)]
        if cores.server == cores.client:
            # Each side disturbs the other: only that nobody else does could be known, and needs both to be counted.
            self._sides = []
        self._before = [Moment.of(core, pid) for core, pid in self._sides]

    def disturbance(self, seconds: float) -> float | None:
        shares = [
            disturbance(before, Moment.of(core, pid), seconds)
            for before, (core, pid) in zip(self._before, self._sides, strict=True)
        ]
        known = [share for share in shares if share is not None]
        return max(known) if known else None


def _facts(event: dict[str, Any]) -> dict[str, Any]:
    wanted = ("rooms", "request_bytes", "reply_bytes", "transport", "gomaxprocs", "involuntary_switches", "samples")
    return {name: event[name] for name in wanted if name in event}


def _new_samples(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The profiler's samples within the window."""
    if "samples" not in after:
        return {}
    old = {(file, function): (alone, within) for file, function, alone, within in before["samples"]}
    new = []
    for file, function, alone, within in after["samples"]:
        alone_before, within_before = old.get((file, function), (0, 0))
        new.append([file, function, alone - alone_before, within - within_before])
    return {"samples": new}
