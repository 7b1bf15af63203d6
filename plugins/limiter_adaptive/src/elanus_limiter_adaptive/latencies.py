"""What is known of one method's latency: of the running window, of the last one, and of a quiet server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Kind", "MethodLatency", "Window", "window_of"]

#: Calls of which the plain average is the first baseline.
_FIRST = 100
#: A window whose average may be wrong by so much of itself (its standard error) counts half.
_DOUBT = 0.1


class Kind(float, Enum):
    """What a window says of the baseline: how far it moves it towards its own average.

    What is slow under load is mostly slow for the load, yet it must count: chance would otherwise take the baseline
    down, a little every time, until nothing is admitted.
    """

    #: The limit was not used, so that hardly anything waited.
    QUIET = 0.9
    BUSY_FASTER = 0.2
    BUSY_SLOWER = 0.004
    #: A probe has found the latency of a quiet server, or is still looking for it.
    FOUND = 1.0
    LOOKING = 0.0


class MethodLatency:
    """One method. Latencies are seconds from the arrival of the request, waiting in the event loop included."""

    __slots__ = (
        "_seen",
        "_squares",
        "baseline",
        "calls",
        "fastest",
        "let_through",
        "quickest",
        "recent",
        "streams",
        "total",
    )

    def __init__(self, *, streams: bool) -> None:
        #: A stream lasts as long as its users like: that is no latency.
        self.streams = streams
        #: The running window.
        self.calls = 0
        self.total = 0.0
        self.quickest = inf
        #: The last window in which there were calls: their average, and the fastest one.
        self.recent: float | None = None
        self.fastest = 0.0
        #: What it takes on average when nothing waits, as far as was seen; 0 before the first window.
        self.baseline = 0.0
        self._seen = 0
        self._squares = 0.0
        #: When a call with too little time left was last let through, to learn.
        self.let_through = -inf

    def add(self, seconds: float) -> None:
        """A call took so long."""
        self.calls += 1
        self.total += seconds
        self._squares += seconds * seconds
        if seconds < self.quickest:
            self.quickest = seconds

    @property
    def variance(self) -> float:
        """That of the calls of the running window, in which there was one."""
        average = self.total / self.calls
        return max(0.0, self._squares / self.calls - average * average)

    def close_window(self, kind: Kind) -> None:
        """The running window, in which there was a call, is the last one from now on."""
        average = self.total / self.calls
        first = self._seen < _FIRST
        self._seen += self.calls
        if kind is Kind.BUSY_SLOWER and average < self.baseline:
            kind = Kind.BUSY_FASTER
        if first and kind in (Kind.QUIET, Kind.BUSY_FASTER, Kind.BUSY_SLOWER):
            part = self.calls / self._seen  # the plain average of all
        else:
            part = kind.value * self._weight(average)
        self.baseline += part * (average - self.baseline)
        self.recent, self.fastest = average, self.quickest
        self.calls, self.total, self._squares, self.quickest = 0, 0.0, 0.0, inf

    def _weight(self, average: float) -> float:
        """What the running window is worth, from 0 to 1: the less chance plays a part in its average, the more."""
        doubt = self.variance / self.calls / (average * average) if average > 0.0 else 0.0
        return 1.0 / (1.0 + doubt / (_DOUBT * _DOUBT))


@dataclass(slots=True)
class Window:
    """The sum over all methods."""

    calls: int = 0
    #: Seconds that calls took, and that they would have taken on a quiet server.
    actual: float = 0.0
    expected: float = 0.0
    #: The sum of the variances.
    variance: float = 0.0

    @property
    def slowness(self) -> float:
        """How many times longer than on a quiet server calls took."""
        return self.actual / self.expected if self.expected > 0.0 else 1.0

    @property
    def error(self) -> float:
        """How far chance may have moved :attr:`actual`, as a share of it: two standard errors."""
        return 2.0 * sqrt(self.variance) / self.actual if self.actual > 0.0 else 0.0


def window_of(methods: Iterable[MethodLatency]) -> Window:
    """The running window of all *methods*. Each method is measured against itself, so that a change of the mix of fast
    and slow ones does not look like a change of load.
    """
    window = Window()
    for method in methods:
        calls = method.calls
        if calls:
            window.calls += calls
            window.actual += method.total
            window.expected += calls * (method.baseline or method.total / calls)
            window.variance += calls * method.variance
    return window
