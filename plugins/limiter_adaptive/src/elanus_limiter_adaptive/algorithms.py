"""How the limit follows latency: from what a window was like to the limit of the next one."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus_limiter_adaptive.settings import AdaptiveSettings

__all__ = ["algorithm"]

#: A window changes the limit by no more than half, and goes this part of the way.
_LOWEST_GRADIENT = 0.5
_SMOOTHING = 0.5
#: Share of calls that ran out of time from which a window counts as overloaded, whatever the others took.
_LATE_SHARE = 0.05


def algorithm(settings: AdaptiveSettings) -> Callable[[float, float, float], float]:
    """The next limit, of the limit, the gradient and the share of calls that ran out of time.

    The gradient is what a window's calls may take over what they took: below 1 it was too long. It is asked only after
    windows in which the limit was used.
    """
    return _gradient if settings.algorithm == "gradient" else lambda *window: _aimd(settings.backoff, *window)


def _gradient(limit: float, gradient: float, late: float) -> float:
    """After Netflix's concurrency-limits (``Gradient2Limit``): follow the gradient, and leave room for a small queue,
    without which a limit could never grow.
    """
    if late > _LATE_SHARE:
        gradient = min(gradient, 1.0 - late)
    gradient = max(_LOWEST_GRADIENT, min(1.0, gradient))
    return limit + _SMOOTHING * (limit * gradient + sqrt(limit) / 2 - limit)


def _aimd(backoff: float, limit: float, gradient: float, late: float) -> float:
    """One more after each good window, a share less after each bad one."""
    return limit * backoff if gradient < 1.0 or late > _LATE_SHARE else limit + 1.0
