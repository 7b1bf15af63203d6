"""An instant by which something must be done, as opposed to a timeout, which is a duration.

A deadline is seconds on the monotonic clock of this process, as :func:`time.monotonic` and every asyncio loop count
them. The type keeps the two kinds of float apart for the type checker and costs nothing at run time.
"""

from __future__ import annotations

from time import monotonic
from typing import NewType

__all__ = ["Deadline", "after", "earliest", "remaining"]

Deadline = NewType("Deadline", float)


def after(seconds: float) -> Deadline:
    """The instant *seconds* from now."""
    return Deadline(monotonic() + seconds)


def remaining(deadline: Deadline) -> float:
    """Seconds left until *deadline*; negative once it has passed."""
    return deadline - monotonic()


def earliest(one: Deadline | None, other: Deadline | None) -> Deadline | None:
    """The sooner of two deadlines, either of which may be absent."""
    if one is None:
        return other
    if other is None or one <= other:
        return one
    return other
