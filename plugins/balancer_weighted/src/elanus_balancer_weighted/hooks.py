"""What this plugin offers: four balancers. Nothing of them is imported before one is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.contracts.balancer import Balancer

_CLASSES = {
    "weighted": "WeightedBalancer",
    "weighted_interleaved": "InterleavedBalancer",
    "weighted_random": "RandomBalancer",
    "weighted_alias": "AliasBalancer",
}


@hookimpl
def elanus_balancers() -> Sequence[Provider[Balancer]]:
    return [Provider(name, _builder(class_name)) for name, class_name in _CLASSES.items()]


def _builder(class_name: str) -> Callable[[Mapping[str, object]], Balancer]:
    def build(options: Mapping[str, object]) -> Balancer:
        from elanus_balancer_weighted import balancers

        cls: type[balancers.SeededBalancer] = getattr(balancers, class_name)
        return cls.from_options(options)

    return build
