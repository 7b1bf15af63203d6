"""The balancer ``locality``, which wraps any other. Pure: its chance comes from a seed that can be given."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from elanus.contracts.balancer import Balancer, Picker
from elanus.settings import read_settings
from elanus_balancer_locality.picker import LocalityPicker, picker_class
from elanus_balancer_locality.settings import LocalitySettings, levels_of
from elanus_balancer_locality.tiers import Tiers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from elanus.contracts.balancer import Ejection
    from elanus.service import Instance

__all__ = ["LocalityBalancer"]


class LocalityBalancer(Balancer):
    """Prefers instances that are near, goes further away when these do not suffice, and heeds the tags of a call.

    :param inner: the balancer that picks among those: a name, a pair or a table of a name and options, or an object.
    :param options: the fields of :class:`~elanus_balancer_locality.settings.LocalitySettings`, without ``inner``.
    :raises ConfigError: an option that does not exist, or that has a wrong value; what the inner balancer raises.
    """

    name = "locality"

    def __init__(self, inner: object = "weighted", **options: object) -> None:
        self._settings = read_settings(LocalitySettings, "balancer 'locality'", options)
        self._levels = levels_of(self._settings.prefer)
        self._inner = _built(inner)
        self._random = Random(self._settings.seed)

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        able = [instance for instance in instances if instance.weight > 0]
        before = previous if isinstance(previous, LocalityPicker) else None
        tiers = self._tiers(able, None if before is None else before.tiers)
        tag_sets = {} if before is None else before.replaceable_tag_sets()
        return picker_class(tiers)(able, self._settings, self._random, self._tiers, tiers, tag_sets)

    def watch(self, callback: Callable[[Ejection], None]) -> None:
        self._inner.watch(callback)

    def unwatch(self, callback: Callable[[Ejection], None]) -> None:
        self._inner.unwatch(callback)

    def _tiers(self, instances: Sequence[Instance], previous: Tiers | None) -> Tiers:
        return Tiers(instances, self._inner, self._levels, self._settings, previous)


def _built(inner: Any) -> Balancer:
    """The inner balancer, chosen as the option ``balancer`` of a client is."""
    if isinstance(inner, Balancer):
        return inner
    from elanus.plugins import installed_plugins

    if isinstance(inner, list):
        inner = tuple(inner)
    if isinstance(inner, Mapping) and "name" in inner:  # as configuration files write a part with options
        inner = (inner["name"], {name: value for name, value in inner.items() if name != "name"})
    balancer: Balancer = installed_plugins().select("balancer", inner)
    return balancer
