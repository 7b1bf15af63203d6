"""The options of the balancer ``latency``."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from elanus.errors import ConfigError

__all__ = ["LatencySettings"]


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """The options of the balancer ``latency``."""

    #: Seconds after which what was measured counts for a third.
    decay: float = 10.0
    #: Seconds in which the share of a new instance grows to its weight's; 0: it has that at once.
    slow_start: float = 10.0
    #: A failed call counts as one that took so many times what is expected of others.
    penalty: float = 10.0
    #: An instance is ejected after so many failures in a row; 0: not for that.
    failures: int = 5
    #: An instance is ejected when more than this share of its calls fail, and twice the share of all; 1: not for that.
    failure_share: float = 0.5
    #: Calls over which that share is averaged, and before which it does not count.
    min_calls: int = 20
    #: A call that takes so many times the mean of all calls counts as failed, for ejection; 0: none does.
    slow_factor: float = 0.0
    #: Seconds of a first ejection; a second one lasts twice as long, a third three times.
    ejection: float = 30.0
    #: Seconds of an ejection at most. After as long in service, earlier ones are forgotten.
    longest_ejection: float = 300.0
    #: The share of the instances that may be ejected at the same time; one always may, all never; 0: none.
    max_ejected: float = 0.3
    #: Makes every pick foreseeable.
    seed: int | None = None

    def __post_init__(self) -> None:
        _within(self, "decay", 0, inf, open_=True)
        _within(self, "slow_start", 0, inf)
        _within(self, "penalty", 1, inf)
        _within(self, "failures", 0, inf)
        _within(self, "failure_share", 0, 1, open_=True)
        _within(self, "min_calls", 1, inf)
        _within(self, "slow_factor", 0, inf)
        _within(self, "ejection", 0, inf, open_=True)
        _within(self, "longest_ejection", self.ejection, inf)
        _within(self, "max_ejected", 0, 1)


def _within(settings: LatencySettings, name: str, least: float, most: float, *, open_: bool = False) -> None:
    """Refuse a value outside of *least* to *most*; infinity, and with *open_* the least itself, are outside."""
    value = getattr(settings, name)
    if least <= value <= most and value != inf and not (open_ and value == least):
        return
    bounds = f"above {least:g}" if open_ else f"from {least:g} on"
    hint = f"Give a number {bounds}" if most == inf else f"Give a number {bounds}, to {most:g} at most"
    raise ConfigError(f"option {name!r} of balancer 'latency' is {value!r}", hint=hint)
