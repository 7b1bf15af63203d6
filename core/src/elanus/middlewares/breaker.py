"""breaker: refuses calls to what fails; one room per service and method, another per picked instance."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from elanus.contracts.breaker import Outcome
from elanus.errors import CircuitOpenError
from elanus.middlewares.outcomes import instance_outcome, server_outcome, service_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.breaker import Breaker, Classify
    from elanus.contracts.transport import RawStream
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["INSTANCE", "SERVER", "SERVICE", "Seat", "breaker"]

_log = logging.getLogger("elanus.breaker")

# Found faster than attributes of an enum, and every call needs them.
_SUCCESS, _IGNORED = Outcome.SUCCESS, Outcome.IGNORED


def _service_keys() -> Callable[[Call], str]:
    """Caller, callee and method, as Kitex's ``RPCInfo2Key``.

    The latest key is kept: a chain is for one method, and its calls mostly have one caller and one callee.
    """
    caller = callee = name = latest = ""

    def key_of(call: Call) -> str:
        nonlocal caller, callee, name, latest
        if call.caller is not caller or call.callee is not callee or call.method.name is not name:
            caller, callee, name = call.caller, call.callee, call.method.name
            latest = f"{caller}/{callee}/{name}"
        return latest

    return key_of


def _instance_keys() -> Callable[[Call], str]:
    """The address of the picked instance."""

    def key_of(call: Call) -> str:
        assert call.instance is not None
        return call.instance.address

    return key_of


class Seat(NamedTuple):
    """A place for a breaker: what its keys are, and what errors mean there."""

    #: Makes what makes the keys of one chain.
    keys: Callable[[], Callable[[Call], str]]
    outcome_of: Callable[[Call, BaseException], Outcome]
    #: Whether a stream has ended, for a breaker, when it is open.
    creation_only: bool


SERVICE = Seat(_service_keys, service_outcome, creation_only=True)
INSTANCE = Seat(_instance_keys, instance_outcome, creation_only=True)
SERVER = Seat(_service_keys, server_outcome, creation_only=False)


def breaker(policy: Breaker, seat: Seat, *, streams: bool = False) -> Middleware:
    """Ask *policy* before each call, and tell it the outcome: exactly one ``record`` for each ``allow``.

    :param streams: the calls are streams.
    :raises CircuitOpenError: the breaker is open for this key. Retryable: the resolve room picks another instance.
    """
    classify, outcome_of = policy.classify, seat.outcome_of
    allow, record = policy.allow, policy.record

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        key_of = policy.key_of or seat.keys()

        async def endpoint(call: Call) -> Any:
            key, started = key_of(call), monotonic()
            if not allow(key, started):
                raise _refusal(policy, call, key, started)
            outcome = _IGNORED
            try:
                reply = await next_endpoint(call)
                outcome = _SUCCESS if classify is None else _own(classify, call, reply, None, _SUCCESS)
            except BaseException as error:
                outcome = _of_error(error, call, classify, outcome_of)
                raise
            finally:
                now = monotonic()
                record(key, outcome, now - started, now)
            return reply

        async def stream_endpoint(call: Call) -> Any:
            key, started = key_of(call), monotonic()
            if not allow(key, started):
                raise _refusal(policy, call, key, started)
            creation = _Creation(policy, key, started)
            call.on_open = (*call.on_open, creation)
            outcome = _IGNORED
            try:
                return await next_endpoint(call)
            except BaseException as error:
                if not creation.told:
                    outcome = _of_error(error, call, classify, outcome_of)
                raise
            finally:
                creation.end(outcome)

        return stream_endpoint if streams and seat.creation_only else endpoint

    return middleware


def _refusal(policy: Breaker, call: Call, key: str, now: float) -> CircuitOpenError:
    """Why *call* does not go on."""
    instance = None if call.instance is None else call.instance.address
    return CircuitOpenError(key, instance=instance, why=policy.why(key, now))


class _Creation:
    """Tells a breaker how the creation of one stream has ended: once, whoever knows first."""

    __slots__ = ("_key", "_policy", "_started", "told")

    def __init__(self, policy: Breaker, key: str, started: float) -> None:
        self._policy, self._key, self._started = policy, key, started
        self.told = False

    def __call__(self, stream: RawStream) -> None:
        """The stream is open."""
        self.end(_SUCCESS)

    def end(self, outcome: Outcome) -> None:
        """It is over, one way or the other. What comes after the first time does not count."""
        if not self.told:
            self.told = True
            now = monotonic()
            self._policy.record(self._key, outcome, now - self._started, now)


def _of_error(
    error: BaseException,
    call: Call,
    classify: Classify | None,
    outcome_of: Callable[[Call, BaseException], Outcome],
) -> Outcome:
    """What *error* counts as: by its own word, else by the user's, else by the rules of the seat."""
    own = getattr(error, "breaker_outcome", None)
    if isinstance(own, Outcome):
        return own
    outcome = outcome_of(call, error)
    if classify is None or not isinstance(error, Exception):
        return outcome
    return _own(classify, call, None, error, outcome)


def _own(classify: Classify, call: Call, reply: Any, error: Exception | None, otherwise: Outcome) -> Outcome:
    """What the user's own function says; a bug in it is no reason for the call to fail."""
    try:
        return classify(call, reply, error) or otherwise
    except Exception:
        _log.exception("classify failed for %s, which counts as %s", call.method, otherwise.value)
        return otherwise
