"""The balancer keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.testing.balancer import BalancerSuite
from elanus_balancer_latency import LatencyBalancer

if TYPE_CHECKING:
    from elanus.contracts.balancer import Balancer


class TestLatency(BalancerSuite):
    """In the suite all instances are equally fast and idle, and then shares go by weight."""

    def balancer(self) -> Balancer:
        return LatencyBalancer()


class TestLatencyWithoutExtras(BalancerSuite):
    def balancer(self) -> Balancer:
        return LatencyBalancer(slow_start=0, max_ejected=0)
