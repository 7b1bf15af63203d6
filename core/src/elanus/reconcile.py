"""Desired against seen state: the pure part of every registry's loop.

What is wanted is announced; what is announced is renewed and read back; what has gone missing is announced again, for
as long as it takes. Told the time, asks no clock; chance only from a generator that can be given.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.service import Instance

__all__ = ["Announcement", "Reconcile", "Rhythm", "Step", "StepKind"]


class StepKind(enum.Enum):
    """What is to be done for one announcement."""

    ANNOUNCE = "announce"
    RENEW = "renew"
    CHECK = "check"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often things are done, in seconds.

    A failed step is tried again after ``first_retry``, then twice as long each time up to ``longest_retry``, each wait
    shortened by chance to no less than half, so that a fleet does not come back all at once.
    """

    #: Between renewals of a lease or a heartbeat; ``None`` when the registry needs none.
    renew_every: float | None
    #: Between reading back what was announced.
    check_every: float
    #: Without a renewal for so long the registry counts the announcement as gone.
    ttl: float
    first_retry: float = 0.25
    longest_retry: float = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do, and for which announcement."""

    kind: StepKind
    announcement: Announcement


class Announcement:
    """One wanted (or no longer wanted) announcement, and what is known of it. Instants are of the clock given."""

    __slots__ = (
        "_announced_at",
        "_check_at",
        "_failures",
        "_renew_at",
        "_renewed_at",
        "_retry_at",
        "announced_since",
        "instance",
        "last_error",
        "lost_since",
        "name",
        "standing",
        "wanted",
    )

    def __init__(self, name: str, instance: Instance, now: float) -> None:
        self.name = name
        self.instance = instance
        self.wanted = True
        #: Whether the registry has it, as far as is known.
        self.standing = False
        self.announced_since: float | None = None
        self.lost_since: float | None = None
        self.last_error = ""
        self._failures = 0
        self._retry_at = now
        self._announced_at = float("-inf")
        self._renew_at = now
        self._renewed_at = now
        self._check_at = now

    def due(self, rhythm: Rhythm) -> tuple[float, StepKind]:
        """When its next step is due, and which that is."""
        if not self.wanted:
            return self._retry_at, StepKind.WITHDRAW
        if not self.standing:
            return self._retry_at, StepKind.ANNOUNCE
        if rhythm.renew_every is not None and self._renew_at <= self._check_at:
            return self._renew_at, StepKind.RENEW
        return self._check_at, StepKind.CHECK


class Reconcile:
    """Decides what to do next for the announcements of one registry.

    :param rhythm: how often.
    :param chance: for the jitter; a seeded one makes every decision repeatable.
    """

    def __init__(self, rhythm: Rhythm, chance: random.Random | None = None) -> None:
        self._rhythm = rhythm
        self._chance = chance or random.Random()
        self.announcements: dict[tuple[str, str], Announcement] = {}

    def want(self, name: str, instance: Instance, now: float) -> Announcement:
        """Announce *instance* from now on; with new weight or tags it is announced anew."""
        key = (name, instance.address)
        known = self.announcements.get(key)
        if known is not None and known.wanted and known.instance == instance:
            return known
        announcement = self.announcements[key] = Announcement(name, instance, now)
        return announcement

    def release(self, name: str, instance: Instance, now: float) -> Announcement | None:
        """Withdraw from now on; ``None`` when it was not wanted."""
        announcement = self.announcements.get((name, instance.address))
        if announcement is None or not announcement.wanted:
            return None
        announcement.wanted = False
        announcement._failures = 0
        announcement._retry_at = now
        return announcement

    def forget(self, announcement: Announcement) -> None:
        """Give up on it, whatever the registry has. One that has taken its place stays."""
        key = announcement.name, announcement.instance.address
        if self.announcements.get(key) is announcement:
            del self.announcements[key]

    def decide(self, now: float) -> Step | float | None:
        """The step that is due, or the seconds until one is, or ``None`` when nothing is wanted at all."""
        soonest: tuple[float, StepKind, Announcement] | None = None
        for announcement in self.announcements.values():
            at, kind = announcement.due(self._rhythm)
            if soonest is None or at < soonest[0]:
                soonest = (at, kind, announcement)
        if soonest is None:
            return None
        at, kind, announcement = soonest
        return Step(kind, announcement) if at <= now else at - now

    def succeeded(self, step: Step, now: float, *, found: bool = True) -> None:
        """A step was carried out. *found* is ``False`` when renewing or checking showed that it is gone."""
        announcement = step.announcement
        announcement.last_error = ""
        if step.kind is StepKind.WITHDRAW:
            self.forget(announcement)
        elif not found:
            self._lost(announcement, now)
        else:
            if step.kind is StepKind.ANNOUNCE:
                self._announced(announcement, now)
            announcement._failures = 0
            self._schedule(announcement, step.kind, now)

    def failed(self, step: Step, error: str, now: float) -> None:
        """A step could not be carried out; it is tried again later."""
        announcement, rhythm = step.announcement, self._rhythm
        announcement.last_error = error
        announcement._failures += 1
        again = now + self._wait(announcement._failures)
        match step.kind:
            case StepKind.RENEW:
                announcement._renew_at = again
                announcement._check_at = max(announcement._check_at, again)
            case StepKind.CHECK:
                announcement._check_at = again
            case _:
                announcement._retry_at = again
        overdue = rhythm.renew_every is not None and now - announcement._renewed_at > rhythm.ttl
        if announcement.lost_since is None and (overdue or not announcement.standing):
            announcement.lost_since = now

    def _announced(self, announcement: Announcement, now: float) -> None:
        announcement.standing = True
        announcement.lost_since = None
        announcement.announced_since = now
        announcement._announced_at = announcement._renewed_at = now

    def _schedule(self, announcement: Announcement, kind: StepKind, now: float) -> None:
        rhythm = self._rhythm
        if kind is StepKind.RENEW:
            announcement._renewed_at = now
            announcement.lost_since = None
        if kind is not StepKind.CHECK:
            announcement._renew_at = now + (rhythm.renew_every or 0.0)
        if kind is not StepKind.RENEW:
            announcement._check_at = now + rhythm.check_every * self._chance.uniform(0.9, 1.0)

    def _lost(self, announcement: Announcement, now: float) -> None:
        """Gone behind our back: announce again, at once unless that was only just done."""
        announcement.standing = False
        if announcement.lost_since is None:
            announcement.lost_since = now
        # Somebody may delete it each time; that must not become a tight loop.
        announcement._retry_at = max(now, announcement._announced_at + self._rhythm.first_retry)

    def _wait(self, failures: int) -> float:
        rhythm = self._rhythm
        full = min(rhythm.longest_retry, rhythm.first_retry * 2.0 ** min(failures - 1, 30))
        return full * self._chance.uniform(0.5, 1.0)
