"""What the end of a call says about whom it was sent to. No room, but part of ``breaker``.

Kitex's rules (``pkg/circuitbreak``, ``ErrorTypeOnServiceLevel`` and ``ErrorTypeOnInstanceLevel``), for this tree of
errors. Where they differ, a comment says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.breaker import Outcome
from elanus.errors import (
    ApplicationError,
    BizStatusError,
    CodecError,
    ConfigError,
    ConnectFailedError,
    DiscoveryError,
    ElanusError,
    LocalProtocolError,
    NoInstanceError,
    RejectedError,
    RpcTimeoutError,
    StateError,
)

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["instance_outcome", "server_outcome", "service_outcome"]

_SUCCESS, _FAILURE, _TIMEOUT, _IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED

#: Made on this side, whatever the service is like. Kitex: internal, discovery, ACL and load-balancing errors.
_OURS = (ConfigError, StateError, DiscoveryError, RejectedError, LocalProtocolError)


def service_outcome(call: Call, error: BaseException) -> Outcome:
    """What *error*, the end of an attempt, says about a method of a service."""
    if not isinstance(error, Exception):
        return _IGNORED
    if isinstance(error, RpcTimeoutError):
        # With no instance picked it was discovery that took so long, or no time was left to begin with.
        return _IGNORED if call.instance is None else _TIMEOUT
    if isinstance(error, NoInstanceError) and error.failures:
        return _FAILURE  # as Kitex's ErrNoMoreInstance: there are instances, and none could be reached
    if isinstance(error, _OURS):
        return _IGNORED
    if isinstance(error, CodecError):
        # Kitex counts arguments that cannot be encoded; the service has nothing to do with them.
        return _FAILURE if call.written else _IGNORED
    if isinstance(error, BizStatusError):
        return _SUCCESS
    if isinstance(error, ApplicationError) and error.refused:
        # Kitex counts it. But then a fleet that sheds what is too much and answers the rest would get no calls at all.
        return _IGNORED
    if isinstance(error, ElanusError):
        return _FAILURE
    if isinstance(error, TimeoutError):
        return _TIMEOUT
    # While a reply is decoded, only declared exceptions are outside of elanus's own tree.
    return _SUCCESS if call.phase() == "decode" else _FAILURE


def instance_outcome(call: Call, error: BaseException) -> Outcome:
    """What *error* says about an instance: only that no connection could be got is a failure."""
    if isinstance(error, ConnectFailedError):
        return _FAILURE
    if isinstance(error, Exception):
        # Kitex takes all others for successes. What was never written says nothing about the instance, and as the
        # outcome of a probe it would close the breaker.
        return _SUCCESS if call.written else _IGNORED
    if not call.expired:
        return _IGNORED
    # The attempt's time is up: here it is seen from the inside, as a cancellation.
    if call.written:
        return _SUCCESS
    return _FAILURE if call.phase() == "connect" else _IGNORED


def server_outcome(call: Call, error: BaseException) -> Outcome:
    """What *error* says about a handler. (Kitex has no breaker on the server.)"""
    if not isinstance(error, Exception):
        return _IGNORED
    if isinstance(error, (RpcTimeoutError, TimeoutError)):
        return _TIMEOUT
    if error is call.error:
        # Raised by the handler: whatever it is, and wherever it got it from, calls of it fail.
        return _SUCCESS if isinstance(error, BizStatusError) else _FAILURE
    if isinstance(error, CodecError):
        return _IGNORED if error.phase == "decode" else _FAILURE
    return _IGNORED if isinstance(error, _OURS) else _FAILURE
