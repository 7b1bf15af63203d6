"""limit: the server's limiter, before anything of the request is decoded."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.errors import LimitExceededError

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.limiter import Limiter
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["limit"]


def limit(policy: Limiter) -> Middleware:
    """Ask *policy* for each call: exactly one ``release`` for each ``acquire``.

    :raises LimitExceededError: refused; the peer gets Kitex's ``request over limit``.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            started = monotonic()
            if not policy.acquire(call, started):
                raise LimitExceededError("request too frequent", limit="limiter")
            try:
                reply = await next_endpoint(call)
            except BaseException as error:
                now = monotonic()
                policy.release(call, error, now - started, now)
                raise
            now = monotonic()
            policy.release(call, None, now - started, now)
            return reply

        return endpoint

    return middleware
