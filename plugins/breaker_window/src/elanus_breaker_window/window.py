"""Counts over a sliding window, in dense integers: a ring of buckets for each thing that is counted."""

from __future__ import annotations

from array import array

__all__ = ["FAILURES", "SLOW", "SUCCESSES", "TIMEOUTS", "Window"]

#: What is counted. Slow calls are counted besides, whatever their outcome.
SUCCESSES, FAILURES, TIMEOUTS, SLOW = range(4)


class Window:
    """How many of each there were in the last *buckets* stretches of time, the current one included.

    A ring of 4 bytes a bucket is made when its first count comes; a healthy key has one.

    Source: bytedance/gopkg ``cloud/circuitbreaker/metricer.go``, which moves all windows by a ticker; this one moves
    when it is used.

    :param seconds: of one bucket.
    :param now: seconds on the monotonic clock.
    """

    __slots__ = ("_buckets", "_per_second", "_rings", "counts", "good", "index", "slot", "until")

    def __init__(self, buckets: int, seconds: float, now: float) -> None:
        self._buckets = buckets
        self._per_second = 1.0 / seconds
        #: The number of the current bucket since the beginning of time, its place in the rings, and when it ends.
        self.slot = int(now * self._per_second)
        self.index = self.slot % buckets
        self.until = (self.slot + 1) * seconds
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        #: The ring of successes, which every key has.
        self.good = array("I", bytes(4 * self._buckets))
        self._rings: list[array[int] | None] = [self.good, None, None, None]
        #: The sums over the window, of each kind.
        self.counts = [0, 0, 0, 0]

    def add(self, kind: int, now: float) -> None:
        """Count one of *kind*. What comes out of time counts as now: time does not go back."""
        if now >= self.until:
            self.move(now)
        ring = self._rings[kind]
        if ring is None:
            ring = self._rings[kind] = array("I", bytes(4 * self._buckets))
        ring[self.index] += 1
        self.counts[kind] += 1

    def move(self, now: float) -> None:
        """Forget what is too old."""
        slot = int(now * self._per_second)
        passed = slot - self.slot
        if passed <= 0:
            return
        buckets, first = self._buckets, self.index + 1
        self.slot = slot
        self.index = slot % buckets
        self.until = (slot + 1) / self._per_second
        if passed >= buckets:
            if any(self.counts):
                self.clear()
            return
        stop = first + passed
        if stop <= buckets:
            self._drop(first, stop)
        else:
            self._drop(first, buckets)
            self._drop(0, stop - buckets)

    def _drop(self, start: int, stop: int) -> None:
        """Empty the buckets from *start* up to *stop*."""
        counts, kind = self.counts, 0
        for ring in self._rings:
            if ring is not None and counts[kind]:
                gone = sum(ring[start:stop])
                if gone:
                    counts[kind] -= gone
                    ring[start:stop] = array("I", bytes(4 * (stop - start)))
            kind += 1  # noqa: SIM113 - cheaper than enumerate, on the way of calls
