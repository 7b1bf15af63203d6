"""Counts over a sliding window, in dense integers: a ring of buckets for each thing that is counted."""

from __future__ import annotations

from array import array

__all__ = ["FAILURES", "SLOW", "SUCCESSES", "TIMEOUTS", "Window"]

#: What is counted. Slow calls are counted besides, whatever their outcome.
SUCCESSES, FAILURES, TIMEOUTS, SLOW = range(4)


class Window:
    """How many of each there were in the last *buckets* slots of time, the current one included.

    A slot is a number that grows with time. A ring is made when its first count comes: a healthy key has one, of
    4 bytes a bucket.

    Source: bytedance/gopkg ``cloud/circuitbreaker/metricer.go``, which moves all windows by a ticker; this one moves
    when it is used.
    """

    __slots__ = ("_buckets", "_index", "_rings", "counts", "slot")

    def __init__(self, buckets: int, slot: int) -> None:
        self._buckets = buckets
        #: The slot that is current, and its place in the rings.
        self.slot = slot
        self._index = slot % buckets
        self._rings: list[array[int] | None] = [None, None, None, None]
        #: The sums over the window, of each kind.
        self.counts = [0, 0, 0, 0]

    def add(self, kind: int, slot: int) -> None:
        """Count one of *kind* now. A slot in the past counts as the current one: time does not go back."""
        if slot > self.slot:
            self.move(slot)
        ring = self._rings[kind]
        if ring is None:
            ring = self._rings[kind] = array("I", [0]) * self._buckets
        ring[self._index] += 1
        self.counts[kind] += 1

    def move(self, slot: int) -> None:
        """Forget what is too old when *slot* is the current one."""
        passed = slot - self.slot
        if passed <= 0:
            return
        before, self.slot = self._index, slot
        self._index = slot % self._buckets
        if passed >= self._buckets:
            self.clear()
        elif any(self.counts):
            first = before + 1
            self._drop(first, min(first + passed, self._buckets))
            self._drop(0, first + passed - self._buckets)

    def _drop(self, start: int, stop: int) -> None:
        """Empty the buckets from *start* up to *stop*, if there are any."""
        if start >= stop:
            return
        for kind, ring in enumerate(self._rings):
            if ring is not None:
                gone = ring[start] if stop == start + 1 else sum(ring[start:stop])
                if gone:
                    self.counts[kind] -= gone
                    ring[start:stop] = array("I", [0]) * (stop - start)

    def clear(self) -> None:
        """Forget everything."""
        self._rings = [None, None, None, None]
        self.counts = [0, 0, 0, 0]
