"""The options of the retrier ``budget`` when it is chosen by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elanus.errors import ConfigError
from elanus.settings import read_settings
from elanus_retrier_budget.back_off import ExponentialBackOff
from elanus_retrier_budget.budget import Budget
from elanus_retrier_budget.policies import FailurePolicy, MixedPolicy, Policy, RetryOn
from elanus_retrier_budget.schema import from_json, read_document

if TYPE_CHECKING:
    from typing import Any

__all__ = ["BudgetSettings"]

_OWNER = "retrier 'budget'"


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """One policy in plain words for every method, or any number of policies in Kitex's JSON."""

    #: Further attempts, the first one not counted.
    retries: int = 2
    #: Seconds without an answer after which one more attempt starts beside those that run; ``None``: never.
    hedge_after: float | None = None
    #: Bounds of the pause before the first further attempt and before any, in seconds; both 0: no pause.
    first_pause: float = 0.01
    longest_pause: float = 1.0
    #: Seconds since the start of the call after which there is no further attempt; 0: no limit.
    max_duration: float = 0.0
    #: Go to the instance of the attempt before.
    same_instance: bool = False
    #: Leave the retrying to the hop above, when the call that is being served is itself a retry.
    chain_stop: bool = True
    #: Of the breaker of each method.
    error_rate: float = 0.1
    percentage_limit: bool = True
    #: Of the budget.
    share: float = 0.2
    min_per_second: float = 10.0
    #: Kitex's JSON, by method or ``"*"``: what it names does not go by the words above.
    policies: str = ""
    seed: int | None = None

    @classmethod
    def read(cls, options: Mapping[str, object]) -> BudgetSettings:
        """The settings of the options that a user gave; ``policies`` may be the JSON, or what it was read into.

        :raises ConfigError: an unknown option, or a value of the wrong type.
        """
        given = dict(options)
        if isinstance(given.get("policies"), Mapping):
            given["policies"] = json.dumps(given["policies"])
        return read_settings(cls, _OWNER, given)

    def arguments(self) -> dict[str, Any]:
        """What :class:`~elanus_retrier_budget.retrier.BudgetRetrier` is made with.

        :raises ConfigError: a value is out of range.
        """
        return {
            "policy": self._policy(),
            "methods": {key: from_json(value) for key, value in self._documents().items()},
            "budget": Budget(self.share, self.min_per_second),
            "percentage_limit": self.percentage_limit,
            "seed": self.seed,
        }

    def _policy(self) -> Policy:
        shared: dict[str, Any] = {
            "max_retry_times": self.retries,
            "max_duration": self.max_duration,
            "same_instance": self.same_instance,
            "chain_stop": self.chain_stop,
            "error_rate": self.error_rate,
            "on": RetryOn(unsent=True),
        }
        if self.first_pause or self.longest_pause:
            shared["back_off"] = ExponentialBackOff(self.first_pause, longest=self.longest_pause)
        if self.hedge_after is None:
            return FailurePolicy(**shared)
        return MixedPolicy(**shared, delay=self.hedge_after)

    def _documents(self) -> dict[str, Mapping[str, Any]]:
        documents = dict(read_document(self.policies)) if self.policies else {}
        for key, value in documents.items():
            if not isinstance(value, Mapping):
                hint = "Give Kitex's JSON, by method or by '*'"
                raise ConfigError(f"the retry policy of {key!r} is {value!r}", hint=hint)
        return documents
