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
    """Picks from one fixed set of instances. Made anew when the set changes, off the request path."""

    @abstractmethod
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        """The instance for the next attempt.

        :param excluded: instances that must not be picked: this call tried them already.
        :param now: seconds on the monotonic clock. A picker asks no clock of its own.
        :returns: ``None`` when no instance that is not excluded is left.
        """

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:  # noqa: B027
        """An attempt on *instance*, which :meth:`pick` returned, has ended after *elapsed* seconds.

        Called exactly once for each successful pick, cancelled attempts included. Only balancers that learn need it.
        """


class Balancer(ABC):
    """A way to spread calls. Pure: no clock, no I/O, no logging; chance only from a seed that can be given.

    An instance of weight 0 or below gets no calls.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        """A picker for *instances*.

        :param previous: the picker that it replaces, made by this balancer, for what was learned so far.
        """
