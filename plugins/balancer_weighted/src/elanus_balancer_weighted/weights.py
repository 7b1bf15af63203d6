"""What all pickers do with weights before they start, and the last resort of those that skip instances."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.service import Instance

__all__ = ["MAX_WEIGHT", "first_allowed", "reduced", "usable"]

#: Weights are scaled down until none is greater. Below it, sums over any number of instances are exact as floats.
MAX_WEIGHT = 2**31


def usable(instances: Sequence[Instance]) -> list[Instance]:
    """The instances that may get calls: those whose weight is above 0."""
    return [instance for instance in instances if instance.weight > 0]


def reduced(instances: Sequence[Instance]) -> list[int]:
    """The weights of *instances*, all above 0, as small as they get without changing a share.

    Only where one is above :data:`MAX_WEIGHT` even so do shares change, by less than one part in two thousand million
    of the greatest; an instance keeps at least a weight of 1.
    """
    divisor = gcd(*(instance.weight for instance in instances))
    weights = [instance.weight // divisor for instance in instances]
    greatest = max(weights, default=0)
    if greatest > MAX_WEIGHT:
        weights = [max(1, weight * MAX_WEIGHT // greatest) for weight in weights]
    return weights


def first_allowed(instances: Sequence[Instance], start: int, excluded: Container[Instance]) -> Instance | None:
    """The first instance, from index *start* on and around, that is not excluded; ``None`` when all are.

    Every step but the last meets an excluded one, so it takes no more steps than there are excluded instances.
    """
    for index in range(start, len(instances)):
        if instances[index] not in excluded:
            return instances[index]
    for index in range(start):
        if instances[index] not in excluded:
            return instances[index]
    return None
