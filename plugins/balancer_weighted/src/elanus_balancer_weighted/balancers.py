"""The four balancers: each a name and a way to pick. Pure: chance only, from a seed that can be given."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Balancer, Picker
from elanus.settings import read_settings
from elanus_balancer_weighted.chance import AliasPicker, RandomPicker
from elanus_balancer_weighted.interleaved import InterleavedPicker
from elanus_balancer_weighted.smooth import SmoothPicker, is_affordable
from elanus_balancer_weighted.stride import StridePicker
from elanus_balancer_weighted.weights import reduced, usable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Self

    from elanus.call import Call
    from elanus.service import Instance

__all__ = [
    "AliasBalancer",
    "InterleavedBalancer",
    "RandomBalancer",
    "SeededBalancer",
    "WeightedBalancer",
]


class _NobodyPicker(Picker):
    """Picks from no instances at all."""

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return None


@dataclass(frozen=True, slots=True)
class _Settings:
    seed: int | None = None


class SeededBalancer(Balancer):
    """What the four have in common: weights of 0 and below are left out, and chance comes from one seed.

    :param seed: makes every pick foreseeable, for tests and simulations; without it each balancer starts elsewhere.
    """

    name: str

    def __init__(self, seed: int | None = None) -> None:
        self._random = Random(seed)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """The balancer for the options that a user gave with its name.

        :raises ConfigError: an option that it does not have, or a seed that is no integer.
        """
        return cls(read_settings(_Settings, f"balancer {cls.name!r}", options).seed)

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        able = usable(instances)
        if not able:
            return _NobodyPicker()
        return self._picker(able, reduced(able))

    @abstractmethod
    def _picker(self, instances: Sequence[Instance], weights: Sequence[int]) -> Picker:
        """The picker for at least one instance, with weights above 0 that have no common divisor."""


class WeightedBalancer(SeededBalancer):
    """Smooth weighted round robin, Kitex's default; a plain round robin where all weights are equal."""

    name = "weighted"

    def _picker(self, instances: Sequence[Instance], weights: Sequence[int]) -> Picker:
        if is_affordable(weights):
            return SmoothPicker(instances, weights, self._random)
        return StridePicker(instances, weights, self._random)


class InterleavedBalancer(SeededBalancer):
    """Interleaved weighted round robin: one turn each a round, in as many rounds as the weight."""

    name = "weighted_interleaved"

    def _picker(self, instances: Sequence[Instance], weights: Sequence[int]) -> Picker:
        return InterleavedPicker(instances, weights, self._random)


class RandomBalancer(SeededBalancer):
    """Chance in proportion to weight, by binary search."""

    name = "weighted_random"

    def _picker(self, instances: Sequence[Instance], weights: Sequence[int]) -> Picker:
        return RandomPicker(instances, weights, self._random)


class AliasBalancer(SeededBalancer):
    """Chance in proportion to weight, by the alias method."""

    name = "weighted_alias"

    def _picker(self, instances: Sequence[Instance], weights: Sequence[int]) -> Picker:
        return AliasPicker(instances, weights, self._random)
