"""timeout: the only room that arms anything; one entry of the timer wheel per attempt."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.deadline import Deadline
from elanus.errors import RpcTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from elanus.call import Call
    from elanus.endpoint import Endpoint, Middleware
    from elanus.options import Timeouts
    from elanus.wheel import TimerWheel

__all__ = ["client_timeout", "server_timeout"]


def client_timeout(
    wheel: TimerWheel,
    attempt_timeout: float | None,
    provider: Callable[[Call], Timeouts | None] | None,
    *,
    streams: bool,
    connect_timeout_set: bool = False,
) -> Middleware:
    """End an attempt at ``call.deadline``, or after its attempt timeout if that is sooner.

    Precedence, as Kitex's: the call's options, those of the method, the client's, then *provider*. A stream has no
    attempt timeout.

    :param attempt_timeout: what method and client say; ``inf`` is no limit, and the provider's word does not count.
    :param connect_timeout_set: whether method or client say how long connecting may take.
    :raises RpcTimeoutError: it was ended; ``sent`` says whether the request had left.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        def endpoint(call: Call) -> Awaitable[Any]:
            seconds = None if streams else call.options.attempt_timeout or attempt_timeout
            if provider is not None:
                asked = provider(call)
                if asked is not None:
                    seconds = seconds or (None if streams else asked.attempt_timeout)
                    if not connect_timeout_set:
                        _connect_within(call, asked.connect_timeout)
            if seconds is not None and seconds != inf:
                _shorten(call, Deadline(monotonic() + seconds), "attempt_timeout", seconds)
            if call.deadline is None:
                return next_endpoint(call)
            return _bounded(call, next_endpoint, wheel, call.deadline)

        return endpoint

    return middleware


def server_timeout(wheel: TimerWheel, handler_timeout: float | None, *, enforce: bool) -> Middleware:
    """End a handler when its caller's time is up, or (without a deadline) *handler_timeout* seconds after arrival."""

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        def endpoint(call: Call) -> Awaitable[Any]:
            if call.deadline is None and handler_timeout is not None:
                arrived = call.timeline[0][1]
                _shorten(call, Deadline(arrived + handler_timeout), "handler_timeout", handler_timeout)
            elif not enforce:
                return next_endpoint(call)
            if call.deadline is None:
                return next_endpoint(call)
            return _bounded(call, next_endpoint, wheel, call.deadline)

        return endpoint

    return middleware


def _shorten(call: Call, deadline: Deadline, limit: str, seconds: float) -> None:
    if call.deadline is None or deadline < call.deadline:
        call.deadline = deadline
        call.limit = (limit, seconds)


def _connect_within(call: Call, seconds: float | None) -> None:
    if seconds is not None and call.options.connect_timeout is None:
        call.options = replace(call.options, connect_timeout=seconds)


async def _bounded(call: Call, next_endpoint: Endpoint, wheel: TimerWheel, deadline: Deadline) -> Any:
    if deadline <= monotonic():
        raise _expired(call)
    task = current_task()
    assert task is not None
    before = task.cancelling()
    arrived = False
    wheel.add(call, task, deadline)
    try:
        return await next_endpoint(call)
    except CancelledError:
        # Ours, and nobody else asked for cancellation meanwhile: the same test as asyncio.timeout makes.
        if call.expired:
            arrived = True
            if task.uncancel() <= before:
                raise _expired(call) from None
        raise
    finally:
        wheel.remove(call, deadline)
        if call.expired and not arrived:
            task.uncancel()  # a room inside made something else of our cancellation, and that is the outcome


def _expired(call: Call) -> RpcTimeoutError:
    limit, seconds = call.limit or ("deadline", 0.0)
    error = RpcTimeoutError(seconds, limit=limit, phase=call.phase(call.deadline))
    error.sent = call.written
    return error
