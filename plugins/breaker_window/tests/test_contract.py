"""The suite of the contract, with each rule in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.testing import BreakerSuite
from elanus_breaker_window import WindowBreaker

if TYPE_CHECKING:
    from elanus.contracts.breaker import Breaker


class TestWithKitexsNumbers(BreakerSuite):
    def breaker(self) -> Breaker:
        return WindowBreaker()


class TestByName(BreakerSuite):
    def breaker(self) -> Breaker:
        return WindowBreaker.from_options({"min_samples": 20, "cooling": 1, "max_keys": 100})


class TestConsecutive(BreakerSuite):
    def breaker(self) -> Breaker:
        return WindowBreaker(error_rate=2.0, consecutive=5, max_keys=1)


class TestThreshold(BreakerSuite):
    def breaker(self) -> Breaker:
        return WindowBreaker(error_rate=2.0, errors=10, buckets=1, probe_successes=5)
