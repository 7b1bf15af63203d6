"""Every kind of policy passes the suite of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elanus.testing import RetrierSuite
from elanus_retrier_budget import BackupPolicy, BudgetRetrier, ExponentialBackOff, FailurePolicy, MixedPolicy

if TYPE_CHECKING:
    from elanus.contracts.retrier import Retrier


class TestByName(RetrierSuite):
    def retrier(self) -> Retrier:
        return BudgetRetrier.from_options({"seed": 1})


class TestFailure(RetrierSuite):
    def retrier(self) -> Retrier:
        return BudgetRetrier(FailurePolicy(max_retry_times=5, back_off=ExponentialBackOff()), seed=1)


class TestFailureByOutcomes(RetrierSuite):
    def retrier(self) -> Retrier:
        return BudgetRetrier(FailurePolicy(), percentage_limit=False, seed=1)


class TestBackup(RetrierSuite):
    unsupported: ClassVar[dict[str, str]] = {"retries timeouts": "the first answer counts, whatever it is"}

    def retrier(self) -> Retrier:
        return BudgetRetrier(BackupPolicy(delay=0.1, max_retry_times=2), seed=1)


class TestMixed(RetrierSuite):
    def retrier(self) -> Retrier:
        return BudgetRetrier(MixedPolicy(delay=0.1, max_retry_times=3), seed=1)


class TestNone(RetrierSuite):
    unsupported: ClassVar[dict[str, str]] = {"retries timeouts": "there is no policy"}

    def retrier(self) -> Retrier:
        return BudgetRetrier(None)
