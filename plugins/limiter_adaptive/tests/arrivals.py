"""Calls as the room that asks a limiter sees them, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.deadline import Deadline
from elanus.priority import Priority
from elanus.testing import make_call

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.service import MethodKind
    from elanus_limiter_adaptive import AdaptiveLimiter

__all__ = ["arrival", "serve"]


def arrival(
    read: float,
    priority: Priority = Priority.NORMAL,
    *,
    method: str = "echo",
    left: float | None = None,
    kind: MethodKind | None = None,
) -> Call:
    """A call that was read at *read*, with *left* seconds until its deadline."""
    call = make_call(method, kind=kind)
    call.timeline = [("start", read)]
    call.metadata = priority.metadata
    if left is not None:
        call.deadline = Deadline(read + left)
    return call


def serve(limiter: AdaptiveLimiter, start: float, calls: int, latency: float, *, method: str = "echo") -> float:
    """*calls* one after another, each of which passes and takes *latency*; the instant at which the last one ended."""
    now = start
    for _ in range(calls):
        call = arrival(now, method=method)
        assert limiter.acquire(call, now) is None
        now += latency
        limiter.release(call, None, latency, now)
    return now
