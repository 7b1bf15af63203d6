"""The three policies, with Kitex's parameters, defaults and ranges (``pkg/retry/{failure,backup,mixed,policy}.go``)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from elanus.errors import ApplicationError, ConfigError, ElanusError, RejectedError, RpcTimeoutError
from elanus_retrier_budget.back_off import NO_BACK_OFF, BackOff, ExponentialBackOff

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call

__all__ = [
    "ALL_ERRORS",
    "DEFAULT_ERROR_RATE",
    "DEFAULT_POLICY",
    "MOST_ERROR_RATE",
    "BackupPolicy",
    "FailurePolicy",
    "Kind",
    "MixedPolicy",
    "Policy",
    "RetryOn",
]

#: Of the retry breaker.
DEFAULT_ERROR_RATE = 0.1
MOST_ERROR_RATE = 0.3


class Kind(enum.IntEnum):
    """Kitex's number for the kind of a policy."""

    FAILURE = 0
    BACKUP = 1
    MIXED = 2


@dataclass(frozen=True, slots=True)
class RetryOn:
    """Which outcomes of an attempt are worth another one. As it stands: Kitex's rule, timeouts and nothing else."""

    #: Attempts that ran out of their time.
    timeouts: bool = True
    #: Errors that a further attempt may well not meet and that have done nothing: ``retryable``, and never sent (or of
    #: a method that IDL or options call idempotent). Not what a policy on this side refused, such as an open breaker.
    unsent: bool = False
    #: Asked about everything else: ``check(attempt, reply, error)``, where the error is ``None`` for a reply. A
    #: declared exception is an error; a business status is in ``attempt.biz_status``. Must not block.
    check: Callable[[Call, Any, Exception | None], bool] | None = None

    def wanted(self, attempt: Call, reply: Any, error: Exception | None) -> bool:
        """Whether this outcome is worth another attempt."""
        if error is not None:
            if self.timeouts and isinstance(error, RpcTimeoutError):
                return True
            if self.unsent and _harmless(attempt, error):
                return True
        return self.check is not None and bool(self.check(attempt, reply, error))

    def unwanted(self, attempt: Call, error: Exception | None) -> str:
        """Why an outcome that is not :meth:`wanted` is left alone, where one would ask; empty for errors of the
        application, for replies, and for rules that are Kitex's, which is silent there.
        """
        if not self.unsent:
            return ""
        if isinstance(error, RejectedError):
            return "it was refused on this side, as another attempt would be"
        if isinstance(error, ApplicationError) and error.refused:
            return "the server refused it, and another attempt would add to its load"
        if isinstance(error, ElanusError) and error.retryable and error.sent:
            return f"the request was sent, and neither IDL nor options call {attempt.method} idempotent"
        return ""


def _harmless(attempt: Call, error: Exception) -> bool:
    if not isinstance(error, ElanusError) or isinstance(error, RejectedError) or not error.retryable:
        return False
    return not error.sent or attempt.idempotent is True


def _any_error(attempt: Call, reply: Any, error: Exception | None) -> bool:
    return error is not None


#: Kitex's ``AllErrorRetry()``: every error, declared exceptions included; no business status.
ALL_ERRORS = RetryOn(check=_any_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the three kinds share."""

    kind: ClassVar[Kind]
    _most: ClassVar[int]

    #: Further attempts, the first one not counted. 0: none.
    max_retry_times: int = 1
    #: Leave the retrying to the hop above, when the call that is being served is itself a retry.
    chain_stop: bool = True
    #: At this share of failures among at least ten attempts in ten seconds there are no further attempts.
    error_rate: float = DEFAULT_ERROR_RATE
    #: Go to the instance of the attempt before, instead of to another one.
    same_instance: bool = False
    #: Kitex's ``ddl_stop``. Kept for its JSON; elanus minds the deadline whatever it says.
    deadline_stop: bool = False

    def __post_init__(self) -> None:
        times = self.max_retry_times
        if not 0 <= times <= self._most:
            raise ConfigError(f"invalid MaxRetryTimes[{times}]", hint=f"Give 0 to {self._most}")
        if not 0 < self.error_rate <= MOST_ERROR_RATE:
            raise ConfigError(
                f"invalid retry circuit breaker rate, errRate={self.error_rate:.2f}",
                hint=f"Give a share above 0, and {MOST_ERROR_RATE} at most",
            )


def _check_seconds(name: str, seconds: float) -> None:
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{name} is {seconds!r}", hint="Give seconds, or 0 for no limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePolicy(Policy):
    """One attempt after the other, while the outcome asks for it."""

    kind: ClassVar[Kind] = Kind.FAILURE
    _most: ClassVar[int] = 5

    max_retry_times: int = 2
    #: Seconds since the start of the call after which no further attempt is made; 0: no limit.
    max_duration: float = 0.0
    back_off: BackOff = NO_BACK_OFF
    on: RetryOn = RetryOn()
    #: Whatever a source of configuration adds. Not looked at.
    extra: str = ""

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        _check_seconds("max_duration", self.max_duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPolicy(Policy):
    """Hedges: after each *delay* without an answer one more attempt; the first answer counts, an error included."""

    kind: ClassVar[Kind] = Kind.BACKUP
    _most: ClassVar[int] = 2

    #: Seconds; the 99th percentile of the method's latency is a good start.
    delay: float

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if not 0 < self.delay < float("inf"):
            raise ConfigError("invalid retry delay duration in backupRetryer", hint="Give a delay in seconds, above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPolicy(FailurePolicy):
    """Both: hedges after each *delay*, and another attempt at once when an outcome asks for it."""

    kind: ClassVar[Kind] = Kind.MIXED
    _most: ClassVar[int] = 3

    max_retry_times: int = 1
    delay: float

    def __post_init__(self) -> None:
        FailurePolicy.__post_init__(self)
        if not 0 < self.delay < float("inf"):
            raise ConfigError("invalid retry delay duration in mixedRetryer", hint="Give a delay in seconds, above 0")


#: What ``retrier="budget"`` does: two further attempts, spread out, after timeouts and after what was never sent.
DEFAULT_POLICY = FailurePolicy(on=RetryOn(unsent=True), back_off=ExponentialBackOff())
