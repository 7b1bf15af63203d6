"""What has happened to a client or a server, apart from single calls: kept, bounded, and told to whoever watches."""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.balancer import Balancer
    from elanus.contracts.breaker import Breaker

__all__ = [
    "CALL_OVERLOAD",
    "CONFIG_CHANGE",
    "CONFIG_ERROR",
    "CONNECTION_OVERLOAD",
    "DISCOVERY_CHANGE",
    "DISCOVERY_DELETE",
    "INSTANCE_CB",
    "INSTANCE_EJECTED",
    "SERVICE_CB",
    "EventBus",
    "Happening",
    "report_ejections",
    "report_transitions",
]

_log = logging.getLogger("elanus.events")

#: Kitex's names (``pkg/discovery`` and ``pkg/loadbalance/lbcache``).
DISCOVERY_CHANGE = "discovery_change"
DISCOVERY_DELETE = "discovery_delete"
#: The configuration has changed (the value is an :class:`elanus.configuration.ConfigChange`), or has something wrong in
#: it and the old one stays (the value is the error).
CONFIG_CHANGE = "config_change"
CONFIG_ERROR = "config_error"
#: A limit has refused calls, or connections; after Kitex's ``LimitReporter``, which has a callback for either.
CALL_OVERLOAD = "call_overload"
CONNECTION_OVERLOAD = "connection_overload"

#: A breaker has changed its state: that of a method, or of an instance. The value is a
#: :class:`elanus.contracts.breaker.Transition`. Source: Kitex ``pkg/circuitbreak``.
SERVICE_CB = "service_cb"
INSTANCE_CB = "instance_cb"
#: A balancer has taken an instance out for a while. The value is an :class:`elanus.contracts.balancer.Ejection`.
INSTANCE_EJECTED = "instance_ejected"

#: Source: Kitex ``pkg/event``, ``MaxEventNum``.
_KEPT = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that has happened.

    :param name: what kind, such as :data:`DISCOVERY_CHANGE`.
    :param at: when, in seconds of the wall clock since 1970.
    :param detail: in words, for people.
    :param value: for programs; its type goes with the name.
    """

    name: str
    at: float
    detail: str
    value: object = None


class EventBus:
    """The last 200 happenings, and callbacks for new ones. Used in one event loop."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept: deque[Happening] = deque(maxlen=kept)
        self._watchers: dict[str, list[Callable[[Happening], None]]] = {}

    def watch(self, name: str, callback: Callable[[Happening], None]) -> None:
        """Call *callback* with every new happening of this name. It must not block; what it raises is logged."""
        self._watchers.setdefault(name, []).append(callback)

    def unwatch(self, name: str, callback: Callable[[Happening], None]) -> None:
        """Undo :meth:`watch`."""
        self._watchers[name].remove(callback)

    def emit(self, name: str, detail: str, value: object = None) -> None:
        """Something has happened: keep it, and tell the watchers in the order in which they came."""
        happening = Happening(name, time.time(), detail, value)
        self._kept.append(happening)
        for callback in tuple(self._watchers.get(name, ())):
            try:
                callback(happening)
            except Exception:
                _log.exception("a watcher of %s failed", name)

    def recent(self) -> list[Happening]:
        """What is kept, the newest first."""
        return list(reversed(self._kept))


def report_transitions(policy: Breaker | None, bus: EventBus, name: str) -> None:
    """Emit an event *name* on *bus* for each transition of *policy*, as long as the bus lives. Saying it again
    changes nothing.

    A breaker that its user made may outlive the client or server that it guards, and must not keep it alive.
    """
    if policy is not None:
        policy.watch(_Report(weakref.ref(bus, lambda dead: policy.unwatch(_Report(dead, name))), name))


def report_ejections(policy: Balancer, bus: EventBus) -> None:
    """Emit an event ``instance_ejected`` on *bus* for each ejection by *policy*, as :func:`report_transitions` does."""
    name = INSTANCE_EJECTED
    policy.watch(_Report(weakref.ref(bus, lambda dead: policy.unwatch(_Report(dead, name))), name))


@dataclass(frozen=True, slots=True)
class _Report:
    """Two of one bus and name are equal, so that saying it twice is no harm."""

    bus: weakref.ref[EventBus]
    name: str

    def __call__(self, happened: object) -> None:
        bus = self.bus()
        if bus is not None:
            bus.emit(self.name, str(happened), happened)
