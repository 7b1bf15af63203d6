"""Statistics of constant size: what ten million calls leave behind is as much as what a thousand do."""

from __future__ import annotations

from math import exp, inf, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ERROR", "Histogram", "Interval", "Spread", "bucket_of"]

#: By how much a percentile may be off, as a share of itself.
ERROR = 0.005

_LOWEST, _HIGHEST = 1e-6, 1e5
_PER_E = 1.0 / log((1.0 + ERROR) / (1.0 - ERROR))
_BUCKETS = int(log(_HIGHEST / _LOWEST) * _PER_E) + 2


def bucket_of(seconds: float) -> int:
    """The bucket of a value: 0 for a microsecond and less, the last for a day and more."""
    if seconds < _LOWEST:
        return 0
    return min(int(log(seconds / _LOWEST) * _PER_E) + 1, _BUCKETS - 1)


def value_of(bucket: int) -> float:
    """The value that stands for all of a bucket: none in it differs from it by more than :data:`ERROR` of itself."""
    if bucket == 0:
        return 0.0
    return _LOWEST * exp((bucket - 1) / _PER_E) * (1.0 + ERROR)


class Histogram:
    """Seconds, counted in buckets whose width grows with the value, as HdrHistogram's do.

    A percentile is off by 0.5 % of itself at most, between a microsecond and a day. Count, mean, least and greatest
    are exact (the mean up to rounding).
    """

    __slots__ = ("_counts", "count", "greatest", "least", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.total = 0.0
        self.least = inf
        self.greatest = 0.0

    def add(self, seconds: float) -> int:
        """Count one value. Returns its bucket."""
        bucket = bucket_of(seconds)
        self._counts[bucket] += 1
        self.count += 1
        self.total += seconds
        if seconds < self.least:
            self.least = seconds
        if seconds > self.greatest:
            self.greatest = seconds
        return bucket

    @classmethod
    def together(cls, several: Iterable[Histogram]) -> Histogram:
        """A new one of the values of *several*."""
        merged = cls()
        for one in several:
            merged._counts = [mine + theirs for mine, theirs in zip(merged._counts, one._counts, strict=True)]
            merged.count += one.count
            merged.total += one.total
            merged.least = min(merged.least, one.least)
            merged.greatest = max(merged.greatest, one.greatest)
        return merged

    @property
    def mean(self) -> float:
        """In seconds; 0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The least value that *percent* of all values do not exceed (nearest rank), in seconds; 0 without values."""
        if not self.count:
            return 0.0
        found = _ranked(enumerate(self._counts), self.count, percent)
        return min(max(found, self.least), self.greatest)

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """Pairs of seconds and how many values were not above, for each bucket that has any."""
        below = 0
        for bucket, count in enumerate(self._counts):
            if count:
                below += count
                yield value_of(bucket), below


def _ranked(buckets: Iterator[tuple[int, int]] | enumerate[int], count: int, percent: float) -> float:
    rank = max(1.0, percent / 100.0 * count - 1e-9)
    below = 0
    for bucket, some in buckets:
        below += some
        if below >= rank:
            return value_of(bucket)
    return value_of(_BUCKETS - 1)


class Interval:
    """What happened within one stretch of time."""

    __slots__ = ("_buckets", "attempts", "began", "failed", "hedges", "refused", "retries", "succeeded")

    def __init__(self) -> None:
        #: Calls that began in it, and those that ended in it.
        self.began = 0
        self.succeeded = 0
        self.failed = 0
        #: Requests that reached an instance, further attempts included, and how many of them were such.
        self.attempts = 0
        self.retries = 0
        self.hedges = 0
        #: Requests that an instance refused.
        self.refused = 0
        self._buckets: dict[int, int] = {}

    def add(self, bucket: int) -> None:
        """Count a reply by the bucket of its latency."""
        self.succeeded += 1
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def percentile(self, percent: float) -> float:
        """As :meth:`Histogram.percentile`, of the calls that succeeded."""
        if not self.succeeded:
            return 0.0
        return _ranked(iter(sorted(self._buckets.items())), self.succeeded, percent)


class Spread:
    """How evenly something is spread: least, mean, greatest, and the coefficient of variation."""

    def __init__(self, values: Mapping[str, float]) -> None:
        some = list(values.values()) or [0.0]
        self.least, self.greatest = min(some), max(some)
        self.mean = sum(some) / len(some)
        variance = sum((one - self.mean) ** 2 for one in some) / len(some)
        #: Standard deviation as a share of the mean; 0 for an even spread.
        self.variation = variance**0.5 / self.mean if self.mean else 0.0
