"""Weighted round robin for sets whose smooth order would be too long to work out: exact shares, O(log n).

Each instance has a next turn, and turns lie ``total / weight`` apart; the earliest goes first (stride scheduling,
C. Waldspurger and W. Weihl, 1995). Nearly as smooth as nginx's order, and the memory is that of a heap.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.contracts.balancer import Picker

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance

    #: The next turn, an index that decides between equal turns, the distance between turns, and the instance.
    Turn: TypeAlias = "list[Any]"

__all__ = ["StridePicker"]


class StridePicker(Picker):
    """Picks whoever's turn is next.

    :param weights: one per instance, at most :data:`~elanus_balancer_weighted.weights.MAX_WEIGHT`.
    """

    def __init__(self, instances: Sequence[Instance], weights: Sequence[int], random: Random) -> None:
        total = sum(weights)
        self._heap: list[Turn] = []
        for index, (instance, weight) in enumerate(zip(instances, weights, strict=True)):
            stride = total / weight
            # A random first turn is the random start, and keeps instances of equal weight from coming in one go.
            self._heap.append([stride * random.random(), index, stride, instance])
        heapify(self._heap)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        first = self._heap[0]
        instance: Instance = first[3]
        if excluded and instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._skip(excluded)
        first[0] += first[2]
        heapreplace(self._heap, first)
        return instance

    def _skip(self, excluded: Container[Instance]) -> Instance | None:
        """The first of those not excluded. Whoever is passed over keeps its turn."""
        passed: list[Turn] = []
        picked: Instance | None = None
        while self._heap:
            first = heappop(self._heap)
            instance: Instance = first[3]
            passed.append(first)
            if instance not in excluded:
                first[0] += first[2]
                picked = instance
                break
        for turn in passed:
            heappush(self._heap, turn)
        return picked
