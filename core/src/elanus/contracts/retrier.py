"""The contract of a retrier: what to do after an attempt, or while one takes too long."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["Hedge", "Plan", "Retrier", "Retry", "Stop"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Make one more attempt, *after* seconds from now."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Make no more attempts. *reason* is added to the error that the caller gets; empty when the outcome is final."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hedge:
    """If the attempt still runs *after* seconds from now, start another beside it."""

    after: float


class Plan(ABC):
    """The decisions for one call. Told the time, asks no clock, draws from the budget of its retrier."""

    @abstractmethod
    def started(self, call: Call, now: float) -> Hedge | None:
        """An attempt has started; the answer says when to start another beside it, if ever."""

    @abstractmethod
    def timer(self, now: float) -> Hedge | Retry | Stop:
        """The time that a :class:`Hedge` named has come and no attempt has ended: start another, wait on, or stop."""

    @abstractmethod
    def ended(self, call: Call, error: BaseException | None, now: float) -> Retry | Stop:
        """An attempt has ended; ``None`` is success. *call* is that attempt."""


class Retrier(ABC):
    """Decides on further attempts. Pure. Only calls without a stream are ever tried again."""

    #: The name users select it by.
    name: str

    @abstractmethod
    def plan(self, call: Call, now: float) -> Plan | None:
        """The plan for one call, or ``None`` when it gets a single attempt."""
