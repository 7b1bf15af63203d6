"""The contract of a configuration source: options per scope, and their changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["Config", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and where it came from: a file and a line, a key in a store."""

    value: object
    source: str


class Config(ABC):
    """A source of options. A scope is ``"client"``, ``"server"``, or one of these with a service and a method:
    ``"client/EchoService/echo"``.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def settings(self, scope: str) -> Mapping[str, Setting]:
        """The options that the source sets for exactly this scope."""

    @abstractmethod
    def changes(self) -> AsyncIterator[str]:
        """Scopes whose settings have changed, as they change."""
