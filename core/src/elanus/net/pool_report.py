"""What a pool tells about itself: counters, and the state of every connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConnectionReport", "GroupReport", "PoolCounters"]


@dataclass(slots=True)
class PoolCounters:
    """What has happened to connections, as numbers that only grow. Kitex's ``connpool.Reporter``, and more."""

    #: Connections that were made, and attempts to make one that failed.
    connected: int = 0
    failed: int = 0
    #: Calls that found an open connection.
    reused: int = 0
    #: Calls that had to wait, because no connection was free and no other one could be made.
    waited: int = 0
    #: Connections that the pool closed, by reason: ``"idle"`` for too long, ``"surplus"`` (over the bound of idle ones
    #: per instance), ``"surplus in all"``, ``"age"``, ``"room"`` (it was needed for another instance), ``"gone"`` (the
    #: instance is), ``"spent"`` (its server wants no more calls on it, or a call on it was given up), ``"used"`` (each
    #: call has its own), ``"closed"`` with the client.
    evicted: dict[str, int] = field(default_factory=dict)
    #: Connections that ended otherwise: their server closed them, or they broke.
    lost: int = 0

    def add(self, other: PoolCounters) -> None:
        """Add the numbers of *other*."""
        self.connected += other.connected
        self.failed += other.failed
        self.reused += other.reused
        self.waited += other.waited
        self.lost += other.lost
        for reason, count in other.evicted.items():
            self.evicted[reason] = self.evicted.get(reason, 0) + count


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """One open connection. Durations in seconds."""

    age: float
    #: Since when no call uses it; ``None`` while one does.
    idle: float | None
    #: Calls that wait for a reply on it, and calls that could start now.
    busy: int
    free: int
    #: Until it takes no more calls because of its age; ``None`` without such a limit.
    left: float | None
    #: It takes no more calls and is closed after the last one.
    leaving: bool


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The connections to one instance (on one lane: a transport may keep streams apart from calls)."""

    address: str
    lane: str
    connections: Sequence[ConnectionReport]
    #: Connections that are being made, and calls that wait for one.
    connecting: int
    waiting: int
    #: Those of this instance alone, since its first call.
    counters: PoolCounters
