"""Smooth weighted round robin, in the order in which nginx picks.

nginx (``ngx_http_upstream_round_robin.c``) adds to every instance its weight, picks the one that has most, and takes
the sum of all weights from it: O(n) a pick. Here the same order is worked out ahead, once, for one whole period, and a
pick reads the next place. Working it out looks at one instance per distinct weight only: of instances of equal weight
it is always the turn of the next one in the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker
from elanus_balancer_weighted.weights import first_allowed

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["SmoothOrder", "SmoothPicker", "is_affordable"]

#: Comparisons that may be spent on making a picker (some 5 ms); what is left of the period is worked out on the way.
_AHEAD = 100_000
#: Distinct weights up to which working out one more place costs a pick next to nothing.
_FEW_GROUPS = 16
#: Places of a period that are kept at most: 2 MiB of references.
_MOST_PLACES = 2**18
#: Places worked out at a time.
_BATCH = 32


def is_affordable(weights: Sequence[int]) -> bool:
    """Whether the order for *weights* can be kept, and worked out without holding anything up."""
    period, groups = sum(weights), len(set(weights))
    return period <= _MOST_PLACES and (groups <= _FEW_GROUPS or period * groups <= _AHEAD)


class _Group:
    """The instances of one weight, as far as the order is concerned: *members* take turns."""

    __slots__ = ("current", "head", "members", "turn", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.members: list[int] = []
        self.turn = 0
        self.head = 0
        self.current = 0  # nginx's current weight of the member whose turn it is


class SmoothOrder:
    """nginx's order for *weights*, all above 0, as indexes; goes on for ever with the period ``sum(weights)``."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._total = sum(weights)
        groups: dict[int, _Group] = {}
        for index, weight in enumerate(weights):
            group = groups.get(weight)
            if group is None:
                group = groups[weight] = _Group(weight)
                group.head = index
            group.members.append(index)
        self._groups = list(groups.values())

    def __next__(self) -> int:
        best: _Group | None = None
        for group in self._groups:
            group.current += group.weight
            if (
                best is None
                or group.current > best.current
                or (group.current == best.current and group.head < best.head)
            ):
                best = group
        assert best is not None
        picked = best.head
        best.turn += 1
        if best.turn == len(best.members):
            # Each member has been picked once more, and the next in turn has paid for it.
            best.turn = 0
            best.current -= self._total
        best.head = best.members[best.turn]
        return picked

    def __iter__(self) -> SmoothOrder:
        return self


class SmoothPicker(Picker):
    """Picks in nginx's order, from a random place on. Equal weights make it a plain round robin. O(1).

    :param weights: one per instance, for which :func:`is_affordable` is true.
    """

    def __init__(self, instances: Sequence[Instance], weights: Sequence[int], random: Random) -> None:
        self._instances = instances
        self._period = sum(weights)
        groups = len(set(weights))
        self._source = SmoothOrder(weights)
        self._order: list[Instance] = list(instances) if groups == 1 else []
        self._skipped_to = 0
        if groups > 1:
            self._extend(min(self._period, _AHEAD // groups))
        # All clients of one service start together when it is deployed: from the first place they would all call the
        # same instances at the same time.
        self._position = random.randrange(len(self._order))

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        position = self._position
        try:
            instance = self._order[position]
        except IndexError:
            position = self._after_last()
            instance = self._order[position]
        self._position = position + 1
        if excluded and instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._skip(position, excluded)
        return instance

    def _after_last(self) -> int:
        """The place that follows the last one known: one more of the period, or its first."""
        known = len(self._order)
        if known < self._period:
            self._extend(min(_BATCH, self._period - known))
            return known
        return 0

    def _extend(self, places: int) -> None:
        instances, source = self._instances, self._source
        self._order.extend([instances[next(source)] for _ in range(places)])

    def _skip(self, position: int, excluded: Container[Instance]) -> Instance | None:
        """Somebody else for a place whose instance is excluded.

        Whoever comes next in the order, without moving the others' place in it. When the excluded ones have nearly
        all the places, walking past them could take long; then the instances get such calls in turn.
        """
        order = self._order
        places = len(order)
        for ahead in range(1, min(places, 24)):
            instance = order[(position + ahead) % places]
            if instance not in excluded:
                return instance
        self._skipped_to = (self._skipped_to + 1) % len(self._instances)
        return first_allowed(self._instances, self._skipped_to, excluded)
