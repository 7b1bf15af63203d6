"""Counts over the last ten seconds: good ones and bad ones, in a hundred buckets of 100 ms."""

from __future__ import annotations

__all__ = ["SECONDS", "Window"]

#: Source: bytedance/gopkg ``cloud/circuitbreaker`` (``bucketTime``, ``bucketNums``), which Kitex's retry breaker uses.
_BUCKETS = 100
_PER_SECOND = 10

#: How far back a window looks.
SECONDS = _BUCKETS / _PER_SECOND


class Window:
    """A sliding window of two counts. Told the time, which may stand still; a step back counts as standing still."""

    __slots__ = ("_bads", "_goods", "_index", "_tick", "_until", "bad", "good")

    def __init__(self) -> None:
        self._goods = [0] * _BUCKETS
        self._bads = [0] * _BUCKETS
        self._tick = -_BUCKETS
        self._index = 0
        #: No later than the instant at which the current bucket ends.
        self._until = float("-inf")
        #: The sums as of the last :meth:`advance` or :meth:`add`.
        self.good = 0
        self.bad = 0

    def advance(self, now: float) -> None:
        """Forget what is older than the window."""
        tick = int(now * _PER_SECOND)
        gap = tick - self._tick
        if gap <= 0:
            return
        if gap >= _BUCKETS:
            self._goods = [0] * _BUCKETS
            self._bads = [0] * _BUCKETS
            self.good = self.bad = 0
        else:
            for each in range(self._tick + 1, tick + 1):
                index = each % _BUCKETS
                self.good -= self._goods[index]
                self.bad -= self._bads[index]
                self._goods[index] = self._bads[index] = 0
        self._tick = tick
        self._index = tick % _BUCKETS
        self._until = (tick + 1) / _PER_SECOND

    def add(self, now: float, *, bad: bool = False) -> None:
        """Count one."""
        if now >= self._until:
            self.advance(now)
        if bad:
            self._bads[self._index] += 1
            self.bad += 1
        else:
            self._goods[self._index] += 1
            self.good += 1

    @property
    def total(self) -> int:
        """All that was counted."""
        return self.good + self.bad

    @property
    def rate(self) -> float:
        """The share of the bad ones; 0 for an empty window."""
        return self.bad / self.total if self.bad else 0.0
