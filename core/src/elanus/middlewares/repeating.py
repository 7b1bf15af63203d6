"""What attempts that follow one another and attempts that race have in common. No room, but part of ``retry``."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.contracts.retrier import RETRY_MARK, Retry, Stop
from elanus.errors import ElanusError

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.retrier import Verdict

__all__ = ["Intent", "in_time", "intent_of", "next_attempt", "pause", "restore"]

#: Arguments, options, deadline, its limit, metadata, headers: what rooms inside may replace on their attempt.
Intent: TypeAlias = tuple[Any, ...]


def intent_of(call: Call) -> Intent:
    """What every attempt of *call* starts with. Taken before the first one."""
    return (call.arguments, call.options, call.deadline, call.limit, call.metadata, call.headers)


def restore(call: Call, intent: Intent) -> None:
    """Undo what the rooms inside replaced."""
    call.arguments, call.options, call.deadline, call.limit, call.metadata, call.headers = intent


def next_attempt(call: Call, latest: Call, intent: Intent, *, same_instance: bool, hedge: bool = False) -> Call:
    """One more attempt of *call*, numbered and marked as such.

    :param latest: the attempt that started last.
    :param same_instance: it goes where *latest* went.
    :param hedge: others run.
    """
    number = latest.attempt + 1
    attempt = call.fork(number, hedge=hedge)
    restore(attempt, intent)
    attempt.argument_payload = latest.argument_payload or call.argument_payload
    attempt.metadata = attempt.metadata.with_persistent({RETRY_MARK: str(number)})
    if same_instance:
        attempt.instance = latest.instance
    return attempt


def pause(
    verdict: Verdict, attempt: Call, intent: Intent, error: Exception | None, *, repeatable: bool
) -> float | None:
    """Seconds until the attempt after *attempt*, or ``None`` when there is to be none; the reason is noted."""
    if not isinstance(verdict, Retry):
        if isinstance(verdict, Stop) and verdict.reason:
            _explain(attempt, error, verdict.reason)
        return None
    if not repeatable and getattr(error, "sent", True):
        _explain(attempt, error, f"{attempt.method} is not idempotent, and its request was sent")
        return None
    if not in_time(verdict.after, intent):
        _explain(attempt, error, f"{max(intent[2] - monotonic(), 0):.3f} s of the budget are left, too few for another")
        return None
    return verdict.after


def in_time(after: float, intent: Intent) -> bool:
    """Whether an attempt that begins *after* seconds from now begins before the call's deadline."""
    deadline = intent[2]
    return deadline is None or after < deadline - monotonic()


def _explain(attempt: Call, error: Exception | None, reason: str) -> None:
    """Say why nothing follows: on the call, whose errors and results tell it, and on an error that knows no call."""
    text = f"not tried again: {reason}"
    attempt.note(text)
    if error is not None and not isinstance(error, ElanusError):
        error.add_note(text)
