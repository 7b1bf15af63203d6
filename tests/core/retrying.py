"""Plans that follow a script and write down what they are told, and attempts that take their time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import STOP, WAIT, Plan, Retrier, Retry, Stop, Verdict
from elanus.errors import RpcTimeoutError
from elanus.middlewares.retry import retry
from elanus.testing import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from elanus.call import Call

__all__ = ["Script", "Told", "answers_after", "attempts", "fails_after", "room", "timed_out", "virtual"]


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def run(**fixtures: Any) -> None:
        run_virtual(test(**fixtures))

    run.__name__ = test.__name__
    return run


def timed_out() -> RpcTimeoutError:
    return RpcTimeoutError(1.0, limit="attempt_timeout")


@dataclass
class Told:
    """One thing that the plan was told, at an instant since it was made."""

    at: float
    what: str
    attempt: int = -1
    running: int = -1


@dataclass
class Script(Retrier, Plan):
    """Tries again until an attempt succeeds or *most* attempts were made, and hedges after *delay*.

    Checks on the way that core keeps the order that the contract promises.
    """

    most: int = 3
    after: float = 0.0
    delay: float | None = None
    same_instance: bool = False
    name: str = "script"
    told: list[Told] = field(default_factory=list)
    made: float = 0.0
    count: int = 0
    open: set[int] = field(default_factory=set)
    decided: bool = False

    def plan(self, call: Call, now: float) -> Plan | None:
        self.made = now
        return self if self.most > 0 else None

    def started(self, attempt: Call, now: float) -> float | None:
        assert not self.decided
        assert attempt.attempt == self.count
        self.count += 1
        self.open.add(attempt.attempt)
        self.told.append(Told(round(now - self.made, 6), "started", attempt.attempt))
        return self.delay if self.count < self.most else None

    def due(self, now: float) -> Verdict:
        assert not self.decided
        assert self.delay is not None
        self.told.append(Told(round(now - self.made, 6), "due"))
        return Retry() if self.count < self.most else WAIT

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        assert not self.decided
        assert reply is None or error is None
        self.open.remove(attempt.attempt)
        assert running >= len(self.open)
        self.told.append(Told(round(now - self.made, 6), "ended", attempt.attempt, running))
        verdict = self.verdict(error, running)
        self.decided = isinstance(verdict, Stop) or (verdict is WAIT and not running)
        return verdict

    def verdict(self, error: Exception | None, running: int) -> Verdict:
        if error is None:
            return STOP
        if self.count < self.most:
            return Retry(self.after)
        return WAIT if running else Stop("attempts are used up")

    @property
    def lines(self) -> list[str]:
        return [f"{told.what} {told.attempt}" if told.attempt >= 0 else told.what for told in self.told]


def room(
    policy: Retrier, endpoint: Callable[[Call], Awaitable[Any]], *, idempotent: bool | None = None
) -> Callable[[Call], Awaitable[Any]]:
    return retry(policy, idempotent=idempotent)(endpoint)


def attempts(*behaviours: Callable[[Call], Awaitable[Any]]) -> tuple[Callable[[Call], Awaitable[Any]], list[str]]:
    """An endpoint whose n-th attempt behaves as the n-th of *behaviours*, and the list of how they ended."""
    ends: list[str] = []

    async def endpoint(call: Call) -> Any:
        number = call.attempt
        try:
            reply = await behaviours[number](call)
        except BaseException as error:
            ends.append(f"{number} {type(error).__name__}")
            raise
        ends.append(f"{number} ok")
        return reply

    return endpoint, ends


def fails_after(seconds: float, error: Exception | None = None) -> Callable[[Call], Awaitable[Any]]:
    async def behaviour(call: Call) -> Any:
        await asyncio.sleep(seconds)
        raise timed_out() if error is None else error

    return behaviour


def answers_after(seconds: float, reply: Any = None) -> Callable[[Call], Awaitable[Any]]:
    async def behaviour(call: Call) -> Any:
        await asyncio.sleep(seconds)
        call.peer = f"peer of {call.attempt}"
        return f"reply {call.attempt}" if reply is None else reply

    return behaviour
