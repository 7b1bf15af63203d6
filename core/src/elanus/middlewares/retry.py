"""retry: further attempts, each on a copy of the call, as its retrier decides."""

from __future__ import annotations

from asyncio import sleep
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import STOP
from elanus.middlewares.hedging import Race
from elanus.middlewares.repeating import intent_of, next_attempt, pause, restore

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from elanus.call import Call
    from elanus.contracts.retrier import Plan, Retrier
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["retry"]


def retry(policy: Retrier, *, idempotent: bool | None = None) -> Middleware:
    """Run attempts until *policy* stops; the state of the one that decides becomes the call's.

    The first attempt runs on the call itself, each further one on a copy that starts with what the call started with.
    As long as attempts follow one another there is no task and no timer; :class:`Race` takes over when one of them is
    to be hedged.

    :param idempotent: what the method's options or its IDL say; ``False``: a request that may have reached a server is
        never sent again.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        def endpoint(call: Call) -> Awaitable[Any]:
            plan = policy.plan(call, monotonic())
            if plan is None:
                return next_endpoint(call)
            call.idempotent = idempotent
            return _attempts(plan, call, next_endpoint, idempotent is not False)

        return endpoint

    return middleware


async def _attempts(plan: Plan, call: Call, next_endpoint: Endpoint, repeatable: bool) -> Any:
    intent = intent_of(call)
    attempt = call
    while True:
        delay = plan.started(attempt, monotonic())
        if delay is not None and repeatable:
            return await Race(plan, call, next_endpoint, intent).run(attempt, delay)
        try:
            reply = await next_endpoint(attempt)
        except Exception as error:
            verdict = plan.ended(attempt, None, error, 0, monotonic())
            after = pause(verdict, attempt, intent, error, repeatable=repeatable)
            _leave(call, attempt, error, last=after is None)
            if after is None:
                raise
        except BaseException as error:
            _leave(call, attempt, error, last=True)
            raise
        else:
            verdict = plan.ended(attempt, reply, None, 0, monotonic())
            if verdict is STOP and attempt is call:
                return reply  # what nearly every call comes to
            after = pause(verdict, attempt, intent, None, repeatable=repeatable)
            _leave(call, attempt, None, last=after is None)
            if after is None:
                return reply
        if after > 0:
            await sleep(after)
        restore(call, intent)
        attempt = next_attempt(call, attempt, intent, same_instance=plan.same_instance)


def _leave(call: Call, attempt: Call, error: BaseException | None, *, last: bool) -> None:
    """An attempt has ended. A first one that runs on the call and is the last one as well leaves no record."""
    if attempt is not call:
        attempt.end(error)
        call.adopt(attempt)
    elif not last:
        call.end(error)
