"""The contract of a retrier: what to do after an attempt has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["Plan", "Retrier", "Retry", "Stop"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Make one more attempt, *after* seconds from now."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Make no more attempts. *reason* is noted on the error that the caller gets; empty when the outcome is final."""

    reason: str = ""


class Plan(ABC):
    """The decisions for one call. Told the time, asks no clock, draws from the budget of its retrier."""

    @abstractmethod
    def ended(self, call: Call, error: BaseException | None, now: float) -> Retry | Stop:
        """An attempt has ended; ``None`` is success. *call* is that attempt, with its number and its outcome."""


class Retrier(ABC):
    """Decides on further attempts. Pure. Only calls without a stream are ever tried again."""

    #: The name users select it by.
    name: str

    @abstractmethod
    def plan(self, call: Call, now: float) -> Plan | None:
        """The plan for one call, or ``None`` when it gets a single attempt."""
