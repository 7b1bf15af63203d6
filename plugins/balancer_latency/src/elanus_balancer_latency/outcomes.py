"""What the end of an attempt says about its instance."""

from __future__ import annotations

import enum

from elanus.errors import (
    ApplicationError,
    CircuitOpenError,
    ElanusError,
    LimitExceededError,
    RemoteError,
    RemoteProtocolError,
    RpcCancelledError,
    RpcTimeoutError,
    TransportError,
)

__all__ = ["Verdict", "verdict_on"]

# An error reply is a failure: an instance that answers all calls with errors at once would otherwise look like the
# fastest of all.
_FAILURES = (
    ApplicationError,
    CircuitOpenError,
    RemoteProtocolError,
    RpcCancelledError,
    RpcTimeoutError,
    TransportError,
)


class Verdict(enum.Enum):
    """What an attempt was."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Refused by the limiter of the instance: it is well, and has too much to do.
    REFUSED = "refused"
    #: Ended from outside, by the caller or by another attempt that was faster.
    CANCELLED = "cancelled"
    #: It says nothing about the instance: the arguments could not be encoded, for instance.
    NONE = "none"


def verdict_on(error: BaseException) -> Verdict:
    """What an attempt was that ended with *error*.

    A business status and an exception that the IDL declares are answers, and so successes.
    """
    if isinstance(error, ApplicationError) and error.refused and error.phase == LimitExceededError.phase:
        return Verdict.REFUSED  # not so what its breaker refuses: there the handler fails
    if isinstance(error, _FAILURES):
        return Verdict.FAILURE
    if not isinstance(error, Exception):
        return Verdict.CANCELLED
    if isinstance(error, ElanusError) and not isinstance(error, RemoteError):
        return Verdict.NONE
    return Verdict.SUCCESS
