"""retry: further attempts, each on a copy of the call, as its retrier decides."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import Retry, Stop

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.retrier import Plan, Retrier
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["retry"]


def retry(policy: Retrier) -> Middleware:
    """Run attempts until *policy* stops; the state of the last one becomes the call's.

    An attempt that could not begin before the call's deadline is not made.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            plan = policy.plan(call, monotonic())
            if plan is None:
                return await next_endpoint(call)
            while True:
                attempt = call.fork(call.attempt)
                reply, error = None, None
                try:
                    reply = await next_endpoint(attempt)
                except Exception as raised:
                    error = raised
                finally:
                    call.adopt(attempt)
                if await _again(plan, call, attempt, error):
                    call.attempt += 1
                    continue
                if error is None:
                    return reply
                try:
                    raise error
                finally:
                    del error  # its traceback holds this frame

        return endpoint

    return middleware


async def _again(plan: Plan, call: Call, attempt: Call, error: Exception | None) -> bool:
    verdict = plan.ended(attempt, error, monotonic())
    if isinstance(verdict, Stop):
        if verdict.reason and error is not None:
            error.add_note(f"not tried again: {verdict.reason}")
        return False
    assert isinstance(verdict, Retry)
    left = call.remaining()
    if left is not None and verdict.after >= left:
        return False
    if verdict.after > 0:
        await asyncio.sleep(verdict.after)
    return True
