"""What a simulation found: totals, percentiles, a series over time, and what each instance saw."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elanus.testing.simulation.statistics import Histogram, Interval, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from elanus.testing.simulation.instance import SimulatedInstance
    from elanus.testing.simulation.recording import KindCounts, Recorder

__all__ = ["Cost", "InstanceReport", "KindReport", "Report"]

#: The percentiles that tables show.
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has cost. The only part of a report that differs from run to run.

    :param seconds: of real time; *cpu_seconds*: in which this process worked.
    :param steps: callbacks of the loop.
    :param memory_bytes: the most that the process has had, up to now.
    """

    seconds: float
    cpu_seconds: float
    steps: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class KindReport:
    """What became of the calls of one kind, or of all."""

    #: Calls that were begun.
    calls: int
    #: Seconds of those that succeeded, and of those that failed.
    latency: Histogram
    failures: Histogram
    #: How many failed with which class of error.
    errors: Mapping[str, int]

    @property
    def succeeded(self) -> int:
        """Calls that got their reply."""
        return self.latency.count

    @property
    def failed(self) -> int:
        """Calls that ended with an error."""
        return self.failures.count

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, and seconds."""
        return {
            "calls": self.calls,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "errors": dict(sorted(self.errors.items())),
            "latency_seconds": _seconds_of(self.latency),
            "failure_seconds": _seconds_of(self.failures),
        }


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one instance saw."""

    address: str
    group: str
    #: Requests that arrived, and how many of them were further attempts: retries, hedges.
    attempts: int
    retries: int
    hedges: int
    #: How they were answered.
    succeeded: int
    failed: int
    refused: int
    #: Answers that came too late for their callers.
    abandoned: int
    #: Connections that were made, and that were refused.
    connected: int
    connects_refused: int
    #: Seconds of work that were begun.
    worked: float
    #: The most calls that have waited for a worker.
    longest_queue: int

    @classmethod
    def of(cls, one: SimulatedInstance) -> InstanceReport:
        """What *one* saw up to now."""
        return cls(
            one.instance.address,
            one.group.name,
            one.attempts,
            one.retries,
            one.hedges,
            one.succeeded,
            one.failed,
            one.refused,
            one.abandoned,
            one.connected,
            one.connects_refused,
            one.worked,
            0 if one.workers is None else one.workers.longest,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulation found. Instants are seconds from its start, in virtual time.

    Totals count the calls that were begun after the skipped seconds; the series counts all.
    """

    #: All calls together, and the calls of each kind.
    total: KindReport
    kinds: Mapping[str, KindReport]
    #: From when to when calls were begun and counted.
    since: float
    until: float
    #: Calls that succeeded between these instants.
    good: int
    #: Calls that had not ended at the end.
    unfinished: int
    #: Requests that reached an instance: ``"first"``, ``"retry"``, ``"hedge"``.
    attempts: Mapping[str, int]
    #: Calls that had at least one further attempt.
    retried_calls: int
    #: Requests that instances refused.
    refused: int
    instances: Sequence[InstanceReport]
    #: One entry per :attr:`interval` seconds.
    series: Sequence[Interval]
    interval: float
    #: Instant, who (``"client 1"``, ``"server ..."``), event and detail, such as changes of breakers; 10,000 at most.
    events: Sequence[tuple[float, str, str, str]]
    #: How many events there were in all.
    events_in_all: int
    cost: Cost

    @classmethod
    def of(
        cls, recorder: Recorder, instances: Iterable[SimulatedInstance], interval: float, unfinished: int, cost: Cost
    ) -> Report:
        """The report of a run that is over."""
        kinds = {name: _kind(counts) for name, counts in recorder.kinds.items()}
        return cls(
            total=_together(list(kinds.values())),
            kinds=kinds,
            since=recorder.since - recorder.start,
            until=recorder.until - recorder.start,
            good=recorder.good,
            unfinished=unfinished,
            attempts=dict(recorder.attempts),
            retried_calls=recorder.retried_calls,
            refused=recorder.refusals,
            instances=[InstanceReport.of(one) for one in instances],
            series=recorder.series,
            interval=interval,
            events=recorder.events,
            events_in_all=recorder.events_in_all,
            cost=cost,
        )

    # -- figures ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Calls that were begun."""
        return self.total.calls

    @property
    def succeeded(self) -> int:
        """Calls that got their reply."""
        return self.total.succeeded

    @property
    def failed(self) -> int:
        """Calls that ended with an error."""
        return self.total.failed

    @property
    def errors(self) -> Mapping[str, int]:
        """How many failed with which class of error."""
        return self.total.errors

    @property
    def latency(self) -> Histogram:
        """Seconds of the calls that succeeded, all attempts and pauses included."""
        return self.total.latency

    def percentile(self, percent: float) -> float:
        """Seconds within which *percent* of the calls that succeeded had their reply; off by 0.5 % at most."""
        return self.latency.percentile(percent)

    @property
    def goodput(self) -> float:
        """Calls per second that succeeded while the load lasted."""
        return self.good / (self.until - self.since) if self.until > self.since else 0.0

    @property
    def extra_load(self) -> float:
        """Further attempts that reached an instance, as a share of first ones."""
        return (self.attempts["retry"] + self.attempts["hedge"]) / max(self.attempts["first"], 1)

    def load(self, group: str | None = None) -> Spread:
        """How evenly requests were spread over the instances, or over those of one group."""
        return Spread({one.address: one.attempts for one in self.instances if group in (None, one.group)})

    def events_named(self, name: str) -> list[tuple[float, str, str]]:
        """Instant, who and detail of the events of one name, such as ``"instance_cb"``."""
        return [(at, who, detail) for at, who, event, detail in self.events if event == name]

    def as_dict(self) -> dict[str, Any]:
        """The totals, for JSON. Equal for equal runs, since :attr:`cost` is not part of it."""
        spread = self.load()
        return {
            "since_seconds": self.since,
            "until_seconds": self.until,
            "goodput_per_second": self.goodput,
            "unfinished": self.unfinished,
            "attempts": dict(self.attempts),
            "extra_load": self.extra_load,
            "retried_calls": self.retried_calls,
            "refused": self.refused,
            "load_per_instance": {
                "least": spread.least,
                "mean": spread.mean,
                "greatest": spread.greatest,
                "variation": spread.variation,
            },
            "events": self.events_in_all,
            **self.total.as_dict(),
            "kinds": {name: kind.as_dict() for name, kind in self.kinds.items()},
        }

    def __str__(self) -> str:
        shown = ", ".join(f"p{percent:g} {self.percentile(percent) * 1e3:.1f} ms" for percent in PERCENTILES)
        lines = [
            f"{self.calls:,} calls: {self.succeeded:,} succeeded, {self.failed:,} failed",
            *([f"errors: {_counts(self.errors)}"] if self.errors else []),
            f"goodput {self.goodput:,.1f} calls/s, {shown}",
            f"attempts {_counts(self.attempts)}, {self.extra_load:.1%} extra load, {self.refused:,} refused",
        ]
        if self.unfinished:
            lines.append(f"{self.unfinished:,} unfinished")
        return "\n".join(lines)

    # -- files --------------------------------------------------------------------------------------------------

    def write(self, folder: str | PathLike[str], *, plots: str | None = None) -> list[Path]:
        """Write everything into *folder*, which is made if need be.

        ``summary.json`` (totals, and what the run cost), ``series.csv``, ``instances.csv``, ``latency.csv`` (the
        distribution) and ``events.csv``; with *plots*, pictures of them as well.

        :param plots: ``"svg"`` or ``"png"``.
        :returns: the files.
        :raises ConfigError: *plots* is given and matplotlib is not installed: ``pip install 'elanus[plots]'``.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        files = [
            self._write_summary(place / "summary.json"),
            _write_table(place / "series.csv", _SERIES, self._series_rows()),
            _write_table(place / "instances.csv", InstanceReport.__slots__, map(_values, self.instances)),
            _write_table(place / "latency.csv", ("seconds", "calls_not_above"), self.latency.cumulated()),
            _write_table(place / "events.csv", ("second", "who", "event", "detail"), self.events),
        ]
        if plots is not None:
            from elanus.testing.simulation.drawing import draw

            files += draw({"": self}, place, plots)
        return files

    def _write_summary(self, path: Path) -> Path:
        cost = {"cost": {name: getattr(self.cost, name) for name in Cost.__slots__}}
        path.write_text(json.dumps({**self.as_dict(), **cost}, indent=2) + "\n")
        return path

    def _series_rows(self) -> Iterable[tuple[float, ...]]:
        for number, one in enumerate(self.series):
            counts = (getattr(one, name) for name in _COUNTS)
            yield (number * self.interval, *counts, *(one.percentile(percent) for percent in PERCENTILES))


_COUNTS = ("began", "succeeded", "failed", "attempts", "retries", "hedges", "refused")
_SERIES = ("second", *_COUNTS, *(f"p{percent:g}_seconds" for percent in PERCENTILES))


def _kind(counts: KindCounts) -> KindReport:
    return KindReport(counts.began, counts.latency, counts.failures, dict(sorted(counts.errors.items())))


def _together(kinds: Sequence[KindReport]) -> KindReport:
    if len(kinds) == 1:
        return kinds[0]
    errors: dict[str, int] = {}
    for kind in kinds:
        for name, number in kind.errors.items():
            errors[name] = errors.get(name, 0) + number
    latency = Histogram.together(kind.latency for kind in kinds)
    failures = Histogram.together(kind.failures for kind in kinds)
    return KindReport(sum(kind.calls for kind in kinds), latency, failures, dict(sorted(errors.items())))


def _seconds_of(histogram: Histogram) -> dict[str, float]:
    if not histogram.count:
        return {}
    found = {"mean": histogram.mean, "least": histogram.least, "greatest": histogram.greatest}
    return {**found, **{f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTILES}}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items() if number)


def _values(one: InstanceReport) -> list[object]:
    return [getattr(one, name) for name in InstanceReport.__slots__]


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Iterable[object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
    return path
