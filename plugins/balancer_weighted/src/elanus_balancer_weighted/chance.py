"""Weighted choice by chance: by prefix sums in O(log n), or by Walker's alias method in O(1)."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker
from elanus_balancer_weighted.weights import first_allowed

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["AliasPicker", "RandomPicker"]

#: Draws before the instances are looked through instead. With as many, an excluded instance that has half of the
#: weight is met every time in one of 65,536 such picks.
_DRAWS = 16


class _ChancePicker(Picker):
    """What both do about excluded instances: draw again, which leaves the shares of the others as they are."""

    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        self._instances = instances
        self._random = random.random

    @abstractmethod
    def _draw(self) -> Instance:
        """One choice by weight."""

    def _skip(self, excluded: Container[Instance]) -> Instance | None:
        for _ in range(_DRAWS):
            instance = self._draw()
            if instance not in excluded:
                return instance
        start = int(self._random() * len(self._instances))
        return first_allowed(self._instances, start, excluded)


class RandomPicker(_ChancePicker):
    """A number by chance, and a binary search for whose it is."""

    def __init__(self, instances: Sequence[Instance], weights: Sequence[int], random: Random) -> None:
        super().__init__(instances, random)
        total = sum(weights)
        self._shares = [end / total for end in accumulate(weights)]  # the last is exactly 1, which is never drawn

    def _draw(self) -> Instance:
        return self._instances[bisect_right(self._shares, self._random())]

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        instance = self._instances[bisect_right(self._shares, self._random())]
        if excluded and instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._skip(excluded)
        return instance


class AliasPicker(_ChancePicker):
    """A column by chance, and in it one of two instances (M. Vose's way to build A. Walker's table)."""

    def __init__(self, instances: Sequence[Instance], weights: Sequence[int], random: Random) -> None:
        super().__init__(instances, random)
        self._columns = _alias_table(instances, weights)
        self._width = len(instances)

    def _draw(self) -> Instance:
        number = self._random() * self._width
        column = int(number)
        share, own, alias = self._columns[column]
        return own if number - column < share else alias

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        instance = self._draw()
        if excluded and instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._skip(excluded)
        return instance


def _alias_table(instances: Sequence[Instance], weights: Sequence[int]) -> list[tuple[float, Instance, Instance]]:
    """Per instance a column: the part of it that is its own, itself, and whose the rest is.

    In whole numbers until the last step: every weight times n, so that a column holds exactly the total.
    """
    count, total = len(instances), sum(weights)
    filled = [weight * count for weight in weights]
    alias = list(range(count))
    low = [index for index in range(count) if filled[index] < total]
    high = [index for index in range(count) if filled[index] > total]
    while low:
        poor, rich = low.pop(), high[-1]
        alias[poor] = rich
        filled[rich] -= total - filled[poor]
        if filled[rich] <= total:
            high.pop()
            if filled[rich] < total:
                low.append(rich)
    return [(filled[index] / total, instances[index], instances[alias[index]]) for index in range(count)]
