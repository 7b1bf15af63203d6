"""The contract of a retrier: whether a call gets further attempts, when, and which of them decides it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["RETRY_MARK", "STOP", "WAIT", "Plan", "Retrier", "Retry", "Stop", "Verdict", "Wait"]

#: The key of the persistent metadata that core sets on the n-th further attempt, to n. It reaches every hop below, so
#: that a retrier there can leave the retrying to this one. Source: Kitex ``pkg/retry/util.go`` (``TransitKey``).
RETRY_MARK: Final = "RetryReq"


@dataclass(frozen=True, slots=True)
class Retry:
    """Make one more attempt, *after* seconds from now. Core makes none that could not begin before the deadline."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Make no further attempt now; those that run may still decide the call. When none runs, it is a :class:`Stop`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """This attempt decides the call: its reply, or its error, is the caller's, and attempts that run are cancelled.

    *reason* says why a further attempt that was wanted is not made. It becomes part of the error; empty when none was.
    """

    reason: str = ""


Verdict: TypeAlias = "Retry | Wait | Stop"

#: For the two answers that are given most often.
WAIT: Final = Wait()
STOP: Final = Stop()


class Plan(ABC):
    """The decisions for one call. Told the time in seconds on the monotonic clock; asks no clock itself.

    Core calls it in this order, and never two methods at once:

    1. :meth:`started`, when an attempt starts, the first one included.
    2. :meth:`due`, once, when the delay that the latest :meth:`started` returned has passed. An attempt that ends does
       not stop that clock; one that starts, or is about to after a pause, sets it anew.
    3. :meth:`ended`, once for each attempt that started, when it ends.

    Nothing is called any more once the call is decided: after a :class:`Stop`, after the outcome of the last attempt,
    or when the caller is cancelled. Attempts that run then are cancelled, and the plan does not hear of them.
    An answer of :class:`Retry` is a wish, which the deadline or a method that must not be sent twice can refuse; the
    attempt is made when :meth:`started` says so. So whatever counts attempts counts them there.
    """

    #: Whether further attempts go to the instance of the one before, instead of to one that was not tried yet.
    same_instance: bool = False

    def started(self, attempt: Call, now: float) -> float | None:
        """An attempt starts; ``attempt.attempt`` is its number, from 0.

        :returns: after how many seconds :meth:`due` is asked (a hedge), or ``None``. With ``None`` throughout, a call
            costs no timer and no task. A method that must not be sent twice is never hedged.
        """
        return None

    def due(self, now: float) -> Verdict:
        """The delay has passed. ``Retry`` starts a further attempt beside those that run; the others do nothing."""
        return WAIT

    @abstractmethod
    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        """An attempt has ended.

        :param attempt: with its number, its instance and, in ``biz_status``, a business status.
        :param reply: what came back; ``None`` with an error.
        :param error: what it ended with; a declared exception is one, a business status is none.
        :param running: how many other attempts run, or are about to.
        :returns: ``Retry`` to go on, ``Wait`` to leave it to the others, ``Stop`` to end with this outcome.
        """


class Retrier(ABC):
    """Decides on further attempts. Pure. Only calls without a stream are ever tried again.

    One object serves all calls of a client, and what it learns it keeps between them.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def plan(self, call: Call, now: float) -> Plan | None:
        """The plan for one call, or ``None`` when it gets a single attempt and nobody wants to know how it ends.

        Called once per call, before its first attempt.
        """
