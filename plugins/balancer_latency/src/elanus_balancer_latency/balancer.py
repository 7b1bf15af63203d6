"""The balancer ``latency``. Pure: it is told the time, and its chance comes from one seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from weakref import WeakSet

from elanus.contracts.balancer import Balancer, Picker
from elanus.settings import read_settings
from elanus_balancer_latency.fleet import Fleet
from elanus_balancer_latency.picker import LatencyPicker
from elanus_balancer_latency.settings import LatencySettings

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Self

    from elanus.call import Call
    from elanus.service import Instance
    from elanus_balancer_latency.fleet import InstanceState, OnEjection

__all__ = ["LatencyBalancer"]


class _NobodyPicker(Picker):
    """Picks from no instances at all, and keeps what was known of those that were there."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return None


class LatencyBalancer(Balancer):
    """The faster and less loaded of two instances by chance and weight; those that fail much are ejected for a while.

    :param on_ejection: called with an :class:`~elanus.contracts.balancer.Ejection` for each; it must be quick, and
        must not raise.
    :param options: the fields of :class:`~elanus_balancer_latency.settings.LatencySettings`.
    :raises ConfigError: an option that does not exist, or that has a wrong value.
    """

    name = "latency"

    def __init__(self, *, on_ejection: OnEjection | None = None, **options: object) -> None:
        self._settings = read_settings(LatencySettings, "balancer 'latency'", options)
        if on_ejection is not None:
            self.watch(on_ejection)
        self._random = Random(self._settings.seed)
        self._fleets: WeakSet[Fleet] = WeakSet()

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """The balancer for the options that a user gave with its name.

        :raises ConfigError: an option that does not exist, or that has a wrong value.
        """
        read_settings(LatencySettings, "balancer 'latency'", options)  # `on_ejection` is for code only
        return cls(**dict(options))  # type: ignore[arg-type]

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        if isinstance(previous, LatencyPicker | _NobodyPicker):
            fleet = previous.fleet
        else:
            fleet = Fleet(self._settings, self.ejecting)
            self._fleets.add(fleet)
        able = [instance for instance in instances if instance.weight > 0]
        if not able:
            return _NobodyPicker(fleet)
        return LatencyPicker(fleet, able, self._random, self._settings.decay)

    def states(self, now: float) -> Mapping[str, InstanceState]:
        """What is known of each instance at *now*, by address, for all clients that have this balancer.

        :param now: ``time.monotonic()``. Of an instance that several clients call, what one of them knows.
        """
        return {address: state for fleet in self._fleets for address, state in fleet.states(now).items()}

    def ejected(self, now: float) -> Mapping[str, float]:
        """Who is ejected at *now*, by address, and until when."""
        states = self.states(now).items()
        return {address: state.ejected_until for address, state in states if state.ejected_until is not None}
