"""What is written down while a simulation runs: counts and histograms, never the calls themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.testing.simulation.statistics import Histogram, Interval, bucket_of

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.events import Happening
    from elanus.testing.simulation.instance import SimulatedInstance
    from elanus.testing.simulation.loop import SimulationLoop

__all__ = ["MOST_EVENTS", "KindCounts", "Recorder"]

#: Events of clients and servers that a report keeps; the number of all of them is counted.
MOST_EVENTS = 10_000


class KindCounts:
    """What became of the calls of one kind."""

    __slots__ = ("began", "errors", "failures", "latency")

    def __init__(self) -> None:
        self.began = 0
        #: Seconds of the calls that succeeded, and of those that failed.
        self.latency = Histogram()
        self.failures = Histogram()
        #: How many calls failed with which class of error.
        self.errors: dict[str, int] = {}


class Recorder:
    """Counts calls, attempts and refusals. Instants are seconds on the clock of *loop*.

    :param interval: seconds of each of the stretches that make up the series.
    """

    def __init__(self, loop: SimulationLoop, kinds: list[str], interval: float) -> None:
        self._loop = loop
        self._kinds = kinds
        self.start = loop.now
        self._per_second = 1.0 / interval
        #: Calls that run now, and those that have begun.
        self.running = 0
        self.started = 0
        #: Whether calls still begin.
        self.open = True
        self.series: list[Interval] = []
        self.events: list[tuple[float, str, str, str]] = []
        self.events_in_all = 0
        self.reset()

    def reset(self) -> None:
        """Count from zero from now on; the series goes on. Calls that run already are not counted."""
        self.since = self.until = self._loop.now
        self.kinds = {kind: KindCounts() for kind in self._kinds}
        self.attempts = {"first": 0, "retry": 0, "hedge": 0}
        self.retried_calls = 0
        self.refusals = 0
        #: Calls that succeeded while the load lasted.
        self.good = 0
        self.failed = 0

    def close(self) -> None:
        """No further call begins."""
        self.open = False
        self.until = self._loop.now

    def _interval(self) -> Interval:
        index = int((self._loop.now - self.start) * self._per_second)
        series = self.series
        while len(series) <= index:
            series.append(Interval())
        return series[index]

    def begin(self, name: str) -> None:
        """A call begins."""
        self.running += 1
        self.started += 1
        self.kinds[name].began += 1
        self._interval().began += 1

    def succeed(self, name: str, began: float) -> None:
        """A call that began at the instant *began* has got its reply."""
        self.running -= 1
        elapsed = self._loop.now - began
        if self.open:
            self.good += 1
        counted = began >= self.since
        self._interval().add(self.kinds[name].latency.add(elapsed) if counted else bucket_of(elapsed))

    def fail(self, name: str, began: float, error: BaseException) -> None:
        """A call that began at the instant *began* has ended with *error*."""
        self.running -= 1
        self.failed += 1
        self._interval().failed += 1
        if began >= self.since:
            kind = self.kinds[name]
            kind.failures.add(self._loop.now - began)
            text = type(error).__name__
            kind.errors[text] = kind.errors.get(text, 0) + 1

    def attempt(self, call: Call, instance: SimulatedInstance) -> None:
        """A request of *call* reaches *instance*."""
        interval = self._interval()
        interval.attempts += 1
        instance.attempts += 1
        if call.attempt == 0:
            self.attempts["first"] += 1
            return
        if call.attempt == 1:
            self.retried_calls += 1
        if call.record is not None and call.record.kind == "hedge":
            self.attempts["hedge"] += 1
            interval.hedges += 1
            instance.hedges += 1
        else:
            self.attempts["retry"] += 1
            interval.retries += 1
            instance.retries += 1

    def refused(self, instance: SimulatedInstance) -> None:
        """An instance has refused a request."""
        self.refusals += 1
        instance.refused += 1
        self._interval().refused += 1

    def happened(self, source: str, happening: Happening) -> None:
        """A client or a server has said that something happened."""
        self.events_in_all += 1
        if len(self.events) < MOST_EVENTS:
            self.events.append((self._loop.now - self.start, source, happening.name, happening.detail))
