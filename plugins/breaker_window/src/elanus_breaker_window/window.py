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
        buckets, first = self._buckets, self._index + 1
        self.slot = slot
        self._index = slot % buckets
        if passed >= buckets:
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
                    ring[start:stop] = array("I", bytes(ring.itemsize * (stop - start)))
            kind += 1  # noqa: SIM113 - cheaper than enumerate, on the way of calls

    def clear(self) -> None:
        """Forget everything."""
        self._rings = [None, None, None, None]
        self.counts = [0, 0, 0, 0]
