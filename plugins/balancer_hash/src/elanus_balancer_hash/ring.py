"""The ring: every instance has many points, and a key belongs to the instance of the next point."""

from __future__ import annotations

from bisect import bisect_left
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING

from elanus_balancer_hash.records import MOST_SHORT_SLOTS, TOP, Layout, merged, without

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Mapping, Sequence

    from elanus.service import Instance
    from elanus_balancer_hash.placement import Placement

__all__ = ["Ring"]


class Ring:
    """The points of some instances. Made with :meth:`of` or, much faster, from a similar one with :meth:`changed`.

    Equal sets make rings that give every key the same instance, however they came to be. Never altered.
    """

    def __init__(
        self,
        layout: Layout,
        order: Sequence[Instance],
        counts: Mapping[str, int],
        slots: Mapping[str, int],
        points: array[int],
    ) -> None:
        #: The instances in the order of their addresses.
        self.order = order
        #: The records of all points, in order; ``point & mask`` is the slot of the instance.
        self.points = points
        self.mask, self.kept = layout.mask, layout.kept
        self.slots = slots
        #: By slot; ``None`` where nobody has it.
        self.instances: list[Instance | None] = [None] * (max(slots.values(), default=-1) + 1)
        for instance in order:
            self.instances[slots[instance.address]] = instance
        self.place = layout.placement.place
        #: Where the points of each stretch of the circle begin, so that a pick searches one stretch only: places of the
        #: stretch *n* are those with ``place >> shift == n``.
        self.shift, self.starts = _stretches(points)
        self._layout = layout
        self._counts = counts

    @classmethod
    def of(cls, instances: Sequence[Instance], placement: Placement) -> Ring:
        """A ring from nothing. An address that is listed twice counts once.

        :param instances: with weights above 0.
        """
        order = _ordered(instances)
        counts = _counted(order, placement)
        # Of two points at the same place, that of the lower slot comes first: slots go by address here, so that it
        # is the same one in every process.
        slots = {address: slot for slot, address in enumerate(counts)}
        layout = Layout(placement, 3 if placement.width == 4 or len(order) > MOST_SHORT_SLOTS else 2)
        return cls(layout, order, counts, slots, layout.records(counts, slots))

    def changed(self, instances: Sequence[Instance]) -> Ring:
        """The ring for *instances*, of the same placement."""
        layout, order = self._layout, _ordered(instances)
        counts = _counted(order, layout.placement)
        gone = {address: had for address, had in self._counts.items() if counts.get(address) != had}
        new = {address: has for address, has in counts.items() if self._counts.get(address) != has}
        if 4 * (len(gone) + len(new)) > len(order) or len(order) > MOST_SHORT_SLOTS:
            return Ring.of(instances, layout.placement)
        points = without(self.points, layout.records(gone, self.slots)) if gone else self.points
        slots = _reassigned(self.slots, gone, new)
        if new:
            extended = merged(points, layout.records(new, slots), layout.mask)
            if extended is None:  # slots do not go by address here
                return Ring.of(instances, layout.placement)
            points = extended
        return Ring(layout, order, counts, slots, points)

    def index(self, key: bytes) -> int:
        """The index of the point that *key* belongs to."""
        place = self.place(key)
        stretch = place >> self.shift
        index = bisect_left(self.points, place & self.kept | TOP, self.starts[stretch], self.starts[stretch + 1])
        return index if index < len(self.points) else 0


def _ordered(instances: Sequence[Instance]) -> Sequence[Instance]:
    """Each address once, the first one listed, in the order of the addresses."""
    return sorted({instance.address: instance for instance in reversed(instances)}.values(), key=attrgetter("address"))


def _counted(order: Sequence[Instance], placement: Placement) -> dict[str, int]:
    return dict(zip([instance.address for instance in order], placement.counts(order), strict=True))


def _reassigned(slots: Mapping[str, int], gone: Iterable[str], new: Iterable[str]) -> dict[str, int]:
    """*slots* without those who are *gone*, and with the lowest free ones for who is *new*."""
    left = dict(slots)
    for address in gone:
        del left[address]
    taken = set(left.values())
    free = (slot for slot in count() if slot not in taken)
    left.update(zip(new, free, strict=False))
    return left


def _stretches(points: array[int]) -> tuple[int, list[int]]:
    """The circle in up to 4,096 stretches, of some hundred points each."""
    bits = min(max(len(points).bit_length() - 7, 0), 12)
    shift = 56 - bits
    starts = [0]
    for stretch in range(1, 2**bits):
        starts.append(bisect_left(points, stretch << shift | TOP, starts[-1]))
    return shift, [*starts, len(points)]
