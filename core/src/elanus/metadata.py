"""Values that travel beside a call: for one hop, for every hop, or back with the reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EMPTY_METADATA", "Metadata"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of one call; immutable, so that attempts and tasks may share it.

    *transient* values reach the next server and stop there. *persistent* values go on by themselves into every call
    that the next server's handler makes, and so on down the chain. Keys and values are text; an empty key or an empty
    value is left out, as Kitex does (``bytedance/gopkg cloud/metainfo``).
    """

    transient: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    persistent: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def with_transient(self, values: Mapping[str, str]) -> Metadata:
        """A copy in which *values* are added to the transient ones, or replace them."""
        return Metadata({**self.transient, **values}, self.persistent)

    def with_persistent(self, values: Mapping[str, str]) -> Metadata:
        """A copy in which *values* are added to the persistent ones, or replace them."""
        return Metadata(self.transient, {**self.persistent, **values})

    def forwarded(self) -> Metadata:
        """What a handler's own calls start from: the persistent values alone."""
        if not self.persistent:
            return EMPTY_METADATA
        return Metadata(_NOTHING, self.persistent)

    def merged(self, other: Metadata) -> Metadata:
        """A copy in which the values of *other* win."""
        if not other:
            return self
        if not self:
            return other
        return Metadata({**self.transient, **other.transient}, {**self.persistent, **other.persistent})

    def __bool__(self) -> bool:
        return bool(self.transient or self.persistent)


#: No metadata at all.
EMPTY_METADATA = Metadata()
