"""Where instances and keys stand on the ring: two ways, both the same in every process, on every machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import blake2b, md5, shake_128
from math import floor
from struct import pack, unpack
from typing import TYPE_CHECKING

from elanus.service import DEFAULT_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.service import Instance

__all__ = ["Ketama", "OwnPlacement", "Placement"]

#: Points on one ring, unless there are more instances than that: 16 MiB.
_MOST_POINTS = 2**21


class Placement(ABC):
    """Gives instances their points, and keys their places.

    A point is a little-endian number of :attr:`width` bytes, which are the highest ones of a place of 7 bytes.
    """

    width: int

    @abstractmethod
    def counts(self, instances: Sequence[Instance]) -> list[int]:
        """How many points each of *instances* gets, by weight."""

    @abstractmethod
    def points(self, address: str, count: int) -> bytes:
        """*count* points for the instance at *address*; those for a smaller count are a prefix."""

    @abstractmethod
    def place(self, key: bytes) -> int:
        """The place of a key, from 0 to 2**56 - 1."""


class OwnPlacement(Placement):
    """Our own: as many points as the weight of the instance says, whoever else is there.

    So a change of the set moves no keys but those that the new one takes, or that the old one had.

    :param per_instance: points of an instance of the default weight.
    """

    width = 5

    def __init__(self, per_instance: int) -> None:
        self._per_instance = per_instance

    def counts(self, instances: Sequence[Instance]) -> list[int]:
        counts = [instance.weight * self._per_instance // DEFAULT_WEIGHT for instance in instances]
        # Weights can be huge. All are halved so often as is needed: a share changes only where it comes down to one
        # point, and sets of nearly equal size have the same ring.
        halved = max(0, (sum(counts) // _MOST_POINTS).bit_length())
        return [count >> halved or 1 for count in counts]

    def points(self, address: str, count: int) -> bytes:
        return shake_128(address.encode()).digest(count * self.width)

    def place(self, key: bytes) -> int:
        return int.from_bytes(blake2b(key).digest()[:7], "little")


class Ketama(Placement):
    """That of libketama (``ketama.c``), as memcached clients have it: MD5, four points a digest, 40 digests an
    instance of average weight.

    The number of digests depends on the weights of all, in single precision, as in the C code.
    """

    width = 4

    def counts(self, instances: Sequence[Instance]) -> list[int]:
        total, servers = _single(sum(instance.weight for instance in instances)), len(instances)
        return [4 * floor(_single(_single(_single(i.weight) / total) * 40.0 * servers)) for i in instances]

    def points(self, address: str, count: int) -> bytes:
        digests = [md5(b"%s-%d" % (address.encode(), k), usedforsecurity=False).digest() for k in range(count // 4)]
        return b"".join(digests)

    def place(self, key: bytes) -> int:
        return int.from_bytes(md5(key, usedforsecurity=False).digest()[:4], "little") << 24


def _single(number: float) -> float:
    """The nearest number of single precision, which is C's ``float``."""
    rounded: float = unpack("f", pack("f", number))[0]
    return rounded
