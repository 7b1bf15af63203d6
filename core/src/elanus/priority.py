"""How much a call matters. It travels in metadata, on to every further call that is made to serve it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from elanus.metadata import Metadata

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["PRIORITY_KEY", "Priority"]

#: The key of the persistent metadata that carries it; its value is the name of a priority in small letters.
PRIORITY_KEY = "elanus-priority"


class Priority(IntEnum):
    """What a server that has too much to do drops last. The higher, the later. ::

    client.with_options(metadata=elanus.Priority.LOW.metadata)
    """

    #: May be dropped at any time: prefetching, batches, retries by machines.
    LOW = 0
    #: Whatever says nothing of its priority.
    NORMAL = 1
    #: Somebody waits for it.
    HIGH = 2
    #: Dropped only when nothing else is left.
    CRITICAL = 3

    @property
    def metadata(self) -> Metadata:
        """The metadata of a call that has this priority."""
        return Metadata(persistent={PRIORITY_KEY: self.name.lower()})

    @classmethod
    def of(cls, call: Call) -> Priority:
        """The priority of a call; ``NORMAL`` when it has none, or one that nobody knows. Reads metadata only."""
        values = call.metadata.persistent
        if not values:
            return _NORMAL
        return _NAMES.get(values.get(PRIORITY_KEY, ""), _NORMAL)


_NORMAL = Priority.NORMAL
_NAMES = {priority.name.lower(): priority for priority in Priority}
