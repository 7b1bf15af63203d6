"""The form of every room: an endpoint takes a call to its outcome, a middleware wraps an endpoint.

The await of an endpoint lasts as long as the call, a stream's whole life included, on both sides. It gives the reply,
or ``None`` for oneway methods and for streams of replies. So ``try/finally`` in a middleware is right for every kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from elanus.call import Call
    from elanus.contracts.transport import RawStream

__all__ = ["Endpoint", "ItemEndpoint", "ItemMiddleware", "Middleware", "chain"]

Endpoint: TypeAlias = "Callable[[Call], Awaitable[Any]]"
Middleware: TypeAlias = "Callable[[Endpoint], Endpoint]"

#: One message of a stream on its way: ``(stream, item) -> item``; a receiving one gets ``None`` at the end.
ItemEndpoint: TypeAlias = "Callable[[RawStream, Any], Awaitable[Any]]"
ItemMiddleware: TypeAlias = "Callable[[ItemEndpoint], ItemEndpoint]"


def chain(middlewares: Iterable[Middleware], endpoint: Endpoint) -> Endpoint:
    """Wrap *endpoint* in *middlewares*, the first one outermost."""
    for middleware in reversed(list(middlewares)):
        endpoint = middleware(endpoint)
        if not callable(endpoint):
            raise ConfigError(
                f"middleware {getattr(middleware, '__name__', middleware)!r} returned {endpoint!r}, not an endpoint",
                hint="It takes the next endpoint and returns a function of one call",
            )
    return endpoint
