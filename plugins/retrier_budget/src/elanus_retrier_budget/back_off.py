"""How long to pause before a further attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from random import Random

__all__ = ["NO_BACK_OFF", "BackOff", "ExponentialBackOff", "FixedBackOff", "NoBackOff", "RandomBackOff"]

#: Doublings after which no pause grows any more; keeps the power within what a float holds.
_MOST_STEPS = 64


class BackOff(ABC):
    """A rule for pauses, in seconds. The first three are Kitex's (``pkg/retry/failure.go``)."""

    @abstractmethod
    def pause(self, retry: int, random: Random) -> float:
        """Seconds before the *retry*-th further attempt, counted from 1."""


@dataclass(frozen=True, slots=True)
class NoBackOff(BackOff):
    """No pause."""

    def pause(self, retry: int, random: Random) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class FixedBackOff(BackOff):
    """The same pause each time."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"invalid FixedBackOff, fixMS={self.seconds * 1000:g}", hint="Give seconds above 0")

    def pause(self, retry: int, random: Random) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class RandomBackOff(BackOff):
    """Any pause from *shortest* up to *longest*, by chance."""

    shortest: float
    longest: float

    def __post_init__(self) -> None:
        if not 0 <= self.shortest < self.longest:
            bounds = f"minMS={self.shortest * 1000:g}, maxMS={self.longest * 1000:g}"
            raise ConfigError(f"invalid RandomBackOff, {bounds}", hint="Give seconds, the larger ones last")

    def pause(self, retry: int, random: Random) -> float:
        return self.shortest + (self.longest - self.shortest) * random.random()


@dataclass(frozen=True, slots=True)
class ExponentialBackOff(BackOff):
    """Any pause from 0 up to a bound that grows with each attempt (full jitter), so that callers spread out.

    :param first: the bound before the first further attempt, in seconds.
    :param multiplier: what the bound grows by each time.
    :param longest: the bound grows no further than this.
    """

    first: float = 0.01
    multiplier: float = 2.0
    longest: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest or not self.multiplier >= 1:
            said = f"first={self.first:g}, multiplier={self.multiplier:g}, longest={self.longest:g}"
            hint = "Give seconds above 0, the larger one as longest, and a multiplier of at least 1"
            raise ConfigError(f"invalid ExponentialBackOff, {said}", hint=hint)

    def pause(self, retry: int, random: Random) -> float:
        bound = self.first * self.multiplier ** min(retry - 1, _MOST_STEPS)
        return min(bound, self.longest) * random.random()


NO_BACK_OFF = NoBackOff()
