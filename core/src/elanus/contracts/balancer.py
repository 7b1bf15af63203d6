"""The contract of a balancer: which instance takes the next attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["Balancer", "Picker"]


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

    An instance of weight 0 or below gets no calls.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        """A picker for *instances*.

        :param instances: a fixed set, which may be empty. Instances have addresses of their own.
        :param previous: the picker that it replaces, made by this balancer, for what was learned so far. It picks no
            more, and may still be told of attempts that have :meth:`~Picker.finished`.
        """
