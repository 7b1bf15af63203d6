"""error_map: the user's error handler, innermost, so that every room outside sees what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.errors import BizStatusError, ElanusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["error_map", "is_failed_attempt", "is_failed_handler"]


def error_map(
    handler: Callable[[Call, Exception], Exception], concerns: Callable[[Call, Exception], bool]
) -> Middleware:
    """Replace each error that *concerns* it by what *handler* returns; returning the same error leaves it as it is.

    :raises TypeError: *handler* returned something else than an exception.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            try:
                return await next_endpoint(call)
            except Exception as error:
                if not concerns(call, error):
                    raise
                mapped = handler(call, error)
                if mapped is error:
                    raise
                if not isinstance(mapped, Exception):
                    raise TypeError(f"error_handler returned {mapped!r}, which is no exception") from error
                if call.error is error:
                    call.error = mapped
                try:
                    raise mapped from error
                finally:
                    del mapped  # its traceback holds this frame

        return endpoint

    return middleware


def is_failed_attempt(call: Call, error: Exception) -> bool:
    """On a client: what network, protocol or server raised, and no exception that the IDL declares."""
    return isinstance(error, ElanusError)


def is_failed_handler(codec: Codec) -> Callable[[Call, Exception], bool]:
    """On a server: what is no answer. Business statuses and the exceptions that the IDL declares are answers."""

    def concerns(call: Call, error: Exception) -> bool:
        if isinstance(error, BizStatusError):
            return False
        return isinstance(error, ElanusError) or codec.encode_exception(call.method, error) is None

    return concerns
