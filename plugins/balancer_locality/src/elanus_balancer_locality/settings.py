"""The options of the balancer ``locality``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from elanus.errors import ConfigError

__all__ = ["Level", "LocalitySettings", "levels_of"]

#: Tags that an instance of a level has, all of them.
Level: TypeAlias = "Mapping[str, str]"


@dataclass(frozen=True, slots=True)
class LocalitySettings:
    """The options of the balancer ``locality``."""

    #: The balancer that picks among the instances that are near: a name, a name with options, or an object.
    inner: object = "weighted"
    #: The tags of near instances, or a list of such, nearest first.
    prefer: object = ()
    #: Near ones are joined with the next level while there are fewer than so many.
    min_instances: int = 1
    #: The same while they have less than this share of the weight of all.
    min_share: float = 0.0
    #: While less than this share of their weight is available, a part of the calls goes to the next level.
    spill_below: float = 0.7
    #: The tags of a call by which instances are chosen; ``None``: all of its tags; an empty list: none.
    filter_by: tuple[str, ...] | None = None
    #: What a call gets whose tags no instance has: ``"refuse"``, none, or ``"ignore"``, any.
    unmatched: str = "refuse"
    #: Makes it foreseeable which calls go to the next level.
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.unmatched not in ("refuse", "ignore"):
            raise _refused("unmatched", self.unmatched, "Give 'refuse' or 'ignore'")
        if self.min_instances < 1:
            raise _refused("min_instances", self.min_instances, "Give a whole number from 1 on")
        if not 0 <= self.min_share <= 1:
            raise _refused("min_share", self.min_share, "Give a number from 0 to 1")
        if not 0 < self.spill_below <= 1:
            raise _refused("spill_below", self.spill_below, "Give a number above 0, to 1 at most")


def levels_of(prefer: object) -> Sequence[Level]:
    """The levels that option ``prefer`` gives, nearest first.

    :raises ConfigError: it is no mapping of texts, nor a list of such.
    """
    levels = [prefer] if isinstance(prefer, Mapping) else prefer
    if not isinstance(levels, Sequence) or isinstance(levels, str | bytes) or not all(map(_is_level, levels)):
        raise _refused("prefer", prefer, 'Give tags, such as {"zone": "a"}, or a list of tags, nearest first')
    return [dict(level) for level in levels]


def _is_level(level: object) -> bool:
    if not isinstance(level, Mapping) or not level:
        return False
    return all(isinstance(key, str) and isinstance(value, str) for key, value in level.items())


def _refused(name: str, value: object, hint: str) -> ConfigError:
    return ConfigError(f"option {name!r} of balancer 'locality' is {value!r}", hint=hint)
