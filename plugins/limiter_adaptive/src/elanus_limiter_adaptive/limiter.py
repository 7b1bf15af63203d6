"""The limiter: what it lets pass, what it learns, and what it looks like from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elanus.contracts.limiter import Limiter, Refusal
from elanus.errors import RpcTimeoutError
from elanus.priority import Priority
from elanus_limiter_adaptive.algorithms import algorithm
from elanus_limiter_adaptive.latencies import Kind, MethodLatency, Window, window_of
from elanus_limiter_adaptive.settings import AdaptiveSettings
from elanus_limiter_adaptive.shedding import LAG_SHARE, Lag, Shares, refusals, rooms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call

__all__ = ["AdaptiveLimiter", "MethodState", "State"]

#: Seconds to the first probe. The next one comes after twice as long, or after half if this one was a surprise.
_SOON = 1.0
#: The factor from which a difference in latency says something, where chance has no part in it.
_MATTERS = 1.1
#: Seconds between two calls of a method that may try although their deadline looks too near.
_TRY_AGAIN = 1.0
#: Methods that are told apart. A server has as many as its IDL says.
_METHODS = 10_000

_LATE = Refusal("deadline", None, "the deadline is nearer than an answer")


@dataclass(frozen=True, slots=True)
class MethodState:
    """What the limiter knows of a method, in seconds.

    :param baseline: the latency of a quiet server.
    :param recent: the average of the last window.
    :param fastest: the fastest call of the last window.
    """

    baseline: float
    recent: float
    fastest: float


@dataclass(frozen=True, slots=True)
class State:
    """What the limiter does and knows.

    :param limit: calls that may be in flight, of the highest priority; others leave some room.
    :param rooms: calls that may be in flight when another one comes, by its priority.
    :param in_flight: calls in flight.
    :param streams: streams in flight. They take no room.
    :param lag: seconds that the last call waited in the event loop.
    :param probing: whether the limit is halved for a moment, to see what latency is without a queue.
    :param methods: by name, those that were called.
    """

    limit: float
    rooms: Mapping[str, int]
    in_flight: int
    streams: int
    lag: float
    probing: bool
    methods: Mapping[str, MethodState]


class AdaptiveLimiter(Limiter):
    """Finds out how many calls the server can serve at once, by what they take. ::

        AdaptiveLimiter(min_limit=8, max_limit=500)

    Refuses calls that are over that number, those that matter least first; calls that have waited in the event loop for
    too long; and calls that cannot be answered before their deadline. Nothing is queued. Connections are not limited.

    :param options: see :class:`~elanus_limiter_adaptive.settings.AdaptiveSettings`.
    :raises ConfigError: an option is unknown, or makes no sense.
    """

    name = "adaptive"

    def __init__(self, **options: Any) -> None:
        self._settings = settings = AdaptiveSettings.read(options)
        self._next_limit = algorithm(settings)
        self._methods: dict[tuple[str, str], MethodLatency] = {}
        self._lag = Lag()
        self._shares = Shares()
        self._limit = 0.0
        self._set_limit(float(settings.initial_limit))
        self._in_flight = self._streams = 0
        # The running window.
        self._window_end: float | None = None
        self._samples = self._late = self._peak = 0
        # Probing.
        #: The limit of the running probe, 0 without one.
        self._probing = 0.0
        #: How slow the window before was, and the error of that.
        self._before = (1.0, 0.0)
        self._probe_began = 0.0
        self._limit_then = self._limit
        self._probe_after = _SOON
        self._next_probe: float | None = None

    @property
    def settings(self) -> AdaptiveSettings:
        """The options in force."""
        return self._settings

    @property
    def state(self) -> State:
        """What it does and knows now."""
        return State(
            limit=self._limit,
            rooms={priority.name.lower(): self._rooms[priority] for priority in Priority},
            in_flight=self._in_flight,
            streams=self._streams,
            lag=self._lag.seconds,
            probing=self._probing > 0.0,
            methods={
                f"{service}/{method}": MethodState(known.baseline, known.recent, known.fastest)
                for (service, method), known in self._methods.items()
                if known.recent is not None
            },
        )

    def acquire(self, call: Call, now: float) -> Refusal | None:
        key = (call.service.name, call.method.name)
        method = self._methods.get(key) or self._new_method(key, call)
        priority = Priority.of(call) if call.metadata else Priority.NORMAL
        refusal = self._lag.refusal(now - call.timeline[0][1], self._most_lag(method), priority, now)
        if refusal is not None:
            return refusal
        if call.deadline is not None and self._settings.drop_late and self._is_late(method, call.deadline - now, now):
            return _LATE
        in_flight = self._in_flight
        if in_flight >= self._rooms[priority]:
            if not self._probing:
                self._shares.note(priority)
                if self._shares.values[priority] == 1.0:
                    self._peak = int(self._limit)  # as far as this priority goes, the limit is used up
            return self._refusals[priority]
        if method.streams:
            self._streams += 1
            return None
        self._in_flight = in_flight = in_flight + 1
        if in_flight > self._peak:
            self._peak = in_flight
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        key = (call.service.name, call.method.name)
        method = self._methods.get(key) or self._new_method(key, call)
        if method.streams:
            self._streams -= 1
            return
        self._in_flight -= 1
        late = isinstance(error, RpcTimeoutError)
        arrived = call.timeline[0][1]
        # A failure may be quick, and a cancelled call is over before its time: neither says what a call takes.
        if (error is None or late) and arrived >= self._probe_began:
            method.add(now - arrived)
            self._samples += 1
            self._late += late
        if self._window_end is None:
            # The first calls to end are the quickest of all that began: they must not be a window of their own.
            self._window_end = now + self._settings.window
        elif now >= self._window_end and self._samples >= self._settings.window_calls:
            self._close_window(now)

    def _new_method(self, key: tuple[str, str], call: Call) -> MethodLatency:
        if len(self._methods) >= _METHODS:
            self._methods.clear()
        method = self._methods[key] = MethodLatency(streams=call.method.kind.streams)
        return method

    def _most_lag(self, method: MethodLatency) -> float:
        return max(self._settings.slack, method.baseline * LAG_SHARE)

    def _is_late(self, method: MethodLatency, left: float, now: float) -> bool:
        if left <= 0.0:
            return True
        if left >= method.fastest:
            return False
        if now - method.let_through < _TRY_AGAIN:
            return True
        method.let_through = now  # what is never tried is never learnt
        return False

    # Learning

    def _close_window(self, now: float) -> None:
        settings, limit = self._settings, self._limit
        if not self._probing:
            self._shares.close_window()
        window = window_of(self._methods.values())
        if self._probing:
            self._go_on_probing(window, now)
        elif self._peak >= limit / 2:
            self._end_window(Kind.BUSY_SLOWER)
            allowed = settings.tolerance * window.expected + settings.slack * window.calls
            gradient = allowed / window.actual if window.actual > 0.0 else 1.0
            self._set_limit(self._next_limit(limit, gradient, self._late / self._samples))
            self._before = window.slowness, window.error
            self._probe_when_due(now)
        else:
            self._end_window(Kind.QUIET)
            self._next_probe = None
            self._rooms = rooms(limit, self._shares.values)
        self._samples = self._late = 0
        self._peak = self._in_flight
        self._window_end = now + settings.window

    def _end_window(self, kind: Kind) -> None:
        for method in self._methods.values():
            if method.calls:
                method.close_window(kind)

    def _set_limit(self, limit: float) -> None:
        limit = max(float(self._settings.min_limit), min(float(self._settings.max_limit), limit))
        if int(limit) != int(self._limit):
            self._refusals = refusals(limit)
        self._limit = limit
        self._rooms = rooms(limit, self._shares.values)

    def _probe_when_due(self, now: float) -> None:
        """Under lasting load latency is never that of a quiet server, and what is taken for it would not be true for
        long. A limit that has halved since the last look may come from load, or from a server that has become slower.
        """
        if self._next_probe is None:
            self._next_probe = now + self._probe_after
            self._limit_then = self._limit
        elif now >= self._next_probe or self._limit <= self._limit_then / 2:
            self._probe(now, self._limit / 2)

    def _probe(self, now: float, limit: float) -> None:
        self._probing = limit
        self._probe_began = now
        self._rooms = rooms(max(limit, 1.0), self._shares.values)

    def _go_on_probing(self, window: Window, now: float) -> None:
        """A window of a probe is over: lower the limit further, until calls take what they should, or get no faster."""
        (before, doubt), slowness, error = self._before, window.slowness, window.error
        self._before = slowness, error
        expected = 1 / (_MATTERS + error) < slowness < _MATTERS + error
        if not expected and slowness * (_MATTERS + error + doubt) < before and self._probing >= 2.0:
            self._end_window(Kind.LOOKING)
            self._probe(now, self._probing / 2)
            return
        self._end_window(Kind.FOUND)
        self._probing = self._probe_began = 0.0
        self._rooms = rooms(self._limit, self._shares.values)
        self._limit_then = self._limit
        wait = self._probe_after * (2.0 if expected else 0.5)
        self._probe_after = min(max(wait, _SOON), self._settings.probe_interval)
        self._next_probe = now + self._probe_after
