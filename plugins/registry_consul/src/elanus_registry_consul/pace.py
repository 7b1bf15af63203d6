"""When to ask for the next change, and from which index on: the book's rules for blocking queries. Pure, told the time.

Source: Consul's documentation of blocking queries, "Implementation details": an index that went backwards is reset,
one that is not above 0 is an error, and a client limits the rate at which it asks.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Pace"]

#: Queries a second, and how many may follow each other at once after a quiet time.
RATE, BURST = 2.0, 3.0
#: Seconds before asking again after a failure, each time twice as long up to the second, less up to half by chance.
FIRST_RETRY, LONGEST_RETRY = 0.25, 1.5


class Pace:
    """The rhythm of one watch.

    :param now: seconds on any clock that goes on.
    :param chance: for the jitter.
    """

    def __init__(self, now: float, chance: random.Random | None = None) -> None:
        #: What the next query is to wait beyond; 0 asks for what there is now.
        self.index = 0
        self.failures = 0
        self._chance = chance or random.Random()
        self._allowance = BURST
        self._counted_at = now
        self._retry_at = now

    def pause(self, now: float) -> float:
        """Seconds to wait before the next query."""
        self._count(now)
        return max(0.0, self._retry_at - now, (1.0 - self._allowance) / RATE)

    def asked(self, now: float) -> None:
        """A query is sent."""
        self._count(now)
        self._allowance -= 1.0

    def answered(self, headers: Mapping[str, str], now: float) -> bool:
        """An answer came. ``False`` when its index is none that the next query could wait beyond."""
        text = headers.get("X-Consul-Index") or ""
        index = int(text) if text.isascii() and text.isdecimal() else 0
        if index < 1:
            self.failed(now)
            return False
        self.failures = 0
        # Whoever began anew counts from the start again: ask at once for what there is, and wait from there.
        self.index = 0 if index < self.index else index
        return True

    def failed(self, now: float) -> None:
        """No answer, or none of use. The servers may have begun anew: waiting beyond the old index could last."""
        self.index = 0
        self.failures += 1
        full = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(self.failures - 1, 10))
        self._retry_at = now + full * self._chance.uniform(0.5, 1.0)

    def wait(self, longest: float) -> float:
        """Seconds to ask the agent to wait: a little less than *longest*, so that a fleet does not ask in step."""
        return longest * self._chance.uniform(0.9, 1.0)

    def _count(self, now: float) -> None:
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * RATE)
        self._counted_at = now
