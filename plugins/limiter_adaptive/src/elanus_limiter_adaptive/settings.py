"""The options of the limiter, checked."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from elanus.errors import ConfigError
from elanus.settings import check_seconds, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AdaptiveSettings"]

_OWNER = "limiter 'adaptive'"


@dataclass(frozen=True, slots=True)
class AdaptiveSettings:
    """The options of the limiter. Durations are seconds."""

    #: How the limit follows latency: ``"gradient"`` or ``"aimd"``.
    algorithm: str = "gradient"
    #: Calls in flight that it starts with, and never goes below or above.
    initial_limit: int = 20
    min_limit: int = 4
    max_limit: int = 1_000
    #: How many times the latency of a quiet server is still good.
    tolerance: float = 1.2
    #: Waiting that is never taken for overload, whatever the latency of a quiet server is.
    slack: float = 0.005
    #: How often the limit is reconsidered, and after how many calls at the earliest.
    window: float = 0.25
    window_calls: int = 10
    #: ``aimd``: what the limit is multiplied by when latency is too high.
    backoff: float = 0.9
    #: How often, under lasting load, the limit is halved for a window, to see what latency is without a queue.
    probe_interval: float = 30.0
    #: Whether to refuse calls whose deadline is nearer than the fastest call of late was.
    drop_late: bool = True

    def __post_init__(self) -> None:
        if self.algorithm not in ("gradient", "aimd"):
            _refuse("algorithm", self.algorithm, "Give 'gradient' or 'aimd'")
        if not 1 <= self.min_limit <= self.initial_limit <= self.max_limit:
            limits = f"{self.min_limit}, {self.initial_limit}, {self.max_limit}"
            _refuse("min_limit, initial_limit, max_limit", limits, "Give at least 1, in this order")
        if not 1.0 <= self.tolerance < inf:
            _refuse("tolerance", self.tolerance, "Give at least 1")
        if not 0.0 < self.backoff < 1.0:
            _refuse("backoff", self.backoff, "Give a number between 0 and 1")
        if self.window_calls < 1:
            _refuse("window_calls", self.window_calls, "Give at least 1")
        for name in ("slack", "window", "probe_interval"):
            check_seconds(_OWNER, name, getattr(self, name))

    @classmethod
    def read(cls, values: Mapping[str, object]) -> AdaptiveSettings:
        """The settings in *values*.

        :raises ConfigError: an unknown option, or a value that makes no sense; names it.
        """
        return read_settings(cls, _OWNER, values)


def _refuse(name: str, value: object, hint: str) -> None:
    shown = repr(value) if name == "algorithm" else value
    raise ConfigError(f"option {name!r} of {_OWNER} is {shown}", hint=hint)
