"""The retry room, when attempts run beside each other."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.retrying import Script, answers_after, attempts, fails_after, room, timed_out, virtual

from elanus.contracts.retrier import Retry, Verdict
from elanus.deadline import Deadline
from elanus.errors import ApplicationError, RpcCancelledError, RpcTimeoutError
from elanus.testing import make_call

if TYPE_CHECKING:
    from elanus.call import Call


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let those that lost unwind."""
    for _ in range(5):
        await asyncio.sleep(0)


@virtual
async def test_a_hedge_that_is_not_needed_costs_no_task() -> None:
    script = Script(most=2, delay=1.0)
    tasks: list[int] = []

    async def endpoint(call: Call) -> Any:
        tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.5)
        return "reply"

    call = make_call()
    assert await room(script, endpoint)(call) == "reply"
    await asyncio.sleep(60)
    assert script.lines == ["started 0", "ended 0"], "its clock was stopped"
    assert tasks == [1]
    assert call.journal is None


@virtual
async def test_the_backup_wins_and_the_first_one_is_cancelled() -> None:
    script = Script(most=2, delay=1.0)
    endpoint, ends = attempts(answers_after(60), answers_after(0.25))
    call, start = make_call(), now()
    task = asyncio.current_task()
    assert task is not None
    assert await room(script, endpoint)(call) == "reply 1"
    assert now() - start == pytest.approx(1.25)
    assert ends == ["1 ok", "0 CancelledError"]
    assert task.cancelling() == 0, "the cancellation was taken back"
    assert (call.attempt, call.peer) == (1, "peer of 1")
    assert [(each.number, each.kind, each.outcome) for each in call.attempts] == [
        (0, "first", "cancelled"),
        (1, "hedge", "ok"),
    ]
    assert script.lines == ["started 0", "due", "started 1", "ended 1"], "the loser is no news to the plan"
    await asyncio.sleep(60)
    assert len(asyncio.all_tasks()) == 1


@virtual
async def test_the_first_one_wins_and_the_backup_is_cancelled() -> None:
    script = Script(most=2, delay=1.0)
    endpoint, ends = attempts(answers_after(2), answers_after(60))
    call = make_call()
    assert await room(script, endpoint)(call) == "reply 0"
    assert ends == ["0 ok"], "it unwinds in the background"
    await settle()
    assert ends == ["0 ok", "1 CancelledError"]
    assert (call.attempt, call.peer) == (0, "peer of 0")
    assert [(each.kind, each.outcome) for each in call.attempts] == [("first", "ok"), ("hedge", "cancelled")]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("reverse", [True, False])
def test_two_that_end_in_one_turn_make_one_outcome(reverse: bool) -> None:
    @virtual
    async def scenario() -> None:
        wakers: list[asyncio.Future[str]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
        script = Script(most=2, delay=1.0)

        async def endpoint(call: Call) -> Any:
            return await wakers[call.attempt]

        call = make_call()
        running = asyncio.ensure_future(room(script, endpoint)(call))
        await asyncio.sleep(2)
        for number in (1, 0) if reverse else (0, 1):
            wakers[number].set_result(f"reply {number}")
        assert await running == f"reply {call.attempt}"
        assert running.cancelling() == 0
        assert [told.what for told in script.told].count("ended") == 1

    scenario()


@virtual
async def test_more_than_one_hedge() -> None:
    script = Script(most=4, delay=1.0)
    endpoint, ends = attempts(answers_after(60), answers_after(60), answers_after(0.5), answers_after(60))
    start = now()
    assert await room(script, endpoint)(make_call()) == "reply 2"
    assert now() - start == pytest.approx(2.5)
    await settle()
    assert sorted(ends) == ["0 CancelledError", "1 CancelledError", "2 ok"]


@virtual
async def test_an_attempt_that_fails_leaves_it_to_those_that_run() -> None:
    script = Script(most=2, delay=1.0)
    endpoint, ends = attempts(fails_after(1.5), answers_after(2))
    start = now()
    assert await room(script, endpoint)(make_call()) == "reply 1"
    assert now() - start == pytest.approx(3.0)
    assert ends == ["0 RpcTimeoutError", "1 ok"]
    assert [(told.at, told.attempt, told.running) for told in script.told if told.what == "ended"] == [
        (1.5, 0, 1),
        (3.0, 1, 0),
    ]


@virtual
async def test_when_all_fail_the_last_error_is_the_callers() -> None:
    last = ApplicationError(6, "the last one")
    endpoint, _ = attempts(fails_after(1.5), fails_after(2, last))
    call = make_call()
    with pytest.raises(ApplicationError) as caught:
        await room(Script(most=2, delay=1.0), endpoint)(call)
    assert caught.value is last
    assert call.attempt == 1
    endpoint, _ = attempts(fails_after(5, last), fails_after(2))
    call = make_call()
    with pytest.raises(ApplicationError) as caught:
        await room(Script(most=2, delay=1.0), endpoint)(call)
    assert caught.value is last
    assert call.attempt == 0


@virtual
async def test_a_failure_may_be_followed_by_another_attempt_after_a_pause() -> None:
    script = Script(most=3, after=0.5, delay=1.0)
    endpoint, _ = attempts(fails_after(1.25), answers_after(60), answers_after(0.25))
    call = make_call()
    assert await room(script, endpoint)(call) == "reply 2"
    assert [(told.at, told.what, told.attempt) for told in script.told] == [
        (0.0, "started", 0),
        (1.0, "due", -1),
        (1.0, "started", 1),
        (1.25, "ended", 0),
        (1.75, "started", 2),
        (2.0, "ended", 2),
    ]
    assert [each.kind for each in call.attempts] == ["first", "hedge", "hedge"]


@virtual
async def test_a_pause_ends_when_another_attempt_wins_in_it() -> None:
    script = Script(most=3, after=10.0, delay=1.0)
    endpoint, ends = attempts(fails_after(1.5), answers_after(1.0))
    assert await room(script, endpoint)(make_call()) == "reply 1"
    await asyncio.sleep(60)
    assert ends == ["0 RpcTimeoutError", "1 ok"]


@virtual
async def test_two_failures_in_one_pause_are_followed_by_one_attempt() -> None:
    script = Script(most=3, after=10.0, delay=1.0)
    endpoint, ends = attempts(fails_after(1.5), fails_after(1.0), answers_after(1.0))
    assert await room(script, endpoint)(make_call()) == "reply 2"
    assert ends == ["0 RpcTimeoutError", "1 RpcTimeoutError", "2 ok"]
    assert [told.running for told in script.told if told.what == "ended"] == [1, 1, 0]


@virtual
async def test_a_failure_before_the_hedge_is_followed_at_once_and_the_clock_starts_anew() -> None:
    script = Script(most=3, delay=1.0)
    endpoint, _ = attempts(fails_after(0.5), answers_after(60), answers_after(0.25))
    call = make_call()
    assert await room(script, endpoint)(call) == "reply 2"
    assert [(told.at, told.what) for told in script.told] == [
        (0.0, "started"),
        (0.5, "ended"),
        (0.5, "started"),
        (1.5, "due"),
        (1.5, "started"),
        (1.75, "ended"),
    ]
    assert [each.kind for each in call.attempts] == ["first", "retry", "hedge"]


@virtual
async def test_cancelling_the_caller_cancels_every_attempt() -> None:
    for first in (answers_after(60), fails_after(1.5)):  # in its own task, or waiting for others
        endpoint, ends = attempts(first, answers_after(60), answers_after(60))
        task = asyncio.ensure_future(room(Script(most=3, delay=1.0), endpoint)(make_call()))
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert sorted(ends)[1:] == ["1 CancelledError", "2 CancelledError"]
        assert len(asyncio.all_tasks()) == 1


@virtual
async def test_a_caller_that_is_cancelled_while_a_backup_wins_stays_cancelled() -> None:
    waker: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    endpoint, _ = attempts(answers_after(60), lambda call: waker)
    task = asyncio.ensure_future(room(Script(most=2, delay=1.0), endpoint)(make_call()))
    await asyncio.sleep(2)
    waker.set_result("reply")
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it has won, and its cancellation is on its way to the first
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1, "one of two was taken back"


@virtual
async def test_a_timeout_around_the_call_is_not_taken_for_a_winner() -> None:
    endpoint, ends = attempts(answers_after(60), answers_after(60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await room(Script(most=2, delay=1.0), endpoint)(make_call())
    await settle()
    assert ends == ["0 CancelledError", "1 CancelledError"]


@virtual
async def test_a_timeout_inside_of_the_first_attempt_may_meet_the_winner() -> None:
    async def first(call: Call) -> Any:
        try:
            async with asyncio.timeout_at(start + 2.0):
                await asyncio.sleep(60)
        except TimeoutError:
            raise timed_out() from None

    task = asyncio.current_task()
    assert task is not None
    for gap in (-0.001, 0.0, 0.001):
        start = now()
        endpoint, _ = attempts(first, answers_after(1.0 + gap))
        assert await room(Script(most=2, delay=1.0), endpoint)(make_call()) == "reply 1"
        assert task.cancelling() == 0


@virtual
async def test_a_first_attempt_that_makes_something_else_of_its_cancellation_has_lost_all_the_same() -> None:
    async def stubborn(call: Call) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "the reply of a loser"

    async def angry(call: Call) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("the error of a loser") from None

    task = asyncio.current_task()
    assert task is not None
    for behaviour in (stubborn, angry):
        endpoint, _ = attempts(behaviour, answers_after(1))
        call = make_call()
        assert await room(Script(most=2, delay=1.0), endpoint)(call) == "reply 1"
        assert task.cancelling() == 0
        assert [each.outcome for each in call.attempts] == ["cancelled", "ok"]


@virtual
async def test_a_loser_that_fails_while_it_unwinds_is_nobodys_concern() -> None:
    async def angry(call: Call) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("the error of a loser") from None

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
    endpoint, ends = attempts(answers_after(2), angry)
    assert await room(Script(most=2, delay=1.0), endpoint)(make_call()) == "reply 0"
    await settle()
    gc.collect()
    assert ends == ["0 ok", "1 KeyError"]
    assert reports == []


@virtual
async def test_a_backup_that_cancels_itself_has_failed() -> None:
    async def quits(call: Call) -> Any:
        raise asyncio.CancelledError

    endpoint, _ = attempts(fails_after(3), quits)
    call = make_call()
    with pytest.raises(RpcTimeoutError):
        await room(Script(most=2, delay=1.0), endpoint)(call)

    async def quits_late(call: Call) -> Any:
        await asyncio.sleep(1)
        raise asyncio.CancelledError

    endpoint, _ = attempts(fails_after(1.5), quits_late)
    with pytest.raises(RpcCancelledError):
        await room(Script(most=2, delay=1.0), endpoint)(make_call())


@virtual
async def test_no_hedge_begins_after_the_deadline() -> None:
    for budget, count in [(1.0, 1), (1.01, 2)]:
        endpoint, ends = attempts(answers_after(2), answers_after(60))
        call = make_call()
        call.deadline = Deadline(now() + budget)
        assert await room(Script(most=2, delay=1.0), endpoint)(call) == "reply 0"
        await settle()
        assert len(ends) == count


@virtual
async def test_hedges_start_with_what_the_call_started_with() -> None:
    seen: list[Any] = []

    async def endpoint(call: Call) -> Any:
        seen.append((call.attempt, call.deadline, dict(call.metadata.persistent), call.argument_payload))
        call.argument_payload = b"encoded"
        call.deadline = Deadline(now() + 0.001)
        await asyncio.sleep(60 if call.attempt == 0 else 0.1)
        return "reply"

    call = make_call()
    call.deadline = start = Deadline(now() + 30)
    assert await room(Script(most=2, delay=1.0), endpoint)(call) == "reply"
    assert seen == [(0, start, {}, None), (1, start, {"RetryReq": "1"}, b"encoded")]
    assert call.deadline == start


@virtual
async def test_backups_see_the_context_of_the_caller() -> None:
    word: ContextVar[str] = ContextVar("word")
    endpoint, _ = attempts(answers_after(60), lambda call: asyncio.sleep(0, word.get()))
    word.set("from the caller")
    assert await room(Script(most=2, delay=1.0), endpoint)(make_call()) == "from the caller"


@virtual
async def test_what_is_no_outcome_at_all_ends_the_call() -> None:
    class Enough(BaseException):
        pass

    async def ends(call: Call) -> Any:
        raise Enough

    endpoint, ends_of = attempts(answers_after(60), ends)
    with pytest.raises(Enough):
        await room(Script(most=2, delay=1.0), endpoint)(make_call())
    assert ends_of == ["1 Enough", "0 CancelledError"]


class BuggyWhenDue(Script):
    def due(self, now: float) -> Verdict:
        raise ZeroDivisionError("a bug")


class BuggyAtTheEnd(Script):
    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        raise ZeroDivisionError("a bug")


@virtual
async def test_a_bug_in_a_plan_ends_the_call_instead_of_leaving_it_waiting() -> None:
    for script in (BuggyWhenDue(most=2, delay=1.0), BuggyAtTheEnd(most=2, delay=1.0)):
        endpoint, _ = attempts(answers_after(60), answers_after(1))
        with pytest.raises(ZeroDivisionError):
            await room(script, endpoint)(make_call())
        await settle()
        assert len(asyncio.all_tasks()) == 1


class HedgesTheSecond(Script):
    """The first attempt has no clock; the second has one."""

    def started(self, attempt: Call, now: float) -> float | None:
        super().started(attempt, now)
        return 1.0 if attempt.attempt == 1 else None

    def due(self, now: float) -> Verdict:
        return Retry()


@virtual
async def test_a_later_attempt_may_be_the_first_that_is_hedged() -> None:
    for behaviours, winner in [
        ((fails_after(1), answers_after(60), answers_after(1)), 2),
        ((fails_after(1), answers_after(2), answers_after(60)), 1),
    ]:
        endpoint, _ = attempts(*behaviours)
        call = make_call()
        assert await room(HedgesTheSecond(most=3), endpoint)(call) == f"reply {winner}"
        assert (call.attempt, call.peer) == (winner, f"peer of {winner}")
        await settle()
    endpoint, _ = attempts(fails_after(1), answers_after(60))
    call = make_call()
    task = asyncio.ensure_future(room(HedgesTheSecond(most=3), endpoint)(call))
    await asyncio.sleep(1.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.attempt == 1


@virtual
async def test_a_thousand_hedged_calls_leave_no_garbage() -> None:
    async def run() -> None:
        for behaviours in (
            (answers_after(0.001),),
            (answers_after(60), answers_after(0.001)),
            (answers_after(0.011), answers_after(60)),
        ):
            await room(Script(most=2, delay=0.01), attempts(*behaviours)[0])(make_call())
        try:
            await room(Script(most=2, delay=0.01), attempts(fails_after(0.1), fails_after(0.01))[0])(make_call())
        except RpcTimeoutError:
            pass

    await run()
    await settle()
    gc.collect()
    gc.disable()
    try:
        for _ in range(250):
            await run()
        await settle()
        found = gc.collect()
    finally:
        gc.enable()
    assert found < 50, f"{found} objects of 1,000 calls waited for the collector"
