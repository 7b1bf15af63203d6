"""The contract of a balancer: which instance takes the next attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["Balancer", "Ejection", "Picker"]


@dataclass(frozen=True, slots=True)
class Ejection:
    """A balancer has taken an instance out: it gets no calls for a while."""

    instance: Instance
    #: Why, in words.
    reason: str
    #: For how long.
    seconds: float
    #: Until when, on the monotonic clock.
    until: float
    #: How often it was, this time included, since it was last well for a while.
    times: int = 1

    def __str__(self) -> str:
        again = f", {self.times} times now" if self.times > 1 else ""
        return f"{self.instance} is ejected for {self.seconds:g} s{again}: {self.reason}"


class Picker(ABC):
    """Picks from one fixed set of instances. Made anew when the set changes, off the request path.

    A picker is used by one event loop, from one thread.
    """

    @abstractmethod
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        """The instance for the next attempt.

        :param excluded: instances that must not be picked: this call tried them already.
        :param now: seconds on the monotonic clock. A picker asks no clock of its own.
        :returns: ``None`` when no instance that is not excluded is left.
        """

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:  # noqa: B027
        """An attempt on *instance*, which :meth:`pick` returned, has ended.

        Called exactly once for each successful pick, cancelled attempts included, on the picker that picked, which may
        have been replaced since. Only balancers that learn need it.

        :param instance: the very object that :meth:`pick` returned.
        :param error: how the attempt ended; ``None`` is success. A cancelled one ends with ``asyncio.CancelledError``,
            which says nothing about the instance.
        :param elapsed: seconds from the pick to the reply or the error; of a stream, until it was open.
        """

    def available(self, now: float) -> float:
        """The part of the weight of its instances that gets calls at *now*, from 0 to 1.

        Below 1 for a balancer that takes instances out for a while, such as those that fail. One that wraps others
        (``locality``) then sends a part of the calls elsewhere. Asked for each pick, so it must be O(1).
        """
        return 1.0


class Balancer(ABC):
    """A way to spread calls. Pure: no clock, no I/O, no logging; chance only from a seed that can be given.

    An instance of weight 0 or below gets no calls. One object may balance several clients; each of them hears of every
    :class:`Ejection`.
    """

    #: The name users select it by.
    name: str

    _watchers: tuple[Callable[[Ejection], None], ...] = ()

    @abstractmethod
    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        """A picker for *instances*.

        :param instances: a fixed set, which may be empty. Instances have addresses of their own.
        :param previous: the picker that it replaces, made by this balancer, for what was learned so far. It picks no
            more, and may still be told of attempts that have :meth:`~Picker.finished`.
        """

    def watch(self, callback: Callable[[Ejection], None]) -> None:
        """Call *callback* with every ejection, inside of :meth:`Picker.finished`: it must neither block nor raise. One
        that is watching already is not called twice. A balancer that wraps another one passes this on to it.
        """
        if callback not in self._watchers:
            self._watchers = (*self._watchers, callback)

    def unwatch(self, callback: Callable[[Ejection], None]) -> None:
        """Undo :meth:`watch`. Nothing happens when it was not watching."""
        self._watchers = tuple(watcher for watcher in self._watchers if watcher != callback)

    def ejecting(self, ejection: Ejection) -> None:
        """For implementations that eject: tell whoever watches. Call it when the instance is out."""
        for watcher in self._watchers:
            watcher(ejection)
