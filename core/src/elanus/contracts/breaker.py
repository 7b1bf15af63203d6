"""The contract of a breaker: stops calls to what fails."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus.call import Call

    #: From a call, its reply and its error (one of the two is ``None``) to what it counts as; ``None``: as core says.
    Classify: TypeAlias = Callable[[Call, Any, Exception | None], "Outcome | None"]

__all__ = ["Breaker", "Counts", "Outcome", "State", "Transition"]


class Outcome(enum.Enum):
    """What the end of a call says about whom it was sent to. Kitex's ``ErrorType``.

    Core decides, by rules that differ with the breaker's place. An error may carry its own word in an attribute
    ``breaker_outcome``.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    #: It says nothing: refused on this side, cancelled, could not be encoded.
    IGNORED = "ignored"


class State(enum.StrEnum):
    """What a breaker does with the calls of a key."""

    #: It lets all of them through.
    CLOSED = "closed"
    #: It refuses all of them.
    OPEN = "open"
    #: It lets some through, to see how they end.
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a breaker had counted for a key."""

    successes: int = 0
    failures: int = 0
    timeouts: int = 0

    @property
    def samples(self) -> int:
        """All of them."""
        return self.successes + self.failures + self.timeouts

    @property
    def error_rate(self) -> float:
        """The share of failures and timeouts, from 0 to 1."""
        samples = self.samples
        return (self.failures + self.timeouts) / samples if samples else 0.0


@dataclass(frozen=True, slots=True)
class Transition:
    """A key has changed its state.

    :param counts: what had been counted when it did.
    :param now: when, in seconds on the monotonic clock.
    """

    key: str
    before: State
    after: State
    counts: Counts
    now: float

    def __str__(self) -> str:
        """Kitex's text of the event: ``"a/b/c: CLOSED -> OPEN, (succ: 1, err: 2, timeout: 0, rate: 0.666667)"``."""
        counts = self.counts
        return (
            f"{self.key}: {_LOUD[self.before]} -> {_LOUD[self.after]}, (succ: {counts.successes}, "
            f"err: {counts.failures}, timeout: {counts.timeouts}, rate: {counts.error_rate:f})"
        )


_LOUD = {State.CLOSED: "CLOSED", State.OPEN: "OPEN", State.HALF_OPEN: "HALFOPEN"}


class Breaker(ABC):
    """Counts outcomes per key, and refuses calls while a key fails too much.

    Pure: told the time, asks no clock; ``now`` is seconds on the monotonic clock and never goes back. Used in one event
    loop. A key is an instance's address, or caller, callee and method. Keys come with calls, so that whoever keeps
    something per key keeps it for a bounded number of them.

    One object may guard several clients; each of them hears of every :class:`Transition`.
    """

    #: The name users select it by.
    name: str
    #: Overrules what core makes of outcomes. Not asked for cancelled calls, which are always ignored.
    classify: Classify | None = None
    #: Makes the key of a call; ``None``: the address of the instance, or caller, callee and method.
    key_of: Callable[[Call], str] | None = None

    _watchers: tuple[Callable[[Transition], None], ...] = ()

    @abstractmethod
    def allow(self, key: str, now: float) -> bool:
        """Whether a call may go on. After ``True`` exactly one :meth:`record` follows, cancelled calls included; after
        ``False`` none.
        """

    @abstractmethod
    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        """A call that was allowed has ended.

        :param elapsed: seconds since it was allowed. On a client a stream has ended, for a breaker, when it is open.
        """

    def why(self, key: str, now: float) -> str:
        """For people: why :meth:`allow` has just said ``False``, such as ``"next probe in 2.1 s"``.

        Part of the text of each refusal, so it is to be cheap. Empty, as here: nothing to tell.
        """
        return ""

    @abstractmethod
    def states(self) -> Mapping[str, State]:
        """The keys that are not closed. A key whose time to be probed has come stays open until the next call."""

    @abstractmethod
    def forget(self, key: str) -> None:
        """Drop what is known of *key*, for instance because its instance is gone. No :class:`Transition`: nothing has
        got better or worse. Calls of it may still be in flight and recorded.
        """

    def watch(self, callback: Callable[[Transition], None]) -> None:
        """Call *callback* with every transition, inside of :meth:`allow` or :meth:`record`: it must neither block nor
        raise. One that is watching already is not called twice.
        """
        if callback not in self._watchers:
            self._watchers = (*self._watchers, callback)

    def unwatch(self, callback: Callable[[Transition], None]) -> None:
        """Undo :meth:`watch`. Nothing happens when it was not watching."""
        self._watchers = tuple(watcher for watcher in self._watchers if watcher != callback)

    def changed(self, transition: Transition) -> None:
        """For implementations: tell whoever watches. Call it when the new state is in place."""
        for watcher in self._watchers:
            watcher(transition)
