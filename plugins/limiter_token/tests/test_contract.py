"""The limiter keeps the contract, whatever it limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elanus.testing import LimiterSuite
from elanus_limiter_token import TokenLimiter

if TYPE_CHECKING:
    from elanus.contracts.limiter import Limiter


class TestRate(LimiterSuite):
    unsupported: ClassVar = {"refuses connections": "it limits calls alone here"}

    def limiter(self) -> Limiter:
        return TokenLimiter(qps=100)


class TestConcurrency(LimiterSuite):
    def limiter(self) -> Limiter:
        return TokenLimiter(concurrency=100, connections=100)


class TestEverything(LimiterSuite):
    def limiter(self) -> Limiter:
        return TokenLimiter(
            qps=1_000,
            concurrency=500,
            connections=9_000,
            per_service={"EchoService": {"qps": 500}, "*": {"concurrency": 3}},
            per_method={"echo": {"qps": 100, "burst": 20}, "EchoService/get": {"qps": 3}},
            per_caller={"*": {"qps": 7}, "batch": {"qps": 0.5, "concurrency": 1}, "": {"concurrency": 2}},
            callers=50,
        )


class TestConnections(LimiterSuite):
    unsupported: ClassVar = {"refuses calls": "it limits connections alone here"}

    def limiter(self) -> Limiter:
        return TokenLimiter(connections=3)
