"""The suite of breakers lets a good one through, and catches each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elanus.contracts.breaker import Breaker, Counts, Outcome, State, Transition
from elanus.testing.breaker import BreakerSuite

if TYPE_CHECKING:
    from collections.abc import Mapping

SUCCESS, FAILURE, TIMEOUT, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED


class Plain(Breaker):
    """Opens at the tenth failure in a row for a second, then probes with one call a second."""

    name = "plain"
    bad = frozenset({FAILURE, TIMEOUT})
    most = 1_000

    def __init__(self) -> None:
        self.failed: dict[str, int] = {}
        self.since: dict[str, float] = {}
        self.until: dict[str, float] = {}
        self.half: set[str] = set()

    def allow(self, key: str, now: float) -> bool:
        if key not in self.until:
            return True
        if now < self.until[key]:
            return False
        self.until[key] = now + 1.0
        if key not in self.half:
            self.half.add(key)
            self.told(key, State.OPEN, State.HALF_OPEN, now)
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        if outcome is IGNORED or now - elapsed <= self.since.get(key, 0.0):
            return
        if outcome not in self.bad:
            if self.failed.pop(key, 0) and key in self.half:
                self.close(key, now)
            return
        while len(self.failed) >= self.most:
            self.forget(next(iter(self.failed)))
        self.failed[key] = self.failed.get(key, 0) + 1
        if key in self.half or (self.failed[key] >= 10 and key not in self.until):
            self.open(key, now)

    def open(self, key: str, now: float) -> None:
        before = State.HALF_OPEN if key in self.half else State.CLOSED
        self.half.discard(key)
        self.since[key], self.until[key] = now + 1e-6, now + 1.0
        self.told(key, before, State.OPEN, now)

    def close(self, key: str, now: float) -> None:
        self.half.discard(key)
        del self.until[key]
        self.told(key, State.HALF_OPEN, State.CLOSED, now)

    def told(self, key: str, before: State, after: State, now: float) -> None:
        self.changed(Transition(key, before, after, Counts(failures=self.failed.get(key, 0)), now))

    def states(self) -> Mapping[str, State]:
        return {key: State.HALF_OPEN if key in self.half else State.OPEN for key in self.until}

    def forget(self, key: str) -> None:
        for known in (self.failed, self.since, self.until):
            known.pop(key, None)
        self.half.discard(key)


class TestPlain(BreakerSuite):
    def breaker(self) -> Breaker:
        return Plain()


class NeverOpens(Plain):
    bad = frozenset()


class OpensForAnything(Plain):
    bad = frozenset(Outcome)


class CountsIgnored(Plain):
    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        super().record(key, FAILURE if outcome is IGNORED else outcome, elapsed, now)


class IgnoresTimeouts(Plain):
    bad = frozenset({FAILURE})


class OneKeyForAll(Plain):
    def allow(self, key: str, now: float) -> bool:
        return super().allow("", now)

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        super().record("", outcome, elapsed, now)


class NeverProbes(Plain):
    def allow(self, key: str, now: float) -> bool:
        return key not in self.until


class OneProbeAtATime(Plain):
    """And one without a result blocks it for ever."""

    def allow(self, key: str, now: float) -> bool:
        return key not in self.half and super().allow(key, now)


class NeverCloses(Plain):
    def close(self, key: str, now: float) -> None:
        """Stays as it is."""


class ClosesByTime(Plain):
    def allow(self, key: str, now: float) -> bool:
        if now >= self.until.get(key, now + 1.0):
            self.forget(key)
        return super().allow(key, now)


class TakesLateResults(Plain):
    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        if outcome is SUCCESS and key in self.until:
            self.close(key, now)
        else:
            super().record(key, outcome, elapsed, now)


class ForgetsNothing(Plain):
    def forget(self, key: str) -> None:
        """Keeps it."""


class ForgettingIsAChange(Plain):
    def forget(self, key: str) -> None:
        if key in self.until:
            super().forget(key)
            self.told(key, State.OPEN, State.CLOSED, 0.0)


class TellsTooEarly(Plain):
    def open(self, key: str, now: float) -> None:
        self.told(key, State.CLOSED, State.OPEN, now)
        self.since[key], self.until[key] = now + 1e-6, now + 1.0


class TellsNobody(Plain):
    def changed(self, transition: Transition) -> None:
        """Keeps it to itself."""


class ListsClosedKeys(Plain):
    def states(self) -> Mapping[str, State]:
        return dict.fromkeys(self.failed, State.CLOSED) | dict(super().states())


class Grows(Plain):
    most = 10**9


FAULTS = [
    (NeverOpens, "test_failures_open_it"),
    (NeverOpens, "test_time_may_stand_still"),
    (OpensForAnything, "test_it_closes_when_calls_succeed_again"),
    (IgnoresTimeouts, "test_timeouts_open_it"),
    (OneKeyForAll, "test_keys_do_not_meet"),
    (NeverProbes, "test_an_open_key_lets_a_call_through_after_a_while"),
    (NeverProbes, "test_it_closes_when_calls_succeed_again"),
    (NeverCloses, "test_it_closes_when_calls_succeed_again"),
    (ClosesByTime, "test_a_failed_probe_keeps_it_from_closing"),
    (TakesLateResults, "test_what_comes_late_is_no_harm"),
    (ForgetsNothing, "test_forgetting_a_key_closes_it"),
    (ForgettingIsAChange, "test_forgetting_a_key_closes_it"),
    (TellsTooEarly, "test_every_change_of_state_is_told"),
    (TellsNobody, "test_every_change_of_state_is_told"),
    (TellsNobody, "test_whoever_watches_no_longer_hears_nothing"),
    (ListsClosedKeys, "test_closing_forgets_old_failures"),
    (Grows, "test_it_keeps_a_bounded_number_of_keys"),
]


def suite_of(fault: type[Plain]) -> BreakerSuite:
    class Suite(BreakerSuite):
        patience = 20.0

        def breaker(self) -> Breaker:
            return fault()

    return Suite()


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_suite_catches_a_fault(fault: type[Plain], test: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(suite_of(fault), test)()


def test_the_suite_catches_what_counts_too_much() -> None:
    for fault, outcome in ((CountsIgnored, IGNORED), (OpensForAnything, SUCCESS)):
        with pytest.raises(AssertionError):
            suite_of(fault).test_nothing_else_does(outcome)


def test_the_suite_catches_a_probe_that_blocks() -> None:
    with pytest.raises(pytest.fail.Exception, match="no call was let through within 20"):
        suite_of(OneProbeAtATime).test_probes_without_a_result_do_not_block_it(None)


def test_the_suite_catches_answers_that_are_not_the_state() -> None:
    class RefusesByChance(Plain):
        def allow(self, key: str, now: float) -> bool:
            return int(now * 1_000) % 7 != 0 and super().allow(key, now)

    with pytest.raises(AssertionError, match="refused, and closed"):
        suite_of(RefusesByChance).test_states_and_answers_agree(1)


def test_what_a_breaker_cannot_offer_is_skipped_with_its_reason() -> None:
    class Suite(BreakerSuite):
        unsupported = {"bounded keys": "its keys are known beforehand"}  # noqa: RUF012  # as authors write it

    with pytest.raises(pytest.skip.Exception, match="bounded keys: its keys are known beforehand"):
        Suite().test_it_keeps_a_bounded_number_of_keys()
