"""Weighted load balancers for elanus. By name: ``balancer="weighted"``; as an object: ``WeightedBalancer(seed=1)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_balancer_weighted.balancers import AliasBalancer as AliasBalancer
    from elanus_balancer_weighted.balancers import InterleavedBalancer as InterleavedBalancer
    from elanus_balancer_weighted.balancers import RandomBalancer as RandomBalancer
    from elanus_balancer_weighted.balancers import WeightedBalancer as WeightedBalancer
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from elanus_balancer_weighted import balancers

            return getattr(balancers, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["AliasBalancer", "InterleavedBalancer", "RandomBalancer", "WeightedBalancer"]
