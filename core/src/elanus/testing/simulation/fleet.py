"""What a simulated fleet looks like: groups of equal instances, and what happens to them when."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elanus.contracts.limiter import Limiter
from elanus.errors import ApplicationError, ConfigError
from elanus.service import DEFAULT_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.errors import ElanusError
    from elanus.testing.simulation.latency import Seconds

__all__ = ["Cold", "Fault", "Group"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the instances of a group, and from when to when.

    :param start: seconds from the start of the simulation; so is *end*.
    :param slower: a factor on the time that each call takes.
    :param late: seconds that each call takes longer, without keeping a worker busy.
    :param errors: the share of calls that end with an error, beside that of the group.
    :param silent: connections stay and nothing answers, as when a machine has hung or a network swallows packets.
    :param refusing: the process is gone: connections break, and new ones are refused.
    """

    start: float = 0.0
    end: float = inf
    slower: float = 1.0
    late: float = 0.0
    errors: float = 0.0
    silent: bool = False
    refusing: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or self.slower <= 0 or self.late < 0 or not 0 <= self.errors <= 1:
            raise ConfigError(
                f"{self!r} makes no sense",
                hint="Give 0 <= start < end, slower above 0, late of at least 0, and errors as a share of 1",
            )


@dataclass(frozen=True, slots=True)
class Cold:
    """An instance that has just joined is slow at first: caches are empty, code is not compiled yet.

    :param seconds: how long it takes to warm up.
    :param slower: the factor on the time of its first call; it falls to 1 in a straight line.
    """

    seconds: float
    slower: float

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.slower < 1:
            raise ConfigError(f"{self!r} makes no sense", hint="Give seconds above 0, and slower of at least 1")


def simulated_error() -> ElanusError:
    """The error of calls that fail by chance, unless a group says otherwise."""
    return ApplicationError(ApplicationError.INTERNAL_ERROR, "biz error: simulated failure")


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that are equal in everything but their addresses.

    :param count: how many.
    :param latency: seconds for which a call keeps its instance busy; a distribution or a number.
    :param name: what reports call it.
    :param workers: calls that an instance works on at the same time; the rest waits in the order of arrival. ``None``:
        as many as come, and nothing waits.
    :param queue: calls that may wait; further ones are refused. ``None``: without a bound.
    :param round_trip: seconds that a reply, a refusal or a new connection takes on its way, both ways together.
    :param errors: the share of calls that end with *error* after they were worked on.
    :param weight: as the registry has it; so are *tags*.
    :param joins: when discovery finds these instances first, in seconds from the start; *leaves*: and no more.
    :param cold: how slow each is after it has joined.
    :param faults: what is wrong with them, and when.
    :param limiter: run a real :class:`elanus.Server` with this limiter in each: a name or a name with options, from
        which each instance gets its own; or an object, for a group of one instance.
    :param server: run a real server in each, with these options, such as ``{"handler_timeout": 0.5}``. Deadlines and
        metadata reach it; a call that waits for a worker ends with its deadline.
    :param cancels: tell the instance when a caller waits no longer. TTHeader cannot, so this is off: the work is done
        for nobody, but for what a server's deadline ends.
    """

    count: int = 1
    latency: Seconds = 0.010
    name: str = ""
    workers: int | None = None
    queue: int | None = None
    round_trip: float = 0.0005
    errors: float = 0.0
    error: Callable[[], ElanusError] = simulated_error
    weight: int = DEFAULT_WEIGHT
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    joins: float = 0.0
    leaves: float = inf
    cold: Cold | None = None
    faults: Sequence[Fault] = ()
    limiter: Any = None
    server: Mapping[str, Any] | None = None
    cancels: bool = False

    def __post_init__(self) -> None:
        if self.count < 1 or (self.workers is not None and self.workers < 1) or not 0 <= self.joins < self.leaves:
            raise ConfigError(
                f"a group of {self.count} instances with {self.workers} workers, from {self.joins} to {self.leaves} s",
                hint="Give at least one of each, and 0 <= joins < leaves",
            )
        if self.round_trip < 0 or not 0 <= self.errors <= 1:
            raise ConfigError(
                f"a group with round_trip={self.round_trip}, errors={self.errors}",
                hint="Give round_trip of at least 0 s, and errors as a share of 1",
            )
        limiter = self.server_options().get("limiter")
        if self.count > 1 and isinstance(limiter, Limiter):
            raise ConfigError(
                f"a group of {self.count} servers with one {type(limiter).__name__} for all of them",
                hint="A limiter serves one server. Give it by name, so that each gets its own, "
                "or a group of one instance for each object",
            )

    @property
    def served(self) -> bool:
        """Whether a real server runs in its instances."""
        return self.limiter is not None or self.server is not None

    def server_options(self) -> dict[str, Any]:
        """Options for the servers."""
        options = dict(self.server or {})
        if self.limiter is not None:
            options["limiter"] = self.limiter
        return options
