"""The balancer ``hash``. Pure: no process knows anything that another one does not."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Balancer, Picker
from elanus.errors import ConfigError
from elanus.settings import read_settings
from elanus_balancer_hash.keys import key_function
from elanus_balancer_hash.picker import BoundedHashPicker, HashPicker, KeylessSpread
from elanus_balancer_hash.placement import Ketama, OwnPlacement, Placement
from elanus_balancer_hash.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Self

    from elanus.call import Call
    from elanus.service import Instance
    from elanus_balancer_hash.keys import KeyFunction

__all__ = ["HashBalancer", "HashSettings"]


#: Points of an instance of weight 10, unless said otherwise.
_POINTS = 100


@dataclass(frozen=True, slots=True)
class HashSettings:
    """The options of the balancer ``hash``."""

    #: Where the key of a call comes from: ``"argument:request.user_id"``, ``"metadata:user"``.
    key: str = ""
    #: What a call without a key gets: ``"spread"``, an instance by chance and weight, or ``"refuse"``, none.
    keyless: str = "spread"
    #: How many times its share of the calls in flight an instance may have; ``None``: any number.
    load_factor: float | None = None
    #: Points on the ring for an instance of weight 10. Kitex: 100 for one of weight 1.
    points: int = _POINTS
    #: ``"own"``, or ``"ketama"`` for the same instances as libketama gives.
    placement: str = "own"
    #: Makes the instances of calls without a key foreseeable.
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_choice("keyless", self.keyless, ("spread", "refuse"))
        _check_choice("placement", self.placement, ("own", "ketama"))
        if self.load_factor is not None and not 1 < self.load_factor < inf:
            _refuse("load_factor", self.load_factor, "Give a number above 1, such as 1.25")
        if not 1 <= self.points <= 10_000:
            _refuse("points", self.points, "Give a whole number from 1 to 10000")
        if self.placement == "ketama" and self.points != _POINTS:
            _refuse("points", self.points, "Leave it out: ketama has 160 for an instance of average weight")


def _refuse(name: str, value: object, hint: str) -> None:
    raise ConfigError(f"option {name!r} of balancer 'hash' is {value!r}", hint=hint)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        _refuse(name, value, f"Give {' or '.join(map(repr, choices))}")


class _NobodyPicker(Picker):
    """Picks from no instances at all."""

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return None


class HashBalancer(Balancer):
    """Consistent hashing: calls with the same key go to the same instance, in every client and after every restart.

    An instance that is added takes its share of the keys from all others, and moves no other key; the keys of one that
    is removed go to all others.

    :param key: where the key of a call comes from: ``"argument:NAME.FIELD"``, ``"metadata:NAME"``, or a function of
        the call that returns a text, bytes or a whole number, or ``None`` for no key.
    :param options: the fields of :class:`HashSettings`, without ``key``.
    :raises ConfigError: an option that does not exist, or that has a wrong value.
    """

    name = "hash"

    def __init__(self, key: str | KeyFunction, **options: object) -> None:
        settings = read_settings(HashSettings, "balancer 'hash'", options)
        self._key = key_function(key) if isinstance(key, str) else key
        self._settings = settings
        self._placement: Placement = Ketama() if settings.placement == "ketama" else OwnPlacement(settings.points)
        self._random = Random(settings.seed)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """The balancer for the options that a user gave with its name.

        :raises ConfigError: no key, an option that does not exist, or that has a wrong value.
        """
        settings = read_settings(HashSettings, "balancer 'hash'", options)
        if not settings.key:
            raise ConfigError(
                "balancer 'hash' has no key to go by",
                hint='Say where the key of a call is: ("hash", {"key": "argument:request.user_id"})',
            )
        return cls(settings.key, **{name: value for name, value in options.items() if name != "key"})

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        able = [instance for instance in instances if instance.weight > 0]
        if not able:
            return _NobodyPicker()
        before = previous if isinstance(previous, HashPicker) else None
        ring = Ring.of(able, self._placement) if before is None else before.ring.changed(able)
        keyless = KeylessSpread(ring.order, self._random) if self._settings.keyless == "spread" else None
        if self._settings.load_factor is None:
            return HashPicker(ring, self._key, keyless)
        bounded = before if isinstance(before, BoundedHashPicker) else None
        return BoundedHashPicker(ring, self._key, keyless, self._settings.load_factor, bounded)
