"""trace: tells the tracers of every call, outermost on both sides."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from elanus.call import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.call import Call
    from elanus.contracts.tracer import Tracer
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["trace"]

_log = logging.getLogger("elanus.trace")


def trace(tracers: Sequence[Tracer]) -> Middleware:
    """Tell *tracers* of the start and the end of each call; those that started finish in reverse order.

    What a tracer raises is logged, and harms neither the call nor the other tracers.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            started = _start(tracers, call)
            try:
                reply = await next_endpoint(call)
            except BaseException as error:
                _finish(started, call, error)
                raise
            _finish(started, call, None)
            return reply

        return endpoint

    return middleware


def _start(tracers: Sequence[Tracer], call: Call) -> list[Tracer]:
    started = []
    for tracer in tracers:
        try:
            tracer.start(call)
        except Exception:
            _log.exception("tracer %r failed at the start of %s", tracer, call.method)
        else:
            started.append(tracer)
    return started


def _finish(started: list[Tracer], call: Call, error: BaseException | None) -> None:
    call.mark(Event.FINISH)
    status = call.biz_status
    if call.reported is not None:  # a fallback has replaced the outcome
        (error, call.biz_status), call.reported = call.reported, None
    for tracer in reversed(started):
        try:
            tracer.finish(call, error)
        except Exception:
            _log.exception("tracer %r failed at the end of %s", tracer, call.method)
    call.biz_status = status
