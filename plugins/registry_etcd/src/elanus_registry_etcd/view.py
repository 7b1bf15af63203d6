"""What a resolver knows of one service. Pure: keys and values in, sets of instances out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from elanus_registry_etcd.layout import TagPool, decode_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elanus.service import Instance

__all__ = ["ServiceView"]

_log = logging.getLogger("elanus.discovery")


class ServiceView:
    """The keys of one service and what they announce, as of a revision of etcd's store."""

    __slots__ = ("_default_weight", "_instances", "_tags", "changes", "revision")

    def __init__(self, default_weight: int) -> None:
        self._default_weight = default_weight
        self._tags = TagPool()
        #: By key; ``None`` stands for a value that cannot be read, which was said once.
        self._instances: dict[bytes, Instance | None] = {}
        #: What is older than this, or as old, is known.
        self.revision = 0
        #: How many changes came in so far.
        self.changes = 0

    def __len__(self) -> int:
        """Keys, also those that cannot be read."""
        return len(self._instances)

    def replace(self, entries: Iterable[tuple[bytes, bytes]], revision: int) -> None:
        """Know these keys and values, as of *revision*, and no others."""
        before, self._instances = self._instances, {}
        for key, value in entries:
            self._instances[key] = self._decode(key, value, told=key in before and before[key] is None)
        self._tags.keep([one for one in self._instances.values() if one is not None])
        self.revision = revision
        self.changes += 1

    def put(self, key: bytes, value: bytes, revision: int) -> None:
        """A key was written. What is known already changes nothing."""
        if revision > self.revision:
            self._instances[key] = self._decode(key, value, told=self._instances.get(key, b"") is None)
            self.changes += 1

    def delete(self, key: bytes, revision: int) -> None:
        """A key was deleted, or its lease ended."""
        if revision > self.revision:
            self._instances.pop(key, None)
            self.changes += 1

    def reached(self, revision: int) -> None:
        """Everything up to *revision* has been told."""
        self.revision = max(self.revision, revision)

    def instances(self) -> tuple[Instance, ...]:
        """The instances in the order of their keys; an address that two keys announce counts once."""
        found = {one.address: one for _, one in sorted(self._instances.items()) if one is not None}
        return tuple(found.values())

    def _decode(self, key: bytes, value: bytes, *, told: bool) -> Instance | None:
        try:
            return decode_value(value, self._default_weight, self._tags)
        except ValueError as problem:
            if not told:
                _log.warning("etcd: key %r is left out: %s", key.decode(errors="replace"), str(problem))
            return None
