"""The limiter keeps the contract, with either algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elanus.testing import LimiterSuite
from elanus_limiter_adaptive import AdaptiveLimiter

if TYPE_CHECKING:
    from elanus.contracts.limiter import Limiter


class TestGradient(LimiterSuite):
    unsupported: ClassVar = {"refuses connections": "it limits calls alone"}

    def limiter(self) -> Limiter:
        return AdaptiveLimiter()


class TestAimd(LimiterSuite):
    unsupported: ClassVar = {"refuses connections": "it limits calls alone"}

    def limiter(self) -> Limiter:
        return AdaptiveLimiter(algorithm="aimd", min_limit=1, initial_limit=1, max_limit=8)
