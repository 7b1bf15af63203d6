"""Points as 64-bit records: a ring of a million takes 8 MB, and is searched without touching an object per point.

From the top, a record has a byte that is the same for all (see :func:`in_order`), the place of the point, and the
*slot*, which is the number of the instance on its ring.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus_balancer_hash.placement import Placement

__all__ = ["MOST_SHORT_SLOTS", "TOP", "Layout", "in_order", "merged", "without"]

_RECORD = 8
#: The top byte of every record: read as a double, the record is positive and finite.
_TOP = b"\x3f"
TOP = _TOP[0] << 56
#: As many slots fit in two bytes.
MOST_SHORT_SLOTS = 2**16


class Layout:
    """How records are laid out for the points of *placement*: the more bytes of slot, the fewer of point."""

    def __init__(self, placement: Placement, slot_bytes: int) -> None:
        self.placement = placement
        #: The bits of a record that are its slot, and those of a place that are in a record.
        self.mask: int = 256**slot_bytes - 1
        self.kept: int = 2**56 - 1 - self.mask
        self._padding = bytes(slot_bytes)
        #: How many bytes of a point are left out: its lowest.
        self._cut = placement.width + slot_bytes + len(_TOP) - _RECORD

    def records(self, counts: Mapping[str, int], slots: Mapping[str, int]) -> array[int]:
        """The records, in order, of the addresses in *counts*, which has the number of points of each."""
        parts = [self._of_one(address, count, slots[address]) for address, count in counts.items()]
        records = array("Q", b"".join(parts))
        if sys.byteorder == "big":
            records.byteswap()
        return in_order(records)

    def _of_one(self, address: str, count: int, slot: int) -> bytearray:
        first, width = len(self._padding), self.placement.width
        points = self.placement.points(address, count)
        records = bytearray(_RECORD * count)
        for offset, byte in enumerate(slot.to_bytes(first, "little")):
            records[offset::_RECORD] = bytes((byte,)) * count
        for offset in range(self._cut, width):
            records[first + offset - self._cut :: _RECORD] = points[offset::width]
        records[_RECORD - 1 :: _RECORD] = _TOP * count
        return records


def in_order(records: array[int]) -> array[int]:
    """*records*, sorted.

    Positive doubles have the order of their bits, and Python sorts floats more than twice as fast as large integers:
    that is what the top byte is for.
    """
    doubles = array("d", records.tobytes())
    return array("Q", array("d", sorted(doubles)).tobytes())


def without(records: array[int], gone: array[int]) -> array[int]:
    """*records* less *gone*, which are all among them; both in order."""
    left = array("Q")
    start = 0
    for record in gone:
        stop = bisect_left(records, record, start)
        left += records[start:stop]
        start = stop + 1
    left += records[start:]
    return left


def merged(records: array[int], new: array[int], mask: int) -> array[int] | None:
    """*records* and *new*, both in order, as one; ``None`` when the place of a new one is taken."""
    both = array("Q")
    start = 0
    for record in new:
        least = record & ~mask
        stop = bisect_left(records, least, start)
        both += records[start:stop]
        neighbours = (*both[-1:], *records[stop : stop + 1])
        if any(neighbour & ~mask == least for neighbour in neighbours):
            return None
        both.append(record)
        start = stop
    both += records[start:]
    return both
