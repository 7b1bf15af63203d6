"""The contract of a limiter: how much a server takes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["Limiter"]


class Limiter(ABC):
    """Admits or refuses connections and calls; never queues. Pure: told the time, asks no clock.

    Policy only: the hard :class:`~elanus.limits.Limits` of core stand by themselves.
    """

    #: The name users select it by.
    name: str

    def admit(self, peer: str, now: float) -> bool:
        """Whether a new connection from *peer* may stay. After ``True`` exactly one :meth:`left` follows."""
        return True

    def left(self, peer: str, now: float) -> None:  # noqa: B027
        """A connection that was admitted is gone."""

    @abstractmethod
    def acquire(self, call: Call, now: float) -> bool:
        """Whether *call* may run. After ``True`` exactly one :meth:`release` follows."""

    @abstractmethod
    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        """A call that was acquired has ended after *elapsed* seconds; ``None`` is success."""
