"""error_map: the user's error handler, innermost, so that every room outside sees what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["error_map"]


def error_map(handler: Callable[[Call, Exception], Exception]) -> Middleware:
    """Replace each error by what *handler* returns for it; returning the same error leaves it as it is."""

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            try:
                return await next_endpoint(call)
            except Exception as error:
                mapped = handler(call, error)
                if mapped is error:
                    raise
                if call.error is error:
                    call.error = mapped
                raise mapped from error

        return endpoint

    return middleware
