"""resolve: picks the instance for an attempt, and another one while nothing was sent."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from elanus.call import Event
from elanus.contracts.balancer import Picker
from elanus.errors import PASSED_OVER, ElanusError, NoInstanceError
from elanus.service import Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.call import Call
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["MAX_PICKS", "Instances", "resolve"]

#: Source: Kitex ``pkg/rpcinfo`` and ``client/middlewares.go``: six tries per call over the picker.
MAX_PICKS = 6


class Instances(Protocol):
    """What this room needs of the instance cache."""

    #: The current picker; ``None`` before the first look-up.
    picker: Picker | None
    #: For errors: the destination, and who looked it up.
    name: str
    resolver: str
    #: The instances that are known.
    instances: Sequence[Instance]

    async def first(self) -> Picker:
        """Wait for the first look-up."""


def resolve(instances: Instances) -> Middleware:
    """Pick an instance and go on; on an error whose request was never sent pick another, six picks at most.

    Instances that this call was sent to are excluded, unless an earlier attempt has used up all of them.

    :raises NoInstanceError: nothing (more) to pick; carries what each one that was tried said.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            if call.options.target is not None:
                call.instance = Instance(call.options.target)
                return await next_endpoint(call)
            if call.instance is not None:  # a further attempt that is to go where the one before went
                return await next_endpoint(call)
            picker = instances.picker
            if picker is None:
                call.mark(Event.LOOK_UP)
                picker = await instances.first()
            failures: list[ElanusError] = []
            while True:
                instance = _pick(picker, call, fresh=not failures)
                if instance is None:
                    raise _nobody(instances, failures)
                call.instance = instance
                call.tried.append(instance)
                try:
                    return await _attempt(next_endpoint, call, picker, instance)
                except ElanusError as error:
                    if error.sent or not error.retryable:
                        raise
                    error.locate(call)
                    # What it says is wanted, not where it was raised: its traceback holds this frame and the list.
                    failures.append(error.with_traceback(None))
                    call.note(f"{PASSED_OVER}{instance.address}: {error.outcome_text()}")
                    if len(failures) >= MAX_PICKS:
                        raise _nobody(instances, failures) from error
                picker = instances.picker or picker

        return endpoint

    return middleware


def _nobody(instances: Instances, failures: Sequence[ElanusError]) -> NoInstanceError:
    return NoInstanceError(instances.name, instances.resolver, failures, known=len(instances.instances))


def _pick(picker: Picker, call: Call, *, fresh: bool) -> Instance | None:
    now = monotonic()
    instance = picker.pick(call, call.tried, now)
    if instance is None and fresh and call.tried:
        # A retry that has been everywhere may go anywhere again.
        instance = picker.pick(call, (), now)
    call.timeline.append((Event.RESOLVED, now))
    return instance


async def _attempt(next_endpoint: Endpoint, call: Call, picker: Picker, instance: Instance) -> Any:
    if type(picker).finished is Picker.finished:  # it does not learn
        return await next_endpoint(call)
    started = monotonic()
    try:
        reply = await next_endpoint(call)
    except BaseException as error:
        now = monotonic()
        picker.finished(instance, error, _waited(call, started, now), now)
        raise
    now = monotonic()
    picker.finished(instance, None, _waited(call, started, now), now)
    return reply


def _waited(call: Call, started: float, now: float) -> float:
    """Seconds until the reply or, of a stream, until it was open: how long it lasts says nothing of its instance."""
    if call.method.kind.streams:
        for event, instant in reversed(call.timeline):
            if event == Event.OPENED:
                return instant - started
    return now - started
