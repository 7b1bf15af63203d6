"""recover: what comes out of the rooms inside is fit for the outside. Just inside tracing, on both sides."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from elanus.errors import (
    AclError,
    ApplicationError,
    CircuitOpenError,
    CodecError,
    ElanusError,
    LimitExceededError,
    RpcTimeoutError,
)

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.endpoint import Endpoint

__all__ = ["recover_client", "recover_server"]

_log = logging.getLogger("elanus.server")


def recover_client(next_endpoint: Endpoint) -> Endpoint:
    """Every error that leaves a call says which call it was and what happened to it.

    A bug in a middleware is that call's error only.
    """

    async def endpoint(call: Call) -> Any:
        try:
            return await next_endpoint(call)
        except ElanusError as error:
            error.locate(call)
            error.timeline = call.history(error)
            call.error = error
            raise
        except Exception as error:
            # A declared exception, or a bug in a middleware: either is the caller's, as it is.
            call.error = error
            raise

    return endpoint


def recover_server(next_endpoint: Endpoint) -> Endpoint:
    """Every failure becomes an error that the transport can send, with the texts and codes that Kitex sends.

    Source: Kitex v0.16.3, confirmed on the wire. Tracebacks go to the log, never to the peer.
    """

    async def endpoint(call: Call) -> Any:
        try:
            return await next_endpoint(call)
        except Exception as error:
            answer = _answer(call, error)
            if answer is error:
                raise
            try:
                raise answer from error
            finally:
                del answer  # its traceback holds this frame

    return endpoint


def _answer(call: Call, error: Exception) -> ElanusError:
    if error is call.error:  # the handler raised it
        return _handler_error(call, error)
    if isinstance(error, AclError):
        return _remote(f"request forbidden: {error.reason}", error)
    if isinstance(error, LimitExceededError):
        if error.cut:
            return error  # there will be no answer
        return _remote(f"request over limit: {error.message}", error)
    if isinstance(error, CircuitOpenError):
        return _remote("forbidden by circuitbreaker: service circuitbreak", error)
    if isinstance(error, RpcTimeoutError):
        return _remote(f"handler of {call.method} ran over its deadline ({error.seconds:.3f} s)", error)
    if isinstance(error, CodecError) and error.phase == "decode":
        return _with_phase(ApplicationError(ApplicationError.PROTOCOL_ERROR, error.cause_text()), "decode")
    if isinstance(error, ApplicationError):
        return error
    if isinstance(error, ElanusError):
        _log.error("%s failed: %s", call.method, error, exc_info=error)
        return _remote(error.cause_text(), error)
    _log.error("a middleware of %s failed, peer %s", call.method, call.peer, exc_info=error)
    # Kitex's words for a panic anywhere between decoding and the reply.
    method = f"{call.service.name}.{call.method.name}"
    place = f"[happened in biz handler, method={method}, please check the panic at the server side]"
    return ApplicationError(ApplicationError.INTERNAL_ERROR, f"panic: {place} {error!r}")


def _handler_error(call: Call, error: Exception) -> ApplicationError:
    if isinstance(error, ApplicationError):
        return ApplicationError(error.code, f"{error.message} [biz error]")
    _log.error("the handler of %s failed, peer %s", call.method, call.peer, exc_info=error)
    text = str(error) or type(error).__name__
    return ApplicationError(ApplicationError.INTERNAL_ERROR, f"biz error: {text}")


def _remote(text: str, cause: ElanusError) -> ApplicationError:
    return _with_phase(ApplicationError(ApplicationError.INTERNAL_ERROR, text), cause.phase)


def _with_phase(error: ApplicationError, phase: str) -> ApplicationError:
    error.phase = phase
    return error
