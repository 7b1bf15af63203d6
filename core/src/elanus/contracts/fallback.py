"""What a client does when a call has failed for good: a function, and when it is asked."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from elanus.errors import CircuitOpenError, ConfigError, NoInstanceError, RpcTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from elanus.call import Call

    #: From a call, its reply and its error (one of the two is ``None``) to the reply that counts; ``None`` keeps both
    #: as they are. What it raises is the error that counts. May be ``async``.
    FallbackFunction: TypeAlias = "Callable[[Call, Any, Exception | None], Awaitable[Any] | Any]"

__all__ = ["Fallback"]

_WHEN = ("error", "timeout_or_breaker", "always")


class _Nothing(enum.Enum):
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Fallback:
    """``Client(fallback=elanus.Fallback(from_cache))``: what a caller gets instead of an error.

    A function alone, ``fallback=from_cache``, is asked ``"always"``. Source of the rules: Kitex ``pkg/fallback``.

    :param function: from the call, its reply and its error to the reply that counts; may be ``async``.
        ``None`` keeps reply and error as they are, and what it raises is the error that counts. A business status is an
        error here.
    :param on: ``"error"``: asked after every error; ``"timeout_or_breaker"``: when time was up or a breaker was open;
        ``"always"``: after successes, too, with the error ``None``.
    :param report: whether tracers see the outcome that *function* made of an error. Otherwise they see the error. They
        never see an error that it made of a success.
    :raises ConfigError: *function* cannot be called, or *on* is none of these words.
    """

    function: FallbackFunction
    on: Literal["error", "timeout_or_breaker", "always"] = "error"
    report: bool = False

    #: Return it for the reply ``None``: the call to a method without a result shall count as a success.
    NOTHING: ClassVar = _Nothing.NOTHING

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(f"fallback {self.function!r} is no function", hint="Give a function, or elanus.Fallback")
        if self.on not in _WHEN:
            words = ", ".join(repr(word) for word in _WHEN)
            raise ConfigError(f"on={self.on!r} of a fallback is unknown", hint=f"Known: {words}")

    @classmethod
    def of(cls, choice: Fallback | FallbackFunction) -> Fallback:
        """*choice* itself, or a fallback that always asks it."""
        return choice if isinstance(choice, Fallback) else cls(choice, on="always")

    def __call__(self, call: Call, reply: Any, error: Exception | None) -> Any:
        """What the function says."""
        return self.function(call, reply, error)

    def applies(self, error: Exception | None) -> bool:
        """Whether the function is to be asked after *error*, ``None`` for a success."""
        if self.on == "always":
            return True
        return error is not None and (self.on == "error" or _is_timeout_or_breaker(error))


def _is_timeout_or_breaker(error: BaseException) -> bool:
    if isinstance(error, NoInstanceError):  # every instance that is left was refused for one of these reasons
        return bool(error.failures) and all(_is_timeout_or_breaker(failure) for failure in error.failures)
    return isinstance(error, RpcTimeoutError | CircuitOpenError)
