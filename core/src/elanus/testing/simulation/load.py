"""Who calls, and how often: arrivals that do not wait for replies, or users that do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from elanus.metadata import Metadata
    from elanus.testing.simulation.latency import Seconds

__all__ = ["Arrivals", "Evenly", "Kind", "Load", "Poisson", "Users"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Calls per second; or from which second on how many: ``{0: 1_000, 20: 3_000}``.
Rate: TypeAlias = "float | Mapping[float, float]"


@dataclass(frozen=True, slots=True)
class Kind:
    """Calls of one method. Given as ``kinds={"read": Kind(share=3), "write": Kind(metadata={"priority": "1"})}``.

    :param share: how many of the calls are of this kind, as compared with the others.
    :param metadata: sent with each of them.
    :param options: further options of these calls, as for :meth:`elanus.Client.with_options`.
    :param argument: the one argument of a call, drawn by chance; by default the number of the call.
    :param work: how much longer than other calls they keep an instance busy.
    """

    share: float = 1.0
    metadata: Metadata | Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    argument: Callable[[Random], Any] | None = None
    work: float = 1.0


class Load:
    """What a simulation is loaded with."""

    __slots__ = ()


class Arrivals(Load, ABC):
    """Calls that come whether or not earlier ones have ended, as those of many users do.

    :param rate: calls per second; or a mapping that says from which second on how many.
    """

    def __init__(self, rate: Rate) -> None:
        steps = dict(rate) if isinstance(rate, Mapping) else {0.0: rate}
        if not steps or any(at < 0 for at in steps) or any(not 0 <= one < inf for one in steps.values()):
            raise ConfigError(f"a load of {rate!r}", hint="Give calls per second, or {0: 1_000, 20: 3_000}")
        self.rate = rate
        self._steps = sorted((float(at), float(one)) for at, one in steps.items())

    @abstractmethod
    def _amount(self, chance: Random) -> float:
        """How many calls' time passes until the next call; 1 on average."""

    def instants(self, chance: Random) -> Callable[[float], float]:
        """A function that, told when one call came, says when the next one comes; ``inf`` for never.

        Instants are seconds from the start. Within a step the rate is constant, and what is left of a gap when it
        changes passes at the new rate; with exponential gaps that is exactly a Poisson process.
        """
        edges = [at for at, _ in self._steps[1:]] + [inf]
        steps = [(at, one, end) for (at, one), end in zip(self._steps, edges, strict=True)]
        amount = self._amount

        def following(now: float) -> float:
            left = amount(chance)
            for at, rate, end in steps:
                if end <= now:
                    continue
                now = max(now, at)
                if rate > 0 and left <= rate * (end - now):
                    return now + left / rate
                left -= rate * (end - now) if rate else 0.0
                now = end
            return inf

        return following


class Poisson(Arrivals):
    """Arrivals by chance, independent of one another."""

    def _amount(self, chance: Random) -> float:
        return chance.expovariate(1.0)


class Evenly(Arrivals):
    """Arrivals at equal distances."""

    def _amount(self, chance: Random) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class Users(Load):
    """Users that wait for each reply before they call again: the load falls when the service is slow.

    :param count: how many.
    :param think: seconds between a reply and the next call.
    :param after_error: least seconds between an error and the next call. Above 0, since a refusal on this side takes no
        time, and a user that repeats it without a pause would stop the clock.
    """

    count: int
    think: Seconds = 0.0
    after_error: float = 0.001

    def __post_init__(self) -> None:
        if self.count < 1 or not self.after_error > 0:
            raise ConfigError(f"{self!r} cannot run", hint="Give at least one user, and after_error above 0")
