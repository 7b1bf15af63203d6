"""The suite that every breaker passes."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.breaker import Outcome, State, Transition
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from elanus.contracts.breaker import Breaker

__all__ = ["BreakerSuite"]

KEY, OTHER = "web/store/get", "10.0.0.1:8888"
#: Where time begins here: not at 0, so that an instant taken for a duration shows.
_START = 1_000_000.0


class BreakerSuite(Suite):
    """Subclass it as ``TestXxx``, override :meth:`breaker`, and let pytest collect it.

    Time is made by the tests: a thousand calls a second, each of which takes 0.25 ms.

    Behaviours for :attr:`unsupported`: ``"timeouts"`` (they open it as failures do), ``"tolerance"`` (one failure does
    not open it), ``"probes"`` (it closes when calls succeed, not when time passes), ``"bounded keys"``.
    """

    #: Failures in a row after which it must be open, at the latest.
    failures: int = 5_000
    #: Seconds after which an open key must let a call through, at the latest, and good probes must have closed it.
    patience: float = 600.0
    #: More keys than it keeps.
    many_keys: int = 30_000

    def breaker(self) -> Breaker:
        """A new one."""
        raise NotImplementedError

    # -- how the tests drive it ---------------------------------------------------------------------------------

    def call(self, breaker: Breaker, outcome: Outcome, now: float, key: str = KEY) -> bool:
        """One call at *now*, and whether it was allowed."""
        if not breaker.allow(key, now):
            return False
        breaker.record(key, outcome, 0.000_25, now + 0.000_25)
        return True

    def opened(self, breaker: Breaker, now: float = _START, *, outcome: Outcome = Outcome.FAILURE) -> float:
        """The instant at which *breaker* is open, after calls that all end with *outcome*."""
        for number in range(self.failures):
            if not self.call(breaker, outcome, now + number / 1_000):
                return now + number / 1_000
        pytest.fail(f"{self.failures} calls in a row that ended with {outcome} did not open it")

    def probed(self, breaker: Breaker, now: float) -> float:
        """The instant at which an open *breaker* allows a call again; that call has no outcome yet."""
        for number in range(int(self.patience * 20)):
            if breaker.allow(KEY, now + number / 20):
                return now + number / 20
        pytest.fail(f"no call was let through within {self.patience} s")

    def closed(self, breaker: Breaker, now: float) -> float:
        """The instant at which *breaker* is closed again, when all calls that it allows succeed."""
        for number in range(int(self.patience * 20)):
            self.call(breaker, Outcome.SUCCESS, now + number / 20)
            if KEY not in breaker.states():
                return now + number / 20
        pytest.fail(f"successes only, and not closed within {self.patience} s")

    def transitions(self, breaker: Breaker) -> list[Transition]:
        """Every change of state from now on; tests that each is in place when it is told."""
        seen: list[Transition] = []

        def callback(transition: Transition) -> None:
            assert breaker.states().get(transition.key, State.CLOSED) is transition.after
            seen.append(transition)

        breaker.watch(callback)
        return seen

    # -- the tests ----------------------------------------------------------------------------------------------

    def test_it_has_a_name(self) -> None:
        assert self.breaker().name

    def test_it_is_closed_at_first(self) -> None:
        breaker = self.breaker()
        assert breaker.allow(KEY, _START)
        assert dict(breaker.states()) == {}

    def test_failures_open_it(self) -> None:
        breaker = self.breaker()
        now = self.opened(breaker)
        assert breaker.states()[KEY] is State.OPEN
        assert not breaker.allow(KEY, now)

    def test_what_it_tells_of_a_refusal_is_one_line_and_changes_nothing(self) -> None:
        breaker = self.breaker()
        now = self.opened(breaker)
        assert not breaker.allow(KEY, now)
        assert "\n" not in breaker.why(KEY, now)
        assert not breaker.allow(KEY, now)
        assert breaker.states()[KEY] is State.OPEN

    def test_timeouts_open_it(self) -> None:
        self.requires("timeouts")
        self.opened(self.breaker(), outcome=Outcome.TIMEOUT)

    @pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.IGNORED])
    def test_nothing_else_does(self, outcome: Outcome) -> None:
        breaker = self.breaker()
        assert all(self.call(breaker, outcome, _START + number / 1_000) for number in range(self.failures))
        assert dict(breaker.states()) == {}

    def test_time_may_stand_still(self) -> None:
        breaker = self.breaker()
        allowed = sum(self.call(breaker, Outcome.FAILURE, _START) for _ in range(self.failures))
        assert allowed < self.failures
        assert not breaker.allow(KEY, _START)

    def test_keys_do_not_meet(self) -> None:
        breaker = self.breaker()
        now = self.opened(breaker)
        assert breaker.allow(OTHER, now)
        assert set(breaker.states()) == {KEY}

    def test_an_open_key_lets_a_call_through_after_a_while(self) -> None:
        breaker = self.breaker()
        now = self.opened(breaker)
        assert self.probed(breaker, now) > now

    def test_it_closes_when_calls_succeed_again(self) -> None:
        breaker = self.breaker()
        now = self.closed(breaker, self.opened(breaker))
        assert all(self.call(breaker, Outcome.SUCCESS, now + number / 1_000) for number in range(1_000))

    def test_closing_forgets_old_failures(self) -> None:
        self.requires("tolerance")
        breaker = self.breaker()
        now = self.closed(breaker, self.opened(breaker))
        assert self.call(breaker, Outcome.FAILURE, now)
        assert KEY not in breaker.states()
        assert breaker.allow(KEY, now + 0.001), "one failure after it had closed opened it again"

    def test_a_failed_probe_keeps_it_from_closing(self) -> None:
        self.requires("probes")
        breaker = self.breaker()
        now = self.opened(breaker)
        for _ in range(20):
            now = self.probed(breaker, now)
            breaker.record(KEY, Outcome.FAILURE, 0.001, now + 0.001)
            assert not breaker.allow(KEY, now + 0.001), "its failure was just seen"
            assert KEY in breaker.states()

    @pytest.mark.parametrize("outcome", [Outcome.IGNORED, None])
    def test_probes_without_a_result_do_not_block_it(self, outcome: Outcome | None) -> None:
        self.requires("probes")
        breaker = self.breaker()
        now = self.opened(breaker)
        for _ in range(10):
            now = self.probed(breaker, now)
            if outcome is not None:
                breaker.record(KEY, outcome, 0.001, now + 0.001)
            now += 0.001
            assert KEY in breaker.states()
        self.closed(breaker, now)

    def test_what_comes_late_is_no_harm(self) -> None:
        breaker = self.breaker()
        assert breaker.allow(KEY, _START)
        now = self.opened(breaker, _START + 0.001)
        for outcome in Outcome:
            breaker.record(KEY, outcome, now - _START, now)
        assert not breaker.allow(KEY, now), "calls from before said that it is well"

    def test_forgetting_a_key_closes_it(self) -> None:
        breaker = self.breaker()
        now = self.opened(breaker)
        seen = self.transitions(breaker)
        breaker.forget(KEY)
        assert dict(breaker.states()) == {}
        assert breaker.allow(KEY, now)
        assert seen == [], "a forgotten key has not changed for the better"

    def test_keys_may_be_forgotten_at_any_time(self) -> None:
        breaker = self.breaker()
        breaker.forget(KEY)
        assert breaker.allow(KEY, _START)
        breaker.forget(KEY)
        for number, outcome in enumerate(Outcome):
            breaker.record(KEY, outcome, 1.0, _START + 1.0 + number)
        assert breaker.allow(KEY, _START + 10.0)

    def test_every_change_of_state_is_told(self) -> None:
        breaker = self.breaker()
        seen = self.transitions(breaker)
        opened = self.opened(breaker)
        assert [(one.key, one.before, one.after) for one in seen] == [(KEY, State.CLOSED, State.OPEN)]
        assert _START <= seen[0].now <= opened
        counts = seen[0].counts
        assert counts.failures > 0, "the counts are those that opened it"
        assert (counts.successes, counts.timeouts, counts.error_rate) == (0, 0, 1.0)
        closed = self.closed(breaker, opened)
        assert seen[-1].after is State.CLOSED
        assert opened <= seen[-1].now <= closed + 0.001
        assert all(before.after is after.before for before, after in pairwise(seen))

    def test_whoever_watches_no_longer_hears_nothing(self) -> None:
        breaker = self.breaker()
        heard: list[str] = []

        def one(transition: Transition) -> None:
            heard.append("one")

        def other(transition: Transition) -> None:
            heard.append("other")

        for callback in (one, other, other):
            breaker.watch(callback)
        breaker.unwatch(one)
        breaker.unwatch(one)
        self.opened(breaker)
        assert heard == ["other"]

    @pytest.mark.parametrize("seed", range(5))
    def test_states_and_answers_agree(self, seed: int) -> None:
        """Calls of every outcome that overlap, in phases that are mostly good or mostly bad."""
        chance, breaker = Random(seed), self.breaker()
        self.transitions(breaker)
        now, flying = _START, list[tuple[float, float, str]]()
        for _ in range(20_000):
            now += chance.expovariate(1_000 if chance.random() < 0.999 else 0.1)
            key = chance.choice((KEY, OTHER))
            if breaker.allow(key, now):
                flying.append((now + chance.expovariate(100), now, key))
            else:
                assert key in breaker.states(), "refused, and closed"
            while flying and min(flying)[0] <= now:
                ended = min(flying)
                flying.remove(ended)
                good = chance.random() < (0.95 if int(now) % 20 < 10 else 0.05)
                outcome = Outcome.SUCCESS if good else chance.choice(list(Outcome))
                breaker.record(ended[2], outcome, now - ended[1], now)
            assert set(breaker.states()) <= {KEY, OTHER}

    def test_it_keeps_a_bounded_number_of_keys(self) -> None:
        self.requires("bounded keys")
        breaker, sizes = self.breaker(), []
        tracemalloc.start()
        try:
            for turn in range(2):
                for number in range(self.many_keys):
                    self.call(breaker, Outcome.FAILURE, _START + number / 1_000, f"{turn}/store/{number}")
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert sizes[1] < sizes[0] * 1.5, f"it grows with the number of keys that it was ever asked for: {sizes} bytes"
