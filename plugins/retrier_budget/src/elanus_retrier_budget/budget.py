"""What all further attempts of a client together may cost."""

from __future__ import annotations

from dataclasses import dataclass

from elanus.errors import ConfigError
from elanus_retrier_budget.window import SECONDS, Window

__all__ = ["DEFAULT_BUDGET", "Budget", "Purse"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How many further attempts there may be, retries and hedges alike, over any ten seconds and over all methods.

    :param share: of the calls, that many further attempts.
    :param min_per_second: and so many in any case, so that a client with few calls can retry.
    """

    share: float = 0.2
    min_per_second: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < float("inf"):
            raise ConfigError(f"the share of a retry budget is {self.share!r}", hint="Give a share, such as 0.1")
        if not 0 <= self.min_per_second < float("inf"):
            raise ConfigError(f"min_per_second of a retry budget is {self.min_per_second!r}", hint="Give 0 or more")


DEFAULT_BUDGET = Budget()


class Purse:
    """The state of a budget. Each call pays in, and each further attempt is drawn when it is granted: calls that pause
    together must not all be granted the same one.
    """

    __slots__ = ("_least", "budget", "calls")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        #: Each call is added to it when it begins.
        self.calls = Window()
        self._least = budget.min_per_second * SECONDS

    def draw(self, now: float) -> bool:
        """Take one further attempt out; ``False`` when there is none left."""
        window = self.calls
        window.advance(now)
        if window.bad + 1 > window.good * self.budget.share + self._least:
            return False
        window.add(now, bad=True)
        return True

    def __str__(self) -> str:
        window, budget = self.calls, self.budget
        return (
            f"{window.bad} further attempts of {window.good} calls in {SECONDS:g} s "
            f"(share {budget.share:g}, {budget.min_per_second:g} a second at least)"
        )
