"""Who goes first when there is too much to do: the less a call matters, the more room it has to leave to others."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from elanus.contracts.limiter import Refusal
from elanus.priority import Priority

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LAG_SHARE", "Lag", "Shares", "refusals", "rooms"]

#: By priority: calls, and the share of the limit, that it leaves to those above it.
_RESERVE = {Priority.LOW: (3, 0.2), Priority.NORMAL: (2, 0.1), Priority.HIGH: (1, 0.05), Priority.CRITICAL: (0, 0.0)}
#: What a window does to the share of those that matter less than what was refused in it, and to that of others.
_CUT, _GIVEN_BACK = 0.7, 0.02
_SMALLEST_SHARE = 0.01
#: By priority: how much of the lag that is too much it can stand.
_LAG_FACTOR = (0.5, 1.0, 1.5, 2.0)
#: A lag of so much of a method's own latency is too much.
LAG_SHARE = 0.5
#: Seconds for which the loop must have lagged before calls are refused for it: one pause, of the garbage collector for
#: instance, is no overload.
_PATIENCE = 0.1


def rooms(limit: float, shares: Sequence[float]) -> tuple[int, ...]:
    """Calls that may be in flight, by priority. None is over the limit, all are at least 1, and one that matters more
    never has less.

    :param shares: what each priority may have of its room, from 0 to 1, never falling.
    """
    whole = int(limit)
    return tuple(
        max(1, int((whole - max(fixed, ceil(whole * reserve))) * share))
        for (fixed, reserve), share in zip(_RESERVE.values(), shares, strict=True)
    )


class Shares:
    """How much of its room each priority may use. When calls are refused that matter more, what matters less has less:
    a reserve alone is soon used up, when there is much more of the lesser kind.
    """

    __slots__ = ("_refused", "values")

    def __init__(self) -> None:
        #: By priority, from 0 to 1; one that matters more never has less.
        self.values = [1.0] * len(Priority)
        self._refused: int = -1

    def note(self, priority: int) -> None:
        """There was no room for a call."""
        if priority > self._refused:
            self._refused = priority

    def close_window(self) -> None:
        """Take from those that matter less than what was refused; give back to the others, slowly."""
        for priority, share in enumerate(self.values[:-1]):
            if priority < self._refused:
                self.values[priority] = max(_SMALLEST_SHARE, share * _CUT)
            else:
                self.values[priority] = min(1.0, share + _GIVEN_BACK)
        self._refused = -1


def refusals(limit: float) -> tuple[Refusal, ...]:
    """What calls are told for which there is no room, by priority."""
    whole = int(limit)
    return tuple(
        Refusal(f"concurrency[{priority.name.lower()}]", whole, f"too many calls in flight (adaptive limit = {whole})")
        for priority in Priority
    )


class Lag:
    """Whether the event loop lags so long, and for so long already, that calls have to be refused for it."""

    __slots__ = ("_last", "_refusals", "_since", "seconds")

    def __init__(self) -> None:
        #: That of the last call, in seconds.
        self.seconds = 0.0
        self._since = self._last = 0.0
        self._refusals = tuple(
            Refusal(f"lag[{priority.name.lower()}]", None, "the server lags behind") for priority in Priority
        )

    def refusal(self, seconds: float, most: float, priority: int, now: float) -> Refusal | None:
        """Why a call may not pass that has waited for *seconds*, if so. *most* is too much for a normal one."""
        self.seconds = seconds
        if seconds <= most * _LAG_FACTOR[0]:
            return None
        if now - self._last > _PATIENCE:
            self._since = now
        self._last = now
        if now - self._since < _PATIENCE or seconds <= most * _LAG_FACTOR[priority]:
            return None
        return self._refusals[priority]
