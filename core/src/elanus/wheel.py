"""The timer wheel: many deadlines, of which nearly none is ever reached, for next to nothing each.

A call that has a deadline is entered when it starts and removed when it ends. Entries share buckets of 5 ms, and the
event loop gets one timer for all of them, so that starting a call costs two dictionary operations where
``asyncio.timeout`` costs a timer of its own.
"""

from __future__ import annotations

import weakref
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio

    from elanus.call import Call

    Bucket: TypeAlias = "dict[Call, asyncio.Task[Any]]"

__all__ = ["TimerWheel", "wheel_of"]

#: Buckets in a second: each is 5 ms wide.
_PER_SECOND = 200.0
#: Added to every wake-up. uvloop rounds delays to whole milliseconds, to the nearer one, and asyncio lets a timer
#: go a clock tick early; waking before a bucket is due would only mean a second wake-up.
_MARGIN = 0.001
#: Empty buckets stay until their time comes, since the next call mostly needs them; beyond this many, swept.
_SWEEP_AT = 512


class TimerWheel:
    """The deadlines of the calls that run in one event loop. Use it from that loop's thread only.

    Instants are seconds on the clock of the loop, which is :func:`time.monotonic` for asyncio and uvloop alike. An
    entry never expires early, and at most some 7 ms late plus however long the loop was kept busy.

    :param loop: kept by a weak reference.
    """

    __slots__ = ("_armed", "_buckets", "_keys", "_loop", "_sweep_at", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._buckets: dict[int, Bucket] = {}
        self._keys: list[int] = []  # a heap of the keys of _buckets
        # By reference only as weak as that of the loop: a handle holds its loop, and an armed wheel must not keep it.
        self._timer: weakref.ref[asyncio.TimerHandle] | None = None
        self._armed = 0  # the key for which the timer was set
        self._sweep_at = _SWEEP_AT

    def add(self, call: Call, task: asyncio.Task[Any], at: float) -> None:
        """From the instant *at* on, set ``call.expired`` and cancel *task*, unless :meth:`remove` comes first.

        A call has one entry at a time.
        """
        try:
            self._buckets[int(at * _PER_SECOND)][call] = task
        except KeyError:
            self._open(int(at * _PER_SECOND))[call] = task

    def remove(self, call: Call, at: float) -> None:
        """Take the entry out again; *at* as it was given to :meth:`add`. Does nothing once it expired."""
        try:
            del self._buckets[int(at * _PER_SECOND)][call]
        except KeyError:
            pass

    def close(self) -> None:
        """Forget every entry, without touching the tasks, and stop the timer."""
        self._buckets.clear()
        self._keys.clear()
        self._disarm()

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    @property
    def armed(self) -> bool:
        """Whether the loop holds a timer. It may do so for a while after the last entry is gone."""
        return self._timer is not None

    def _open(self, key: int) -> Bucket:
        if len(self._buckets) >= self._sweep_at:
            self._sweep()
        bucket: Bucket = {}
        self._buckets[key] = bucket
        heappush(self._keys, key)
        if self._timer is None or key < self._armed:
            self._arm(key)
        return bucket

    def _sweep(self) -> None:
        """Drop the empty buckets. The next sweep waits until their number has doubled, so each costs O(1) a bucket."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket}
        self._keys = list(self._buckets)
        heapify(self._keys)
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._buckets))

    def _arm(self, key: int) -> None:
        self._disarm()
        loop = self._loop()
        if loop is not None:
            self._armed = key
            # A bucket is due once the last instant in it has passed, which is where the next one begins. The empty
            # context keeps the timer from holding on to the call during which it happened to be set.
            when = (key + 1) / _PER_SECOND + _MARGIN
            self._timer = weakref.ref(loop.call_at(when, self._wake, context=Context()))

    def _disarm(self) -> None:
        handle = self._timer and self._timer()
        if handle:
            handle.cancel()
        self._timer = None

    def _wake(self) -> None:
        self._timer = None
        loop = self._loop()
        if loop is None:
            return
        # The same expression as in `add`: it is monotonic, so an instant after now is never in an earlier bucket.
        current = int(loop.time() * _PER_SECOND)
        while self._keys and (self._keys[0] < current or not self._buckets[self._keys[0]]):
            for call, task in self._buckets.pop(heappop(self._keys)).items():
                call.expired = True
                task.cancel()
        if self._keys:
            self._arm(self._keys[0])


# By id, since a weak dictionary costs more than the wheel saves. An id is not reused while its entry is here: the
# reference's callback takes the entry out before the memory of the loop is given back.
_wheels: dict[int, tuple[TimerWheel, weakref.ref[asyncio.AbstractEventLoop]]] = {}


def wheel_of(loop: asyncio.AbstractEventLoop) -> TimerWheel:
    """The wheel of *loop*, made at the first call. It goes when the loop goes."""
    entry = _wheels.get(id(loop))
    if entry is not None:
        return entry[0]
    key = id(loop)
    wheel = TimerWheel(loop)
    _wheels[key] = wheel, weakref.ref(loop, lambda _: _wheels.pop(key, None))
    return wheel
