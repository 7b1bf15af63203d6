"""Which entries are alive: a pure policy, told the time.

An entry lives while its heartbeat moves. Only at first sight is its age by the wall clock believed; afterwards a change
of the heartbeat is what counts, measured on this process's own clock, so that a wall clock that jumps kills nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Liveness"]


class Liveness:
    """The heartbeats of the entries of one name.

    :param ttl: seconds for which an entry lives after a heartbeat.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        #: By file: its last heartbeat, and when (monotonic) it was seen to move.
        self._seen: dict[Path, tuple[int, float]] = {}

    def alive(self, found: Mapping[Path, int], now: float, wall_ns: int) -> set[Path]:
        """The files whose instances live.

        :param found: what is there, each with its heartbeat in nanoseconds of the wall clock.
        :param now: seconds on the monotonic clock.
        :param wall_ns: nanoseconds on the wall clock.
        """
        for path in self._seen.keys() - found.keys():
            del self._seen[path]
        for path, beat_ns in found.items():
            known = self._seen.get(path)
            if known is None:
                age = max(0.0, (wall_ns - beat_ns) / 1e9)
                self._seen[path] = (beat_ns, now - age)
            elif known[0] != beat_ns:
                self._seen[path] = (beat_ns, now)
        return {path for path, (_, moved) in self._seen.items() if now - moved <= self._ttl}
