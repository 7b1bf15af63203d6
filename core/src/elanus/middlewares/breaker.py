"""breaker: refuses calls to what fails; one room per service and method, another per picked instance."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.errors import CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.breaker import Breaker
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["breaker", "instance_key", "service_key"]


def service_key(call: Call) -> str:
    """Caller, callee and method, as Kitex's ``RPCInfo2Key``."""
    return f"{call.caller}/{call.callee}/{call.method.name}"


def instance_key(call: Call) -> str:
    """The address of the picked instance."""
    assert call.instance is not None
    return call.instance.address


def breaker(policy: Breaker, key_of: Callable[[Call], str]) -> Middleware:
    """Ask *policy* before each call, and tell it the outcome: exactly one ``record`` for each ``allow``.

    :raises CircuitOpenError: the breaker is open for this key. Retryable: the resolve room picks another instance.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            key, started = key_of(call), monotonic()
            if not policy.allow(key, started):
                raise CircuitOpenError(key, instance=None if call.instance is None else call.instance.address)
            try:
                reply = await next_endpoint(call)
            except BaseException as error:
                now = monotonic()
                policy.record(key, error, now - started, now)
                raise
            now = monotonic()
            policy.record(key, None, now - started, now)
            return reply

        return endpoint

    return middleware
