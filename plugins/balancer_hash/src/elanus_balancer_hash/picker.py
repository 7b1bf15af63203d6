"""Pickers on a ring: with and without a bound on the load of each instance."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker
from elanus_balancer_hash.keys import key_bytes
from elanus_balancer_hash.records import TOP

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from random import Random

    from elanus.call import Call
    from elanus.service import Instance
    from elanus_balancer_hash.keys import KeyFunction
    from elanus_balancer_hash.ring import Ring

__all__ = ["BoundedHashPicker", "HashPicker", "KeylessSpread"]

#: Points that are looked at before the instances are, one by one.
_STEPS = 64
#: Draws for a call without a key before the instances are looked through.
_DRAWS = 16


class KeylessSpread:
    """Instances by chance and weight, for calls without a key."""

    def __init__(self, order: Sequence[Instance], random: Random) -> None:
        self._order = order
        self._random = random.random
        self._shares: list[float] = []

    def draw(self) -> Instance:
        """One of them."""
        if not self._shares:  # most clients never need it
            total = sum(instance.weight for instance in self._order)
            self._shares = [end / total for end in accumulate(instance.weight for instance in self._order)]
        return self._order[bisect_right(self._shares, self._random())]


class HashPicker(Picker):
    """The instance of the key's point, or the next one that is not excluded.

    :param keyless: for calls without a key; ``None``: they get no instance.
    """

    def __init__(self, ring: Ring, key: KeyFunction, keyless: KeylessSpread | None) -> None:
        self.ring = ring
        self._key = key
        self._keyless = keyless
        self._place = ring.place
        self._points = ring.points
        self._last = len(ring.points) - 1
        self._kept = ring.kept
        self._shift, self._starts = ring.shift, ring.starts
        self._mask = ring.mask
        self._instances = ring.instances

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        key = self._key(call)
        data = key.encode("utf-8", "surrogatepass") if type(key) is str else key_bytes(key, call)
        if not data:
            return self._pick_keyless(excluded)
        # Ring.index() once more: a pick is too short for another call.
        place, starts = self._place(data), self._starts
        stretch = place >> self._shift
        index = bisect_left(self._points, place & self._kept | TOP, starts[stretch], starts[stretch + 1])
        if index > self._last:
            index = 0
        instance = self._instances[self._points[index] & self._mask]
        if excluded and instance in excluded:  # type: ignore[truthy-bool]  # mostly an empty list
            return self._walk(index, excluded)
        return instance

    def _walk(self, index: int, excluded: Container[Instance]) -> Instance | None:
        """The instance of the next point that is not of an excluded one."""
        points, mask, instances = self._points, self._mask, self._instances
        for step in range(index + 1, index + _STEPS):
            instance = instances[points[step % len(points)] & mask]
            if instance not in excluded:
                return instance
        return self._look_through(index, excluded)

    def _look_through(self, index: int, excluded: Container[Instance]) -> Instance | None:
        """An instance that is not excluded, where those that are have nearly all points: as foreseeable as any."""
        order = self.ring.order
        start = index % len(order)
        for instance in (*order[start:], *order[:start]):
            if instance not in excluded:
                return instance
        return None

    def _pick_keyless(self, excluded: Container[Instance]) -> Instance | None:
        keyless = self._keyless
        if keyless is None:
            return None
        for _ in range(_DRAWS):
            instance = keyless.draw()
            if instance not in excluded:
                return instance
        return self._look_through(0, excluded)


class _Load:
    """The calls in flight at one instance, or at all; of an instance, also what it is at present."""

    __slots__ = ("calls", "instance", "weight")

    def __init__(self, instance: Instance | None = None) -> None:
        self.calls = 0
        self.instance = instance
        self.weight = 0


class BoundedHashPicker(HashPicker):
    """As :class:`HashPicker`, but an instance that has its share of the calls in flight is passed over.

    Consistent hashing with bounded loads (V. Mirrokni, M. Thorup, M. Zadimoghaddam, 2016). The calls in flight are
    those of this client.

    :param factor: how many times its share by weight an instance may have; above 1.
    :param previous: whose counts are carried on.
    """

    def __init__(
        self,
        ring: Ring,
        key: KeyFunction,
        keyless: KeylessSpread | None,
        factor: float,
        previous: BoundedHashPicker | None,
    ) -> None:
        super().__init__(ring, key, keyless)
        known: dict[str, _Load] = {} if previous is None else previous._load_of
        self._total: _Load = _Load() if previous is None else previous._total
        self._load_of: dict[str, _Load] = {}
        #: By slot. Slots that nobody has are in no record.
        self._loads = [self._total] * len(ring.instances)
        for instance in ring.order:
            load = self._load_of[instance.address] = known.get(instance.address) or _Load()
            load.instance, load.weight = instance, instance.weight
            self._loads[ring.slots[instance.address]] = load
        self._factor = factor / sum(instance.weight for instance in ring.order)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        key = self._key(call)
        data = key.encode("utf-8", "surrogatepass") if type(key) is str else key_bytes(key, call)
        if not data:
            instance = self._pick_keyless(excluded)
            return None if instance is None else self._started(instance)
        place, starts = self._place(data), self._starts
        stretch = place >> self._shift
        index = bisect_left(self._points, place & self._kept | TOP, starts[stretch], starts[stretch + 1])
        if index > self._last:
            index = 0
        load, total = self._loads[self._points[index] & self._mask], self._total
        instance = load.instance
        if load.calls >= self._factor * (total.calls + 1) * load.weight or instance in excluded:
            return self._next_with_room(index, excluded)
        load.calls += 1
        total.calls += 1
        return instance

    def _next_with_room(self, index: int, excluded: Container[Instance]) -> Instance | None:
        bound = self._factor * (self._total.calls + 1)
        points, mask = self._points, self._mask
        instance: Instance | None
        for step in range(index + 1, index + _STEPS):
            load = self._loads[points[step % len(points)] & mask]
            instance = load.instance
            if load.calls < bound * load.weight and instance not in excluded:
                break
        else:
            instance = self._roomiest(excluded)
        return None if instance is None else self._started(instance)

    def _roomiest(self, excluded: Container[Instance]) -> Instance | None:
        """The least loaded for its weight of those not excluded: all that are near are full."""
        best: Instance | None = None
        least = inf
        for load in self._load_of.values():
            if load.calls / load.weight < least and load.instance not in excluded:
                best, least = load.instance, load.calls / load.weight
        return best

    def _started(self, instance: Instance) -> Instance:
        self._load_of[instance.address].calls += 1
        self._total.calls += 1
        return instance

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        load = self._load_of.get(instance.address)
        if load is not None and load.calls > 0:
            load.calls -= 1
            self._total.calls -= 1

    def in_flight(self) -> dict[str, int]:
        """The calls in flight by address, of those instances that have any."""
        return {address: load.calls for address, load in self._load_of.items() if load.calls}
