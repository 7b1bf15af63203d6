"""The suite of retriers lets a good one through, and catches each fault."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from elanus.contracts.retrier import STOP, WAIT, Plan, Retrier, Retry, Stop, Verdict
from elanus.errors import RpcTimeoutError
from elanus.testing.retrier import RetrierSuite

if TYPE_CHECKING:
    from elanus.call import Call


class PlainPlan(Plan):
    def __init__(self, retrier: Plain) -> None:
        self.retrier = retrier
        self.count = 0

    def started(self, attempt: Call, now: float) -> float | None:
        self.count += 1
        self.retrier.tokens += 0.1 if self.count == 1 else 0.0
        return 0.25 if self.count < 3 else None

    def due(self, now: float) -> Verdict:
        return Retry() if self.retrier.draw() else WAIT

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        if not isinstance(error, RpcTimeoutError):
            return STOP
        if self.count < 3 and self.retrier.draw():
            return Retry(0.01)
        return WAIT if running else Stop("enough")


class Plain(Retrier):
    """Two further attempts after timeouts, hedged, from a bucket that a tenth of a token per call goes into."""

    name = "plain"
    plan_class: type[PlainPlan] = PlainPlan

    def __init__(self) -> None:
        self.tokens = 10.0

    def plan(self, call: Call, now: float) -> Plan | None:
        return self.plan_class(self)

    def draw(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class TestPlain(RetrierSuite):
    def retrier(self) -> Retrier:
        return Plain()


class NoName(Plain):
    name = "No Name"


class PlansNothing(Plain):
    def plan(self, call: Call, now: float) -> Any:
        return self


class RetriesReplies(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return Retry() if self.count < 3 else STOP


class RetriesNothing(Plain):
    class plan_class(PlainPlan):
        def started(self, attempt: Call, now: float) -> float | None:
            return None

        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return STOP


class NoEnd(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return STOP if error is None else Retry()


class NoEndOfHedges(Plain):
    class plan_class(PlainPlan):
        def started(self, attempt: Call, now: float) -> float | None:
            return 1.0

        def due(self, now: float) -> Verdict:
            return Retry()


class OddAnswers(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Any:
            return True


class NegativePauses(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return Retry(-1.0) if self.count < 3 else STOP


class NegativeDelays(Plain):
    class plan_class(PlainPlan):
        def started(self, attempt: Call, now: float) -> float | None:
            return -1.0


class CannotBearSomeOutcomes(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            assert error is None or hasattr(error, "sent")
            return super().ended(attempt, reply, error, running, now)


class AsksAClock(Plain):
    class plan_class(PlainPlan):
        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return STOP if now > time.monotonic() else super().ended(attempt, reply, error, running, now)


class OnePlanForAll(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.one = PlainPlan(self)

    def plan(self, call: Call, now: float) -> Plan | None:
        return self.one


class CountsWhatRuns(Plain):
    """And refuses calls when more than a hundred plans are open, dropped ones included."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    def plan(self, call: Call, now: float) -> Plan | None:
        self.open += 1
        if self.open > 100:
            raise RuntimeError("too many calls")
        return super().plan(call, now)


class DividesByTime(Plain):
    class plan_class(PlainPlan):
        def started(self, attempt: Call, now: float) -> float | None:
            self.since = now
            return super().started(attempt, now)

        def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
            return STOP if 1 / (now - self.since) > 1e9 else super().ended(attempt, reply, error, running, now)


class NoBudget(Plain):
    def draw(self) -> bool:
        return True


FAULTS = [
    (NoName, "test_it_has_a_name_that_users_can_write"),
    (PlansNothing, "test_it_is_a_retrier_that_makes_plans"),
    (RetriesReplies, "test_a_good_reply_is_final"),
    (RetriesNothing, "test_a_timeout_is_tried_again"),
    (NoEnd, "test_attempts_come_to_an_end_and_the_last_error_is_the_callers"),
    (NoEndOfHedges, "test_attempts_that_never_answer_come_to_an_end"),
    (OddAnswers, "test_a_good_reply_is_final"),
    (NegativePauses, "test_a_timeout_is_tried_again"),
    (NegativeDelays, "test_a_good_reply_is_final"),
    (CannotBearSomeOutcomes, "test_every_outcome_may_be_reported"),
    (AsksAClock, "test_it_goes_by_the_time_that_it_is_told"),
    (OnePlanForAll, "test_calls_beside_each_other_are_told_apart"),
    (CountsWhatRuns, "test_plans_may_be_dropped_half_way"),
    (DividesByTime, "test_time_may_stand_still"),
    (NoBudget, "test_an_outage_is_not_made_worse"),
]


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_each_fault_is_caught(fault: type[Plain], test: str) -> None:
    class Suite(RetrierSuite):
        def retrier(self) -> Retrier:
            return fault()

    with pytest.raises((AssertionError, RuntimeError, ZeroDivisionError)):
        getattr(Suite(), test)()


def test_each_test_of_the_suite_has_a_fault_that_it_catches() -> None:
    tests = {name for name in vars(RetrierSuite) if name.startswith("test_")}
    assert tests == {test for _, test in FAULTS}
