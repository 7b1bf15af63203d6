"""The four balancers keep the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.testing.balancer import BalancerSuite
from elanus_balancer_weighted import AliasBalancer, InterleavedBalancer, RandomBalancer, WeightedBalancer

if TYPE_CHECKING:
    from elanus.contracts.balancer import Balancer


class TestWeighted(BalancerSuite):
    def balancer(self) -> Balancer:
        return WeightedBalancer()


class TestInterleaved(BalancerSuite):
    def balancer(self) -> Balancer:
        return InterleavedBalancer()


class TestRandom(BalancerSuite):
    def balancer(self) -> Balancer:
        return RandomBalancer()


class TestAlias(BalancerSuite):
    def balancer(self) -> Balancer:
        return AliasBalancer()
