"""limit: the server's limiter, before anything of the request is decoded."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.errors import LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.limiter import Limiter, Refusal
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["limit"]


def limit(policy: Limiter, refused: Callable[[Refusal, Call], None]) -> Middleware:
    """Ask *policy* for each call: exactly one ``release`` for each ``acquire`` that it allowed.

    :param refused: told of each refusal.
    :raises LimitExceededError: refused; the peer gets Kitex's ``request over limit``, or its connection is cut.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            started = monotonic()
            refusal = policy.acquire(call, started)
            if refusal is not None:
                refused(refusal, call)
                raise LimitExceededError(refusal.text, limit=refusal.limit, value=refusal.value, cut=refusal.cut)
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
