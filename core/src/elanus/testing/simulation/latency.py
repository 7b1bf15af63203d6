"""How long an instance takes: distributions of seconds, sampled from a seeded source of chance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log
from typing import TYPE_CHECKING, TypeAlias

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["Constant", "Exponential", "Latency", "LogNormal", "Mixture", "Seconds", "as_latency"]

#: The 99th percentile of the standard normal distribution.
_Z99 = 2.3263478740408408


class Latency(ABC):
    """A distribution of seconds."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Its mean, in seconds."""

    @abstractmethod
    def sampler(self, chance: Random) -> Callable[[], float]:
        """A function that draws from it."""


#: A distribution, or a number of seconds that is always the same.
Seconds: TypeAlias = "Latency | float"


@dataclass(frozen=True, slots=True)
class Constant(Latency):
    """Always the same."""

    seconds: float

    def __post_init__(self) -> None:
        _check("Constant", "seconds", self.seconds, 0.0)

    @property
    def mean(self) -> float:
        return self.seconds

    def sampler(self, chance: Random) -> Callable[[], float]:
        seconds = self.seconds
        return lambda: seconds


@dataclass(frozen=True, slots=True)
class Exponential(Latency):
    """Without memory: the M in M/M/1."""

    seconds: float

    def __post_init__(self) -> None:
        _check("Exponential", "seconds", self.seconds, 1e-9)

    @property
    def mean(self) -> float:
        return self.seconds

    def sampler(self, chance: Random) -> Callable[[], float]:
        rate, draw = 1.0 / self.seconds, chance.expovariate
        return lambda: draw(rate)


@dataclass(frozen=True, slots=True)
class LogNormal(Latency):
    """What services mostly look like: few replies far below the median, some far above.

    :param median: half of the replies take less.
    :param p99: one in a hundred takes longer.
    """

    median: float
    p99: float

    def __post_init__(self) -> None:
        _check("LogNormal", "median", self.median, 1e-9)
        _check("LogNormal", "p99", self.p99, self.median)

    @property
    def _sigma(self) -> float:
        return log(self.p99 / self.median) / _Z99

    @property
    def mean(self) -> float:
        return self.median * exp(self._sigma**2 / 2)

    def sampler(self, chance: Random) -> Callable[[], float]:
        mu, sigma, draw = log(self.median), self._sigma, chance.gauss
        return lambda: exp(draw(mu, sigma))


class Mixture(Latency):
    """One of several by chance: ``Mixture((0.95, 0.010), (0.05, 0.500))`` is a service with 5 % of slow replies.

    :param parts: shares, which need not add up to 1, each with a distribution or a number of seconds.
    """

    def __init__(self, *parts: tuple[float, Seconds]) -> None:
        if not parts or any(share < 0 for share, _ in parts) or not any(share for share, _ in parts):
            raise ConfigError("a mixture of nothing", hint="Give pairs of a share and a latency: (0.95, 0.010)")
        self.parts = tuple((share, as_latency(part)) for share, part in parts)

    @property
    def mean(self) -> float:
        return sum(share * part.mean for share, part in self.parts) / sum(share for share, _ in self.parts)

    def sampler(self, chance: Random) -> Callable[[], float]:
        ends = list(accumulate(share for share, _ in self.parts))
        inner, total, draw = ends[:-1], ends[-1], chance.random
        samplers = [part.sampler(chance) for _, part in self.parts]
        return lambda: samplers[bisect(inner, draw() * total)]()


def as_latency(seconds: Seconds) -> Latency:
    """The distribution that *seconds* stands for."""
    return seconds if isinstance(seconds, Latency) else Constant(seconds)


def _check(kind: str, name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ConfigError(f"{kind}: {name} is {value!r}", hint=f"Give seconds, {least:g} or more")
