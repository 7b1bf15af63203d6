"""Policies that decide the same every time, so that a message can be compared word by word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.contracts.limiter import Limiter, Refusal
from elanus.contracts.retrier import STOP, Plan, Retrier, Retry, Stop, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call


class OpenBreaker(Breaker):
    """Lets nobody through."""

    name = "open"

    def allow(self, key: str, now: float) -> bool:
        return False

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        raise AssertionError("nobody was allowed")

    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None:
        """It knows nothing."""


class Refuses(Limiter):
    """Admits every connection and no call."""

    name = "refuses"

    def acquire(self, call: Call, now: float) -> Refusal | None:
        return Refusal("qps", 100, "over 100 calls a second (qps)")

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        raise AssertionError("nobody was acquired")


class Always(Retrier):
    """Tries every failure again, *most* attempts in all, each *pause* seconds after the one before."""

    name = "always"

    def __init__(self, *, most: int, pause: float = 0.0) -> None:
        self._most = most
        self._pause = pause

    def plan(self, call: Call, now: float) -> Plan | None:
        return _AlwaysPlan(self._most, self._pause)


class Hedges(Retrier):
    """Starts one attempt beside the first, *after* seconds later."""

    name = "hedges"

    def __init__(self, after: float) -> None:
        self._after = after

    def plan(self, call: Call, now: float) -> Plan | None:
        return _HedgesPlan(self._after)


class _HedgesPlan(Plan):
    def __init__(self, after: float) -> None:
        self._after = after

    def started(self, attempt: Call, now: float) -> float | None:
        return self._after if attempt.attempt == 0 else None

    def due(self, now: float) -> Verdict:
        return Retry()

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        return STOP


class _AlwaysPlan(Plan):
    def __init__(self, most: int, pause: float) -> None:
        self._left = most
        self._most = most
        self._pause = pause

    def started(self, attempt: Call, now: float) -> float | None:
        self._left -= 1
        return None

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        if error is None:
            return STOP
        return Retry(self._pause) if self._left else Stop(f"{self._most} attempts are the limit")
