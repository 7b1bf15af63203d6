"""When to look again: a pure policy that is told what happened and says how many seconds to wait."""

from __future__ import annotations

import random

__all__ = ["Pace"]

#: Questions a second that one watch may ask on average; a set of many SRV targets is looked at less often for it.
_QUESTIONS_PER_SECOND = 5.0
#: Waits are up to this share longer, by chance. Never shorter: a cache would answer with what it is about to forget.
_SPREAD = 0.1
#: Seconds after which a failure is followed by another try, at most: when DNS is back, so should discovery be.
_LONGEST_RETRY = 5.0


class Pace:
    """The waits of one watch.

    :param shortest: seconds between look-ups at least, whatever the TTL.
    :param longest: seconds between look-ups at most (and by chance a tenth more).
    :param chance: for the jitter; a seeded one makes every wait repeatable.
    """

    def __init__(self, shortest: float, longest: float, chance: random.Random | None = None) -> None:
        self._shortest = shortest
        self._longest = longest
        self._chance = chance or random.Random()
        #: Look-ups that failed since the last one that did not.
        self.failures = 0

    def answered(self, ttl: float, questions: int) -> float:
        """Seconds to wait after an answer.

        :param ttl: seconds for which the answer holds.
        :param questions: how many it took.
        """
        self.failures = 0
        wait = min(max(ttl, questions / _QUESTIONS_PER_SECOND, self._shortest), self._longest)
        return wait * self._chance.uniform(1.0, 1.0 + _SPREAD)

    def failed(self) -> float:
        """Seconds to wait after a failure: twice as long each time, less up to half by chance."""
        self.failures += 1
        longest = max(self._shortest, min(_LONGEST_RETRY, self._longest))
        wait = min(self._shortest * 2.0 ** min(self.failures - 1, 30), longest)
        return wait * self._chance.uniform(0.5, 1.0)
