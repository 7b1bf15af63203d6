"""Whatever happens, in whatever order: the breaker does what a plain list of instants would do.

Instants are multiples of 1/64 s, and the settings powers of two, so that neither side rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from elanus.contracts.breaker import Outcome, State, Transition
from elanus_breaker_window import WindowBreaker

KEY = "web/store/get"
_TICK = 1 / 64
_WINDOW, _BUCKETS = 2.0, 8

OPTIONS = st.fixed_dictionaries(
    {
        "error_rate": st.sampled_from([0.25, 0.5, 1.0, 2.0]),
        "min_samples": st.integers(1, 8),
        "errors": st.none() | st.integers(1, 6),
        "consecutive": st.none() | st.integers(1, 6),
        "slow_after": st.none() | st.sampled_from([0.25, 1.0]),
        "slow_rate": st.sampled_from([0.25, 0.5, 2.0]),
        "cooling": st.sampled_from([0.25, 1.0, 4.0]),
        "probe_every": st.sampled_from([0.125, 0.5]),
        "probe_successes": st.integers(1, 3),
    }
)


@dataclass
class Model:
    """One key, told in full: every sample is kept for ever, and counted anew each time."""

    options: dict[str, Any]
    state: State = State.CLOSED
    samples: list[tuple[float, Outcome, bool]] = field(default_factory=list)
    in_a_row: int = 0
    good_probes: int = 0
    opened: float = -1.0
    half_opened: float = -1.0
    last_probe: float = -1.0

    def allow(self, now: float) -> bool:
        if self.state is State.OPEN and now >= self.opened + self.options["cooling"]:
            self.state, self.half_opened, self.last_probe, self.good_probes = State.HALF_OPEN, now, now, 0
            return True
        if self.state is State.HALF_OPEN and now >= self.last_probe + self.options["probe_every"]:
            self.last_probe = now
            return True
        return self.state is State.CLOSED

    def record(self, outcome: Outcome, started: float, now: float) -> None:
        if outcome is Outcome.IGNORED or started <= self.opened:
            return
        slow = self.options["slow_after"] is not None and now - started > self.options["slow_after"]
        good = outcome is Outcome.SUCCESS and not slow
        if self.state is State.HALF_OPEN and good:
            self.good_probes += 1
            if self.good_probes == self.options["probe_successes"]:
                self.state, self.samples, self.in_a_row = State.CLOSED, [], 0
            return
        self.samples.append((now, outcome, slow))
        self.in_a_row = 0 if outcome is Outcome.SUCCESS else self.in_a_row + 1
        if self.state is State.HALF_OPEN or (not good and self.broken(now)):
            self.state, self.opened = State.OPEN, now

    def inside(self, now: float) -> list[tuple[Outcome, bool]]:
        width = _WINDOW / _BUCKETS
        return [(outcome, slow) for at, outcome, slow in self.samples if now // width - at // width < _BUCKETS]

    def broken(self, now: float) -> bool:
        inside, options = self.inside(now), self.options
        bad = sum(outcome is not Outcome.SUCCESS for outcome, _ in inside)
        slow = sum(slow for _, slow in inside)
        if len(inside) >= options["min_samples"] and (
            bad / len(inside) >= options["error_rate"] or slow / len(inside) >= options["slow_rate"]
        ):
            return True
        if options["errors"] is not None and bad >= options["errors"]:
            return True
        return options["consecutive"] is not None and self.in_a_row >= options["consecutive"]


class Machine(RuleBasedStateMachine):
    @initialize(options=OPTIONS)
    def begin(self, options: dict[str, Any]) -> None:
        self.breaker = WindowBreaker(window=_WINDOW, buckets=_BUCKETS, **options)
        self.model = Model(options)
        self.now = 1_024.0
        self.flying: list[float] = []
        self.told: list[Transition] = []
        self.breaker.watch(self.told.append)

    @rule(ticks=st.one_of(st.integers(0, 8), st.integers(0, 400)))
    def time_passes(self, ticks: int) -> None:
        self.now += ticks * _TICK

    @rule(times=st.integers(1, 4))
    def calls_begin(self, times: int) -> None:
        for _ in range(times):
            allowed = self.breaker.allow(KEY, self.now)
            assert allowed == self.model.allow(self.now)
            if allowed:
                self.flying.append(self.now)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def a_call_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        started = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self._end(outcome, started)

    @rule(outcomes=st.lists(st.sampled_from(Outcome), min_size=1, max_size=6), ticks=st.integers(0, 20))
    def calls_one_after_another(self, outcomes: list[Outcome], ticks: int) -> None:
        for outcome in outcomes:
            started = self.now
            allowed = self.breaker.allow(KEY, started)
            assert allowed == self.model.allow(started)
            self.now += ticks * _TICK
            if allowed:
                self._end(outcome, started)

    def _end(self, outcome: Outcome, started: float) -> None:
        self.breaker.record(KEY, outcome, self.now - started, self.now)
        self.model.record(outcome, started, self.now)

    @rule()
    def it_is_forgotten(self) -> None:
        """Calls in flight go on, and count for what comes after."""
        self.breaker.forget(KEY)
        self.model = Model(self.model.options)
        self.told.clear()

    @invariant()
    def same_state(self) -> None:
        assert self.breaker.states().get(KEY, State.CLOSED) is self.model.state

    @invariant()
    def same_counts(self) -> None:
        inside = [outcome for outcome, _ in self.model.inside(self.now)]
        counts = self.breaker.counts(KEY, self.now)
        assert (counts.successes, counts.failures, counts.timeouts) == tuple(
            inside.count(outcome) for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT)
        )

    @invariant()
    def changes_follow_one_another(self) -> None:
        states = [State.CLOSED, *(one.after for one in self.told)]
        assert [one.before for one in self.told] == states[:-1]
        assert states[-1] is self.model.state


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=60)
