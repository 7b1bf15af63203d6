"""A set of instances in tiers, nearest first, each with a picker of its own from the inner balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.balancer import Picker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.balancer import Balancer
    from elanus.service import Instance
    from elanus_balancer_locality.settings import Level, LocalitySettings

__all__ = ["Tier", "Tiers", "learns"]


def learns(picker: Picker) -> bool:
    """Whether *picker* wants to be told how attempts end."""
    return type(picker).finished is not Picker.finished


class Tier:
    """Some instances that are equally near.

    :param levels: the numbers of the levels that they are of: several when the nearer ones were too few.
    """

    __slots__ = ("levels", "picker", "varies", "weight")

    def __init__(self, levels: tuple[int, ...], picker: Picker, weight: int) -> None:
        self.levels = levels
        self.picker = picker
        self.weight = weight
        #: Whether it may be available in part.
        self.varies = type(picker).available is not Picker.available


class Tiers:
    """The tiers of *instances*, which have weights above 0.

    :param previous: the tiers that these replace, for what the inner pickers learned.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        inner: Balancer,
        levels: Sequence[Level],
        settings: LocalitySettings,
        previous: Tiers | None,
    ) -> None:
        self.all: list[Tier] = []
        self.weight = sum(instance.weight for instance in instances)
        joined = self._joined(_by_level(instances, levels), settings)
        before = {} if previous is None else previous._inherited([numbers for numbers, _ in joined])
        for numbers, members in joined:
            weight = sum(instance.weight for instance in members)
            self.all.append(Tier(numbers, inner.picker(members, before.get(numbers)), weight))
        #: Whether calls may have to go on from a tier that is there.
        self.spills = len(self.all) > 1 and any(tier.varies for tier in self.all)

    def _joined(
        self, by_level: Sequence[Sequence[Instance]], settings: LocalitySettings
    ) -> list[tuple[tuple[int, ...], list[Instance]]]:
        """The levels, each joined with the next while it is too small."""
        joined: list[tuple[tuple[int, ...], list[Instance]]] = []
        numbers: tuple[int, ...] = ()
        members: list[Instance] = []
        for number, some in enumerate(by_level):
            numbers, members = (*numbers, number), [*members, *some]
            is_last = number == len(by_level) - 1
            if members and (is_last or self._are_enough(members, settings)):
                joined.append((numbers, members))
                numbers, members = (), []
        return joined

    def _are_enough(self, members: Sequence[Instance], settings: LocalitySettings) -> bool:
        weight = sum(instance.weight for instance in members)
        return len(members) >= settings.min_instances and weight >= settings.min_share * self.weight

    def _inherited(self, wanted: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Picker]:
        """For new tiers of these levels the pickers that they go on from.

        One picker has one heir: the tier of the same levels, or else the first that has some of them.
        """
        pickers = {tier.levels: tier.picker for tier in self.all}
        inherited = {numbers: pickers.pop(numbers) for numbers in wanted if numbers in pickers}
        for numbers in wanted:
            related = [levels for levels in pickers if {*levels} & {*numbers}]
            if numbers not in inherited and related:
                inherited[numbers] = pickers.pop(related[-1])  # of several, the one that is likely to be the largest
        return inherited

    def available(self, now: float) -> float:
        """The part of all weight that gets calls at *now*."""
        if not self.all:
            return 1.0
        return sum(tier.picker.available(now) * tier.weight for tier in self.all) / self.weight

    def spilled(self, spill_below: float, drawn: float, now: float) -> Tier:
        """The tier for one call.

        A tier takes all calls while *spill_below* of its weight is available, and fewer in proportion below that; the
        rest goes on to the next one. When all together cannot take all calls, each takes its part.

        :param drawn: by chance, from 0 to 1.
        """
        left = 1.0
        taken: list[float] = []
        for tier in self.all:
            part = min(left, tier.picker.available(now) / spill_below)
            taken.append(part)
            left -= part
            if left <= 0:
                break
        drawn *= sum(taken)
        for tier, part in zip(self.all, taken, strict=False):
            if drawn < part:
                return tier
            drawn -= part
        return self.all[0]


def _by_level(instances: Sequence[Instance], levels: Sequence[Level]) -> list[list[Instance]]:
    """*instances* by the first level whose tags they have; those of no level come last."""
    by_level: list[list[Instance]] = [[] for _ in range(len(levels) + 1)]
    wanted = [level.items() for level in levels]
    for instance in instances:
        tags = instance.tags.items()
        number = next((number for number, level in enumerate(wanted) if level <= tags), len(levels))
        by_level[number].append(instance)
    return by_level
