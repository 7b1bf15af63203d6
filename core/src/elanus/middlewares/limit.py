"""limit: the server's limiter, before anything of the request is decoded."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.contracts.limiter import Refusal
from elanus.errors import LimitExceededError
from elanus.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.limiter import Limiter
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["limit"]


def limit(policy: Limiter, refused: Callable[[Refusal, Call], None]) -> Middleware:
    """Ask *policy* for each call: exactly one ``release`` for each ``acquire`` that it allowed.

    A bug in *policy* is logged with its name, and takes no call down: the call goes on as if there were no limiter.

    :param refused: told of each refusal.
    :raises LimitExceededError: refused; the peer gets Kitex's ``request over limit``, or its connection is cut.
    """
    faults = Faults("limiter", "elanus.server")

    def release(call: Call, error: BaseException | None, started: float) -> None:
        now = monotonic()
        try:
            policy.release(call, error, now - started, now)
        except Exception as fault:
            faults.note(policy, "release", call.method, fault, "the call ends as it would have")

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            started, held = monotonic(), True
            try:
                refusal = policy.acquire(call, started)
                if refusal is not None and not isinstance(refusal, Refusal):
                    raise TypeError(f"acquire() returned {refusal!r:.80}, which is neither None nor a Refusal")
            except Exception as fault:
                faults.note(policy, "acquire", call.method, fault, "the call is let pass, and is not released")
                refusal, held = None, False
            if refusal is not None:
                refused(refusal, call)
                raise LimitExceededError(refusal.text, limit=refusal.limit, value=refusal.value, cut=refusal.cut)
            if not held:
                return await next_endpoint(call)
            try:
                reply = await next_endpoint(call)
            except BaseException as error:
                release(call, error, started)
                raise
            release(call, None, started)
            return reply

        return endpoint

    return middleware
