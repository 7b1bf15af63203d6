"""Retries and hedged requests with a budget for elanus. By name: ``retrier="budget"``; as an object::

BudgetRetrier(MixedPolicy(delay=0.05), methods={"pay": None})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_retrier_budget.back_off import ExponentialBackOff as ExponentialBackOff
    from elanus_retrier_budget.back_off import FixedBackOff as FixedBackOff
    from elanus_retrier_budget.back_off import RandomBackOff as RandomBackOff
    from elanus_retrier_budget.budget import Budget as Budget
    from elanus_retrier_budget.policies import ALL_ERRORS as ALL_ERRORS
    from elanus_retrier_budget.policies import BackupPolicy as BackupPolicy
    from elanus_retrier_budget.policies import FailurePolicy as FailurePolicy
    from elanus_retrier_budget.policies import MixedPolicy as MixedPolicy
    from elanus_retrier_budget.policies import Policy as Policy
    from elanus_retrier_budget.policies import RetryOn as RetryOn
    from elanus_retrier_budget.retrier import BudgetRetrier as BudgetRetrier
    from elanus_retrier_budget.schema import from_json as from_json
    from elanus_retrier_budget.schema import to_json as to_json
    from elanus_retrier_budget.settings import BudgetSettings as BudgetSettings

_HOMES = {
    "ALL_ERRORS": "policies",
    "BackupPolicy": "policies",
    "Budget": "budget",
    "BudgetRetrier": "retrier",
    "BudgetSettings": "settings",
    "ExponentialBackOff": "back_off",
    "FailurePolicy": "policies",
    "FixedBackOff": "back_off",
    "MixedPolicy": "policies",
    "Policy": "policies",
    "RandomBackOff": "back_off",
    "RetryOn": "policies",
    "from_json": "schema",
    "to_json": "schema",
}

__all__ = sorted(_HOMES)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{home}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
