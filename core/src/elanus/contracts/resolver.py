"""The contract of a resolver: which instances offer a destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.service import Instance

__all__ = ["Resolver"]


class Resolver(ABC):
    """Looks a destination up, and goes on looking."""

    #: The name users select it by.
    name: str

    @abstractmethod
    def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        """Complete sets of the instances of *name*: first what is there now, then a new set after each change.

        Outages of the backend are the resolver's to survive: it tries again by itself, and yields when it knows more.
        Closing the generator frees what it opened.

        :raises DiscoveryError: from the first step only, when *name* cannot be looked up at all.
        """

    async def aclose(self) -> None:  # noqa: B027
        """Free what all watches share."""
