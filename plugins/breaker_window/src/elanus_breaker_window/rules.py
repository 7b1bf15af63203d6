"""When a breaker opens, and what it does then: the settings, and what must hold of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from elanus.errors import ConfigError
from elanus.settings import check_seconds

__all__ = ["Rules", "WindowSettings"]

_OWNER = "breaker 'window'"
#: Seconds that open and half-open last at least: results of calls from before are told apart by time.
_LEAST_PAUSE = 0.001
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one key. Any rule that holds opens it. Seconds and shares are floats.

    Source of the defaults: Kitex v0.16.3 ``pkg/circuitbreak``, and bytedance/gopkg v0.1.4 ``cloud/circuitbreaker``.
    """

    enabled: bool = True
    error_rate: float = 0.5
    min_samples: int = 200
    errors: int | None = None
    consecutive: int | None = None
    slow_after: float | None = None
    slow_rate: float = 0.5
    cooling: float = 5.0
    probe_every: float = 0.2
    probe_successes: int = 2

    def __post_init__(self) -> None:
        for name in ("error_rate", "slow_rate"):
            rate = getattr(self, name)
            if not 0 < rate < inf:
                _refuse(name, rate, "Give a share above 0; above 1 it never opens for that")
        for name in ("min_samples", "errors", "consecutive", "probe_successes"):
            count = getattr(self, name)
            if count is not None and count < 1:
                _refuse(name, count, "Give 1 or more")
        for name in ("cooling", "probe_every"):
            seconds = getattr(self, name)
            if not _LEAST_PAUSE <= seconds < inf:
                _refuse(name, seconds, f"Give seconds from {_LEAST_PAUSE} on")
        if self.slow_after is not None:
            check_seconds(_OWNER, "slow_after", self.slow_after)

    def broken_by(self, successes: int, bad: int, slow: int, in_a_row: int) -> bool:
        """Whether any rule opens a key with these counts.

        :param bad: failures and timeouts in the window.
        :param in_a_row: failures and timeouts since the last success, however long ago they began.
        """
        samples = successes + bad
        if samples >= self.min_samples and (bad / samples >= self.error_rate or slow / samples >= self.slow_rate):
            return True
        if self.errors is not None and bad >= self.errors:
            return True
        return self.consecutive is not None and in_a_row >= self.consecutive


@dataclass(frozen=True, slots=True)
class WindowSettings(Rules):
    """The rules of every key that has none of its own, and what is the same for all of them."""

    window: float = 10.0
    buckets: int = 100
    max_keys: int = 10_000

    def __post_init__(self) -> None:
        Rules.__post_init__(self)  # slots make a new class, which super() without arguments does not know
        check_seconds(_OWNER, "window", self.window)
        if not 1 <= self.buckets <= _MOST_BUCKETS:
            _refuse("buckets", self.buckets, f"Give 1 to {_MOST_BUCKETS}")
        if self.max_keys < 1:
            _refuse("max_keys", self.max_keys, "Give 1 or more")


def _refuse(name: str, value: object, hint: str) -> None:
    raise ConfigError(f"option {name!r} of {_OWNER} is {value}", hint=hint)
