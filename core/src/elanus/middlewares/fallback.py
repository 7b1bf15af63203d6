"""fallback: the last word on the outcome of a unary call, after all attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from elanus.call import Call
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["fallback"]


def fallback(decide: Callable[[Call, Any, Exception | None], Awaitable[Any]]) -> Middleware:
    """Let *decide* see the outcome, ``(call, reply, error)``; it returns the reply, or raises the error, that counts.

    It sees a business status as an error. Cancellation is not an outcome, and passes by.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            reply, error = None, None
            try:
                reply = await next_endpoint(call)
            except Exception as raised:
                error = raised
            try:
                replaced = await decide(call, reply, error or call.biz_status)
            finally:
                error = None  # its traceback holds this frame
            call.biz_status = None
            return replaced

        return endpoint

    return middleware
