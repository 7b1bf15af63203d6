"""Sequence ids: 32-bit numbers that tell the calls of a process apart."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["NOTICE_ID", "SequenceIds"]

#: With this id an elanus server says to an elanus client that it goes. No call of either has it.
NOTICE_ID = -1


class SequenceIds:
    """Counts from 1, through the negative numbers, and round again; 0 and :data:`NOTICE_ID` are never used.

    Kitex clients count so, one counter for the whole process, and servers send back whatever came. On a multiplexed
    connection 0 is the server's own: a message to the connection rather than to a call.
    """

    __slots__ = ("_count",)

    def __init__(self, start: int = 1) -> None:
        self._count = count(start)

    def next(self, taken: Container[int], reserved: Container[int]) -> int:
        """The next id that is in neither of the two."""
        while True:
            number = next(self._count)
            if number > 0x7FFFFFFF:
                number = (number + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if number not in taken and number not in reserved and number not in (0, NOTICE_ID):
                return number
