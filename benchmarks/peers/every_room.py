"""A part for every seat of the chain: policies and middlewares that let each call pass.

With them a call walks through every room that elanus has, and what it costs is the rooms' own work.
"""

from collections.abc import Mapping
from typing import Any

from elanus.call import Call
from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.contracts.limiter import Limiter, Refusal
from elanus.contracts.retrier import STOP, Plan, Retrier, Verdict
from elanus.contracts.tracer import Tracer
from elanus.endpoint import Endpoint

__all__ = ["client_seats", "server_seats"]


class PassingTracer(Tracer):
    name = "passing"

    def start(self, call: Call) -> None:
        """Nothing is kept."""

    def finish(self, call: Call, error: BaseException | None) -> None:
        """Nothing is kept."""


class PassingBreaker(Breaker):
    name = "passing"

    def allow(self, key: str, now: float) -> bool:
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        """Nothing is kept."""

    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None:
        """Nothing is kept."""


class PassingLimiter(Limiter):
    name = "passing"

    def acquire(self, call: Call, now: float) -> Refusal | None:
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        """Nothing is kept."""


class OneAttempt(Plan):
    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        return STOP


class PassingRetrier(Retrier):
    """Plans every call, and never asks for a second attempt."""

    name = "passing"
    _plan = OneAttempt()

    def plan(self, call: Call, now: float) -> Plan | None:
        return self._plan


def passing(next_endpoint: Endpoint) -> Endpoint:
    """A middleware as users write them."""

    async def endpoint(call: Call) -> object:
        return await next_endpoint(call)

    return endpoint


async def _fallback(call: Call, reply: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return reply


def client_seats() -> dict[str, Any]:
    """Options of a client in which every seat is taken."""
    return {
        "tracers": [PassingTracer()],
        "fallback": _fallback,
        "retrier": PassingRetrier(),
        "service_breaker": PassingBreaker(),
        "instance_breaker": PassingBreaker(),
        "unary_middlewares": [passing],
        "middlewares": [passing],
        "instance_middlewares": [passing],
        "acl": [lambda call: None],
        "error_handler": lambda call, error: error,
    }


def server_seats() -> dict[str, Any]:
    """Options of a server in which every seat is taken."""
    return {
        "tracers": [PassingTracer()],
        "limiter": PassingLimiter(),
        "breaker": PassingBreaker(),
        "middlewares": [passing],
        "unary_middlewares": [passing],
        "acl": [lambda call: None],
        "error_handler": lambda call, error: error,
    }
