"""error_map: the user's error handler, innermost, so that every room outside sees what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.errors import ApplicationError, BizStatusError, ElanusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["client_error_map", "server_error_map"]


def client_error_map(handler: Callable[[Call, Exception], Exception]) -> Middleware:
    """Replace what network, protocol or server raised by what *handler* returns; the same error stays as it is.

    An exception that the IDL declares is an answer, and none of its business.

    :raises TypeError: *handler* returned something else than an exception.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            try:
                return await next_endpoint(call)
            except ElanusError as error:
                mapped = _mapped(handler, call, error)
                if mapped is error:
                    raise
                try:
                    raise mapped from error
                finally:
                    del mapped  # its traceback holds this frame

        return endpoint

    return middleware


def server_error_map(handler: Callable[[Call, Exception], Exception], codec: Codec) -> Middleware:
    """Replace what a handler raised by what *handler* returns; the same error stays as it is.

    A business status and an exception that the IDL declares are answers, and none of its business. What it returns is
    sent without Kitex's ``biz error``, as Kitex does; it may be one of those answers, too.

    :raises TypeError: *handler* returned something else than an exception.
    """

    def is_answer(call: Call, error: Exception) -> bool:
        if isinstance(error, ElanusError):
            return isinstance(error, BizStatusError)
        return codec.encode_exception(call.method, error) is not None

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            try:
                return await next_endpoint(call)
            except Exception as error:
                if is_answer(call, error):
                    raise
                mapped = _mapped(handler, call, error)
                if mapped is error:
                    raise
                call.error = None  # the peer reads no words of a handler
                if not isinstance(mapped, ElanusError) and not is_answer(call, mapped):
                    text = str(mapped) or type(mapped).__name__
                    mapped = ApplicationError(ApplicationError.INTERNAL_ERROR, text)
                try:
                    raise mapped from error
                finally:
                    del mapped  # its traceback holds this frame

        return endpoint

    return middleware


def _mapped(handler: Callable[[Call, Exception], Exception], call: Call, error: Exception) -> Exception:
    mapped: object = handler(call, error)
    if not isinstance(mapped, Exception):
        raise TypeError(f"error_handler returned {mapped!r}, which is no exception") from error
    return mapped
