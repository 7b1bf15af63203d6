"""Two choices by chance and weight, and of these the one that promises to answer sooner."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import exp, gcd
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker
from elanus_balancer_latency.outcomes import Verdict, verdict_on

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance
    from elanus_balancer_latency.fleet import Fleet, InstanceState, Node

__all__ = ["LatencyPicker"]

#: The second choice is taken when it costs less than this part of the first. Small differences are noise, and going by
#: them would give half of the calls to half of the instances, whatever their weights.
_CLEARLY_LESS = 0.8
#: Places in a list for drawing: 1 MiB.
_MOST_PLACES = 2**17
#: Draws before the instances are looked through, where some are excluded, ejected or start slowly.
_DRAWS = 12


class LatencyPicker(Picker):
    """Picks from *instances*, at least one, whose weights are above 0.

    The cost of an instance is the latency that is expected of it, times the calls in flight there and this one.
    """

    def __init__(self, fleet: Fleet, instances: Sequence[Instance], random: Random, decay: float) -> None:
        self.fleet = fleet
        self._nodes = fleet.update(instances)
        self._by_address = fleet.nodes
        self._random = random.random
        self._decay = decay
        self._turns, self._shares = _drawing(self._nodes)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        nodes, turns, random, fleet = self._nodes, self._turns, self._random, self.fleet
        if turns is nodes:
            count = len(nodes)
            index, other = int(random() * count), int(random() * (count - 1))
            first, second = nodes[index], nodes[other if other < index else other + 1]
        elif turns is not None:
            places = len(turns)
            first, second = turns[int(random() * places)], turns[int(random() * places)]
        else:
            first, second = self._draw(), self._draw()
        if second is first:
            second = self._draw()
        if fleet.unstarted:
            fleet.start(now)
        if excluded or first.special_until > now or second.special_until > now:  # type: ignore[truthy-bool]
            return self._pick_fit((first, second), excluded, now)
        # What follows is _cheaper(): a pick is too short for another call.
        typical, decay = fleet.typical, self._decay
        kept = exp((first.stamp - now) / decay) if first.stamp < now else 1.0
        cost = (typical + (first.latency - typical) * kept) * (1.0 + first.in_flight * first.unit)
        kept = exp((second.stamp - now) / decay) if second.stamp < now else 1.0
        if (typical + (second.latency - typical) * kept) * (
            1.0 + second.in_flight * second.unit
        ) < cost * _CLEARLY_LESS:
            first = second
        first.in_flight += 1
        return first.instance

    def _pick_fit(self, drawn: tuple[Node, Node], excluded: Container[Instance], now: float) -> Instance | None:
        """The same among those that are fit: of *drawn*, and of further draws."""
        first: Node | None = None
        for number in range(_DRAWS):
            node = drawn[number] if number < len(drawn) else self._draw()
            if node is first or node.instance in excluded or not self._has_its_turn(node, now):
                continue
            if first is not None:
                return self._started(self._cheaper(first, node, now))
            first = node
        if first is None:
            first = self._look_through(excluded, now)
        return None if first is None else self._started(first)

    def _draw(self) -> Node:
        if self._turns is not None:
            return self._turns[int(self._random() * len(self._turns))]
        return self._nodes[bisect_right(self._shares, self._random())]

    def _has_its_turn(self, node: Node, now: float) -> bool:
        return now >= node.special_until or self._random() < self.fleet.share(node, now)

    def _cheaper(self, first: Node, second: Node, now: float) -> Node:
        return second if self._cost(second, now) < self._cost(first, now) * _CLEARLY_LESS else first

    def _cost(self, node: Node, now: float) -> float:
        return self.fleet.expected(node, now) * (1.0 + node.in_flight * node.unit)

    def _look_through(self, excluded: Container[Instance], now: float) -> Node | None:
        """The first that is left, from a random one on. An ejected one is better than none."""
        start = int(self._random() * len(self._nodes))
        last_resort: Node | None = None
        for node in (*self._nodes[start:], *self._nodes[:start]):
            if node.instance in excluded:
                continue
            if now >= node.ejected_until:
                return node
            last_resort = last_resort or node
        return last_resort

    def _started(self, node: Node) -> Instance:
        node.in_flight += 1
        return node.instance

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        node = self._by_address.get(instance.address)
        if node is None:
            return
        if node.in_flight > 0:
            node.in_flight -= 1
        verdict = Verdict.SUCCESS if error is None else verdict_on(error)
        if verdict is Verdict.CANCELLED:
            self.fleet.record_at_least(node, elapsed, now)
        elif verdict is Verdict.REFUSED:
            self.fleet.record_refused(node, elapsed, now)
        elif verdict is not Verdict.NONE:
            self.fleet.record(node, verdict is Verdict.FAILURE, elapsed, now)

    def available(self, now: float) -> float:
        return self.fleet.available(now)

    def ejected(self, now: float) -> Mapping[Instance, float]:
        """Who is ejected at *now*, and until when, on the monotonic clock."""
        return {node.instance: node.ejected_until for node in self.fleet.ejected(now)}

    def states(self, now: float) -> Mapping[str, InstanceState]:
        """What is known of each instance at *now*, by address."""
        return self.fleet.states(now)


def _drawing(nodes: list[Node]) -> tuple[list[Node] | None, list[float]]:
    """How to draw by weight: a list in which each stands as often as its weight says; or, where that would be long,
    the ends of their shares.

    With equal weights the list is *nodes* itself, unless there is but one: then two different ones can be drawn.
    """
    weights = [node.instance.weight for node in nodes]
    divisor, total = gcd(*weights), sum(weights)
    if total == divisor * len(nodes) and len(nodes) > 1:
        return nodes, []
    if total // divisor <= max(_MOST_PLACES, 2 * len(nodes)):
        return [node for node in nodes for _ in range(node.instance.weight // divisor)], []
    return None, [end / total for end in accumulate(weights)]  # the last is 1, which is never drawn
