"""Picks near instances, and those with the tags that a call asks for; which one of them, the inner pickers say."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

from elanus.contracts.balancer import Picker
from elanus.service import Instance
from elanus_balancer_locality.tiers import Tier, Tiers, learns

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from random import Random

    from elanus.call import Call
    from elanus_balancer_locality.settings import LocalitySettings

    MakeTiers: TypeAlias = "Callable[[Sequence[Instance], Tiers | None], Tiers]"

__all__ = ["LearningLocalityPicker", "LocalityPicker"]

#: Sets of tags for which tiers are kept. Tags come with calls, and who writes them may think of many.
_MOST_TAG_SETS = 64

TagSet: TypeAlias = "frozenset[tuple[str, str]]"


class LocalityPicker(Picker):
    """Picks from *instances*, whose weights are above 0.

    :param make: makes tiers of some instances.
    :param tiers: those of all instances.
    :param tag_sets: for which tiers are made at once, with those that they replace, if any.
    """

    #: Whether some inner picker wants to be told how attempts end.
    learns: ClassVar[bool] = False

    def __init__(
        self,
        instances: Sequence[Instance],
        settings: LocalitySettings,
        random: Random,
        make: MakeTiers,
        tiers: Tiers,
        tag_sets: Mapping[TagSet, Tiers | None],
    ) -> None:
        self.tiers = tiers
        self._instances = instances
        self._settings = settings
        self._spill_below = settings.spill_below
        self._random = random.random
        self._make = make
        self._filter_by = settings.filter_by
        self._by_tag: dict[tuple[str, str], list[Instance]] | None = None
        #: By the identity of an instance that was picked: the instance, which keeps its identity from being used
        #: again, and who picked it. Equal ones of several pickers are different objects. ``None``: nobody learns.
        self._owners: dict[int, tuple[Instance, Picker]] | None = {} if self.learns else None
        self.tag_sets: dict[TagSet, Tiers] = {}
        for tags, before in tag_sets.items():
            self.tag_sets[tags] = self._chosen(tags, before)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        tags = call.options.tags
        tiers = self._tagged(tags) if tags and self._filter_by != () else self.tiers
        if not tiers.all:
            return None
        tier = tiers.all[0]
        if tiers.spills and tier.picker.available(now) < self._spill_below:
            tier = tiers.spilled(self._spill_below, self._random(), now)
        instance = tier.picker.pick(call, excluded, now)
        if instance is None:
            return self._pick_elsewhere(tiers, tier, call, excluded, now)
        if self._owners is not None and id(instance) not in self._owners:
            self._owners[id(instance)] = (instance, tier.picker)
        return instance

    def _pick_elsewhere(
        self, tiers: Tiers, but: Tier, call: Call, excluded: Container[Instance], now: float
    ) -> Instance | None:
        """From the nearest tier that has somebody left."""
        for tier in tiers.all:
            instance = None if tier is but else tier.picker.pick(call, excluded, now)
            if instance is not None:
                if self._owners is not None:
                    self._owners[id(instance)] = (instance, tier.picker)
                return instance
        return None

    def available(self, now: float) -> float:
        return self.tiers.available(now)

    # -- tags of calls ------------------------------------------------------------------------------------------

    def _tagged(self, tags: Mapping[str, str]) -> Tiers:
        """The tiers of the instances that have *tags*."""
        if self._filter_by is None:
            wanted = frozenset(tags.items())
        else:
            wanted = frozenset((name, tags[name]) for name in self._filter_by if name in tags)
            if not wanted:
                return self.tiers
        found = self.tag_sets.get(wanted)
        if found is None:
            found = self.tag_sets[wanted] = self._chosen(wanted, None)
            if len(self.tag_sets) > _MOST_TAG_SETS:
                self._forget(next(iter(self.tag_sets)))
        return found

    def _chosen(self, wanted: TagSet, before: Tiers | None) -> Tiers:
        by_tag = self._by_tag
        if by_tag is None:
            by_tag = self._by_tag = {}
            for instance in self._instances:
                for pair in instance.tags.items():
                    by_tag.setdefault(pair, []).append(instance)
        fewest = min((by_tag.get(pair, []) for pair in wanted), key=len)
        members = [instance for instance in fewest if wanted <= instance.tags.items()]
        if not members and self._settings.unmatched == "ignore":
            return self.tiers
        # Objects of their own: whoever is told of the end of an attempt can tell which picker had picked it.
        return self._make([Instance(one.address, one.weight, one.tags) for one in members], before)

    def _forget(self, tags: TagSet) -> Tiers:
        return self.tag_sets.pop(tags)

    def replaceable_tag_sets(self) -> Mapping[TagSet, Tiers | None]:
        """The sets of tags that calls asked for, and the tiers of each; ``None`` where they are those of all."""
        return {tags: None if tiers is self.tiers else tiers for tags, tiers in self.tag_sets.items()}


class LearningLocalityPicker(LocalityPicker):
    """As :class:`LocalityPicker`, for inner pickers that want to be told how attempts end."""

    learns = True

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        assert self._owners is not None
        owner = self._owners.get(id(instance))
        if owner is not None:
            owner[1].finished(instance, error, elapsed, now)

    def _forget(self, tags: TagSet) -> Tiers:
        forgotten = super()._forget(tags)
        pickers = {id(tier.picker) for tier in forgotten.all if forgotten is not self.tiers}
        assert self._owners is not None
        self._owners = {key: owner for key, owner in self._owners.items() if id(owner[1]) not in pickers}
        return forgotten


def picker_class(tiers: Tiers) -> type[LocalityPicker]:
    """The class that suits the inner pickers: one that is told nothing costs a call nothing."""
    return LearningLocalityPicker if any(learns(tier.picker) for tier in tiers.all) else LocalityPicker
