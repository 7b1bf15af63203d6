"""The retry room, as long as attempts follow one another."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.retrying import Script, answers_after, attempts, fails_after, room, timed_out, virtual

from elanus.contracts.retrier import Plan, Retrier, Retry, Stop, Verdict
from elanus.deadline import Deadline
from elanus.errors import ApplicationError, ConnectFailedError, RpcTimeoutError
from elanus.metadata import Metadata
from elanus.service import Instance
from elanus.testing import make_call

if TYPE_CHECKING:
    from elanus.call import Call


@virtual
async def test_without_a_plan_the_call_goes_straight_on() -> None:
    seen: list[Call] = []

    def endpoint(call: Call) -> Any:
        seen.append(call)
        return answers_after(0)(call)

    call = make_call()
    assert await room(Script(most=0), endpoint)(call) == "reply 0"
    assert seen == [call]


@virtual
async def test_a_first_attempt_that_succeeds_runs_on_the_call_itself_without_a_task() -> None:
    seen: list[Call] = []
    tasks: list[int] = []

    async def endpoint(call: Call) -> Any:
        seen.append(call)
        tasks.append(len(asyncio.all_tasks()))
        return "reply"

    script, call = Script(), make_call()
    assert await room(script, endpoint)(call) == "reply"
    assert seen == [call]
    assert tasks == [1]
    assert script.lines == ["started 0", "ended 0"]
    assert call.journal is None, "nothing to tell"


@virtual
async def test_the_plan_is_told_every_start_and_every_outcome() -> None:
    script = Script(most=3, after=0.5)
    endpoint, ends = attempts(fails_after(1), fails_after(2), answers_after(4))
    call = make_call()
    assert await room(script, endpoint)(call) == "reply 2"
    assert [(told.at, told.what, told.attempt, told.running) for told in script.told] == [
        (0.0, "started", 0, -1),
        (1.0, "ended", 0, 0),
        (1.5, "started", 1, -1),
        (3.5, "ended", 1, 0),
        (4.0, "started", 2, -1),
        (8.0, "ended", 2, 0),
    ]
    assert ends == ["0 RpcTimeoutError", "1 RpcTimeoutError", "2 ok"]
    assert (call.attempt, call.peer) == (2, "peer of 2")


@virtual
async def test_the_error_of_the_last_attempt_is_the_callers_and_says_why_no_other_followed() -> None:
    last = ApplicationError(6, "the last one")
    endpoint, _ = attempts(fails_after(0), fails_after(0), fails_after(0, last))
    call = make_call()
    with pytest.raises(ApplicationError) as caught:
        await room(Script(most=3), endpoint)(call)
    assert caught.value is last
    assert caught.value.__context__ is None, "earlier errors are in the journal, not in a chain of tracebacks"
    history = call.history(last)
    assert [verdict.text for verdict in history.verdicts] == ["not tried again: attempts are used up"]
    assert [(each.number, each.kind, each.outcome.split(":")[0]) for each in history.attempts] == [
        (0, "first", "RpcTimeoutError [wait]"),
        (1, "retry", "RpcTimeoutError [wait]"),
        (2, "retry", "ApplicationError [handler]"),
    ]


@virtual
async def test_an_error_that_is_none_of_elanus_gets_the_reason_as_a_note() -> None:
    endpoint, _ = attempts(fails_after(0, KeyError("declared")))
    with pytest.raises(KeyError) as caught:
        await room(Script(most=1), endpoint)(make_call())
    assert caught.value.__notes__ == ["not tried again: attempts are used up"]


class Unhappy(Script):
    """Wants a reply of a certain kind."""

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        super().ended(attempt, reply, error, running, now)
        self.decided = False
        return Stop() if reply == "good" else Retry() if self.count < self.most else Stop("no good reply")


@virtual
async def test_a_reply_can_be_tried_again_and_the_last_one_stays() -> None:
    endpoint, ends = attempts(answers_after(0, "bad"), answers_after(0, "bad"), answers_after(0, "good"))
    assert await room(Unhappy(most=3), endpoint)(make_call()) == "good"
    assert ends == ["0 ok", "1 ok", "2 ok"]
    call = make_call()
    assert await room(Unhappy(most=2), attempts(answers_after(0, "bad"), answers_after(0, "worse"))[0])(call) == "worse"
    assert [verdict.text for verdict in call.history().verdicts] == ["not tried again: no good reply"]


@virtual
async def test_every_further_attempt_starts_with_what_the_call_started_with() -> None:
    seen: list[tuple[Any, ...]] = []

    async def endpoint(call: Call) -> Any:
        seen.append((call.arguments, call.options, call.deadline, call.limit, call.headers, call.metadata.transient))
        call.argument_payload = call.argument_payload or b"encoded"
        call.arguments = ("changed",)
        call.options = replace(call.options, target="elsewhere:1")
        call.deadline, call.limit = Deadline(0.0), ("attempt_timeout", 1.0)
        call.headers = {"more": "of it"}
        call.metadata = call.metadata.with_transient({"hop": str(call.attempt)})
        raise timed_out()

    call = make_call(arguments=("as given",))
    call.deadline = Deadline(asyncio.get_running_loop().time() + 60)
    start = call.deadline
    call.metadata = Metadata({"mine": "t"}, {"mine": "p"})
    with pytest.raises(RpcTimeoutError):
        await room(Script(most=3), endpoint)(call)
    first: tuple[Any, ...] = (("as given",), make_call().options, start, None, {}, {"mine": "t"})
    assert seen == [first, first, first]
    assert call.deadline == start
    assert call.argument_payload == b"encoded"


@virtual
async def test_further_attempts_are_numbered_and_marked_for_every_hop_below() -> None:
    marks: list[tuple[int, dict[str, str]]] = []

    async def endpoint(call: Call) -> Any:
        marks.append((call.attempt, dict(call.metadata.persistent)))
        raise timed_out()

    call = make_call()
    call.metadata = Metadata({}, {"mine": "p"})
    with pytest.raises(RpcTimeoutError):
        await room(Script(most=3), endpoint)(call)
    assert marks == [
        (0, {"mine": "p"}),
        (1, {"mine": "p", "RetryReq": "1"}),
        (2, {"mine": "p", "RetryReq": "2"}),
    ]
    assert call.metadata.persistent == {"mine": "p"}


@virtual
async def test_the_payload_is_encoded_once_and_the_instances_are_one_list() -> None:
    seen: list[Any] = []

    async def endpoint(call: Call) -> Any:
        seen.append((call.argument_payload, [str(instance) for instance in call.tried]))
        call.argument_payload = b"encoded"
        call.instance = Instance(f"a:{call.attempt}")
        call.tried.append(call.instance)
        raise timed_out()

    with pytest.raises(RpcTimeoutError):
        await room(Script(most=3), endpoint)(make_call())
    assert seen == [(None, []), (b"encoded", ["a:0"]), (b"encoded", ["a:0", "a:1"])]


@pytest.mark.parametrize("same", [True, False])
def test_a_plan_may_ask_for_the_instance_of_the_attempt_before(same: bool) -> None:
    wanted: list[str | None] = []

    @virtual
    async def scenario() -> None:
        async def endpoint(call: Call) -> Any:
            wanted.append(None if call.instance is None else call.instance.address)
            call.instance = Instance("a:1")
            raise timed_out()

        with pytest.raises(RpcTimeoutError):
            await room(Script(most=2, same_instance=same), endpoint)(make_call())

    scenario()
    assert wanted == [None, "a:1" if same else None]


@virtual
async def test_no_attempt_is_made_that_could_not_begin_before_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    for after, budget, count in [(1.0, 2.01, 2), (1.0, 2.0, 1), (0.0, 1.0, 1), (0.0, 1.01, 2)]:
        endpoint, ends = attempts(fails_after(1), fails_after(1), fails_after(1))
        call = make_call()
        call.deadline = Deadline(loop.time() + budget)
        with pytest.raises(RpcTimeoutError) as caught:
            await room(Script(most=3, after=after), endpoint)(call)
        assert len(ends) == count, (after, budget)
        (verdict,) = call.history(caught.value).verdicts
        assert "of the budget are left" in verdict.text


@pytest.mark.parametrize(
    ("idempotent", "error", "count"),
    [
        (None, timed_out(), 3),
        (True, timed_out(), 3),
        (False, timed_out(), 1),
        (False, ConnectFailedError("refused"), 3),
        (False, KeyError("declared"), 1),
    ],
)
def test_what_must_not_be_sent_twice_is_only_tried_again_when_it_was_never_sent(
    idempotent: bool | None, error: Exception, count: int
) -> None:
    @virtual
    async def scenario() -> None:
        endpoint, ends = attempts(*[fails_after(0, error)] * 3)
        call = make_call()
        with pytest.raises(type(error)):
            await room(Script(most=3, delay=5.0), endpoint, idempotent=idempotent)(call)
        assert len(ends) == count
        if count == 1:
            assert "is not idempotent" in call.history(error).verdicts[-1].text

    scenario()


@virtual
async def test_a_reply_of_what_must_not_be_sent_twice_is_kept() -> None:
    endpoint, ends = attempts(answers_after(0, "bad"), answers_after(0, "good"))
    assert await room(Unhappy(most=2), endpoint, idempotent=False)(make_call()) == "bad"
    assert ends == ["0 ok"]


@virtual
async def test_cancelling_the_caller_ends_the_attempt_or_the_pause() -> None:
    for at, lines in [
        (1.5, ["started 0", "ended 0"]),
        (2.5, ["started 0", "ended 0", "started 1"]),
    ]:
        script = Script(most=3, after=1.0)
        endpoint, _ = attempts(fails_after(1), answers_after(60))
        call = make_call()
        task = asyncio.ensure_future(room(script, endpoint)(call))
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert script.lines == lines
    assert call.attempt == 1, "what was going on when it was cancelled"
    assert [each.outcome.split(" ")[0] for each in call.attempts] == ["RpcTimeoutError", "cancelled"]


class Buggy(Retrier, Plan):
    name = "buggy"

    def plan(self, call: Call, now: float) -> Plan:
        return self

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        raise ZeroDivisionError("a bug")


@virtual
async def test_a_bug_in_a_plan_is_the_callers_error() -> None:
    for behaviour in (answers_after(0), fails_after(0)):
        with pytest.raises(ZeroDivisionError):
            await room(Buggy(), attempts(behaviour)[0])(make_call())


@virtual
async def test_a_thousand_calls_leave_no_garbage() -> None:
    async def run() -> None:
        endpoint, _ = attempts(fails_after(0.001), answers_after(0.001))
        await room(Script(most=2), endpoint)(make_call())
        endpoint, _ = attempts(fails_after(0.001), fails_after(0.001))
        with pytest.raises(RpcTimeoutError):
            await room(Script(most=2), endpoint)(make_call())

    await run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(500):
            await run()
        found = gc.collect()
    finally:
        gc.enable()
    assert found < 50, f"{found} objects of 1,000 calls waited for the collector"
