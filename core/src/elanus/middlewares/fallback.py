"""fallback: the last word on the outcome of a unary call, after all attempts."""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from elanus.contracts.fallback import Fallback
from elanus.errors import ElanusError

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.fallback import FallbackFunction
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["fallback"]


def fallback(choice: Fallback | FallbackFunction, *, traced: bool = False) -> Middleware:
    """Let *choice* see the outcome, and decide what of it counts. Cancellation is not an outcome, and passes by.

    What the tracers are to see instead of that is noted on the call, as ``call.reported``.

    :param traced: there are tracers.
    """
    policy = Fallback.of(choice)

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            reply, error = None, None
            try:
                reply = await next_endpoint(call)
            except Exception as raised:
                error = raised
            seen = error or call.biz_status
            try:
                if policy.applies(seen):
                    _locate(call, error)
                    if traced and not (policy.report and error is not None):
                        call.reported = (error, call.biz_status)
                    return await _decided(policy, call, reply, error, seen)
                if error is not None:
                    raise error
                return reply
            finally:
                error = seen = None  # a traceback holds this frame

        return endpoint

    return middleware


async def _decided(policy: Fallback, call: Call, reply: Any, error: Exception | None, seen: Exception | None) -> Any:
    status, call.biz_status = call.biz_status, None
    try:
        try:
            answer = policy(call, reply, seen)
            if inspect.isawaitable(answer):
                answer = await answer
        except CancelledError:
            call.reported = None
            raise
        if answer is Fallback.NOTHING:
            return None
        if answer is not None:
            return answer
        call.reported = None  # nothing was replaced
        call.biz_status = status
        if error is not None:
            raise error
        return reply
    finally:
        error = seen = status = None


def _locate(call: Call, error: Exception | None) -> None:
    """An error that may be replaced does not pass through the rooms that tell people where it happened."""
    if isinstance(error, ElanusError):
        error.locate(call)
        if error.timeline is None:
            error.timeline = call.history(error)
