"""Interleaved weighted round robin: rounds in which every instance that has turns left gets one.

An instance of weight w takes part in the first w rounds of a cycle. Less smooth than nginx's order (the end of a cycle
belongs to the heaviest), and it needs no more memory than the instances themselves, whatever the weights.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["InterleavedPicker"]


class _Node:
    __slots__ = ("instance", "left", "weight")

    def __init__(self, instance: Instance, weight: int) -> None:
        self.instance = instance
        self.weight = weight
        self.left = weight  # turns left in this cycle


class InterleavedPicker(Picker):
    """Picks from two queues: those that have turns left in this cycle, and those that wait for the next. O(1)."""

    def __init__(self, instances: Sequence[Instance], weights: Sequence[int], random: Random) -> None:
        self._active: deque[_Node] = deque()
        self._spent: deque[_Node] = deque()
        nodes = [_Node(instance, weight) for instance, weight in zip(instances, weights, strict=True)]
        self._start(nodes, random)

    def _start(self, nodes: list[_Node], random: Random) -> None:
        """Begin at a random place of the cycle, every place being as likely as any other."""
        if not nodes:
            return
        cumulative = list(accumulate(node.weight for node in nodes))
        (first,) = random.choices(range(len(nodes)), cum_weights=cumulative)
        round_ = random.randrange(nodes[first].weight)
        had_their_turn: list[_Node] = []
        for index, node in enumerate(nodes):
            used = round_ + (index < first)
            if node.weight <= used:
                self._spent.append(node)
                continue
            node.left = node.weight - used
            (had_their_turn if index < first else self._active).append(node)
        self._active.extend(had_their_turn)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        active = self._active
        node = active[0]
        if excluded and node.instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._skip(excluded)
        node.left -= 1
        if node.left:
            active.rotate(-1)
        else:
            active.popleft()
            self._retire(node)
        return node.instance

    def _retire(self, node: _Node) -> None:
        node.left = node.weight
        self._spent.append(node)
        if not self._active:
            self._active, self._spent = self._spent, self._active

    def _skip(self, excluded: Container[Instance]) -> Instance | None:
        """The first that is not excluded. Whoever is passed over keeps its turn."""
        for index, node in enumerate(self._active):
            if node.instance not in excluded:
                del self._active[index]
                node.left -= 1
                if node.left:
                    self._active.append(node)
                else:
                    self._retire(node)
                return node.instance
        for node in self._spent:
            if node.instance not in excluded:
                # Its turns of the next cycle are not touched, and others that wait get the next call of this kind.
                self._spent.remove(node)
                self._spent.append(node)
                return node.instance
        return None
