"""What the suites of all contracts share: a way for a backend to say what it cannot offer, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Suite"]

T = TypeVar("T")


class Suite:
    """The tests of one contract. Subclass the suite of your kind as ``TestXxx`` and let pytest collect it.

    The tests are plain functions, so that no async plugin of pytest is forced on the author.
    """

    #: Behaviours that the backend cannot offer, each with the reason, which the report shows.
    unsupported: ClassVar[dict[str, str]] = {}

    def requires(self, behaviour: str) -> None:
        """End the running test as skipped when *behaviour* is in :attr:`unsupported`.

        A test that is added to a suite after its first release begins with this call: a new release of core must not
        turn a third party's build red without a word that they can put into ``unsupported``.
        """
        reason = self.unsupported.get(behaviour)
        if reason is not None:
            pytest.skip(f"{behaviour}: {reason}")

    def run(self, scenario: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        """The outcome of *scenario*, run in a loop of its own; fails after *timeout* seconds."""

        async def bounded() -> T:
            async with asyncio.timeout(timeout):
                return await scenario

        return asyncio.run(bounded())
