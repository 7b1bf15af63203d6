"""The balancer keeps the contract: unbounded, bounded, and as ketama."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elanus.testing.balancer import BalancerSuite
from elanus_balancer_hash import HashBalancer

if TYPE_CHECKING:
    from elanus.contracts.balancer import Balancer

AFFINITY = {"random start": "a call goes where its key says"}


class TestHash(BalancerSuite):
    unsupported: ClassVar[dict[str, str]] = AFFINITY
    tolerance = 0.2  # a ring of few instances is as even as its points are many

    def balancer(self) -> Balancer:
        return HashBalancer("argument:0", points=800)


class TestBounded(BalancerSuite):
    unsupported: ClassVar[dict[str, str]] = AFFINITY
    tolerance = 0.25

    def balancer(self) -> Balancer:
        return HashBalancer("argument:0", points=800, load_factor=1.25)


class TestKetama(BalancerSuite):
    unsupported: ClassVar[dict[str, str]] = AFFINITY
    tolerance = 0.25

    def balancer(self) -> Balancer:
        return HashBalancer("argument:0", placement="ketama")


class TestWithoutKeys(BalancerSuite):
    """Calls that have no key are spread by weight."""

    def balancer(self) -> Balancer:
        return HashBalancer("metadata:user")


class TestWithoutKeysBounded(BalancerSuite):
    def balancer(self) -> Balancer:
        return HashBalancer(lambda call: None, load_factor=1.1)
