"""The contract of a registry: keeps an instance announced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.service import Instance

__all__ = ["Registration", "Registry"]


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registry knows of one announced instance. Instants are seconds of the wall clock since 1970."""

    name: str
    instance: Instance
    registered_since: float | None = None
    lost_since: float | None = None
    last_error: str = ""


class Registry(ABC):
    """Announces the instances of this process and keeps them announced, through outages, until told otherwise.

    Start is implicit in the first :meth:`register`; :meth:`aclose` ends everything it started.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    async def register(self, name: str, instance: Instance, *, insist: bool = False) -> None:
        """Announce *instance* under *name*; returns once it can be seen.

        From then on the registry repairs the announcement by itself for as long as it takes.

        :param insist: return even when the first announcement fails, and keep trying.
        :raises DiscoveryError: the first announcement failed, and nobody insists.
        """

    @abstractmethod
    async def deregister(self, name: str, instance: Instance) -> None:
        """Withdraw the announcement. Doing it twice is no error."""

    @abstractmethod
    def status(self) -> list[Registration]:
        """Every announcement that was asked for, and how it stands."""

    @abstractmethod
    async def aclose(self) -> None:
        """Withdraw everything that is still announced and free what was opened."""
