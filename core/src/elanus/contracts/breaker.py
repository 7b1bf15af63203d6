"""The contract of a breaker: stops calls to what fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Breaker"]


class Breaker(ABC):
    """Watches outcomes per key and refuses calls while a key fails too much.

    Pure: told the time, asks no clock. A key is an instance's address, or caller, callee and method.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def allow(self, key: str, now: float) -> bool:
        """Whether a call may go on. After ``True`` exactly one :meth:`record` follows, cancelled calls included."""

    @abstractmethod
    def record(self, key: str, error: BaseException | None, elapsed: float, now: float) -> None:
        """A call that was allowed has ended after *elapsed* seconds; ``None`` is success."""

    @abstractmethod
    def states(self) -> Mapping[str, str]:
        """The keys that are not closed, each with ``"open"`` or ``"half-open"``."""

    @abstractmethod
    def forget(self, key: str) -> None:
        """Drop what is known of *key*: its instance is gone."""
