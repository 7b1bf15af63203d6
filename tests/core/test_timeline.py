"""Timelines: what a call tells of its phases, attempts and decisions, and that they add up."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.call import Event
from elanus.contracts.tracer import Tracer
from elanus.service import Instance
from elanus.testing import InTurn, MemoryTransport, connected, make_call, run_virtual
from elanus.timeline import (
    JOURNAL_ENTRIES,
    SERVER_TIMELINE,
    Attempt,
    Phase,
    Timeline,
    Verdict,
    phase_after,
    phases_between,
    read_phases,
    written_phases,
)

from .policies import Always, Hedges
from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from elanus.call import Call


def phases(timeline: Timeline) -> dict[str, float]:
    return {name: round(seconds, 6) for name, seconds in timeline.phases if seconds > 1e-9}


# Deriving


def test_each_event_ends_a_phase_and_begins_another() -> None:
    marks = [(Event.START, 10.0), (Event.RESOLVED, 11.0), (Event.ENCODING, 13.0), (Event.ENCODED, 16.0)]
    assert phases_between(marks, 20.0) == [("prepare", 1.0), ("pick", 2.0), ("encode", 3.0), ("write", 4.0)]
    assert [phase_after(marks[:count]) for count in (1, 2, 3, 4)] == ["prepare", "pick", "encode", "write"]


def test_marks_of_others_begin_no_phase() -> None:
    marks = [(Event.START, 0.0), (Event.RESOLVED, 1.0), ("mine", 2.0)]
    assert phases_between(marks, 4.0) == [("prepare", 1.0), ("pick", 3.0)]
    assert phase_after(marks) == "pick"


def test_neighbours_of_one_name_are_one_phase_and_others_keep_their_places() -> None:
    marks = [(Event.START, 0.0), (Event.CONNECTED, 1.0), (Event.ENCODED, 3.0), (Event.RESOLVED, 4.0)]
    marks.append((Event.CONNECTED, 6.0))
    assert phases_between(marks, 6.5) == [("prepare", 1.0), ("write", 3.0), ("pick", 2.0), ("write", 0.5)]


def test_a_servers_events_have_other_phases() -> None:
    names = [
        (Event.START, "queue"),
        (Event.ADMITTED, "decode"),
        (Event.DECODED, "prepare"),
        (Event.HANDLER_START, "handler"),
        (Event.HANDLER_FINISH, "encode"),
        (Event.ENCODED, "finish"),
        (Event.FINISH, "write"),
    ]
    marks = [(event, 2.0 * number) for number, (event, _) in enumerate(names)]
    assert phases_between(marks, 14.0) == [(name, 2.0) for _, name in names]


def test_a_table_has_milliseconds_bars_attempts_and_decisions() -> None:
    marks = [(Event.START, 5.0), (Event.START, 5.1), (Event.RESOLVED, 5.1), (Event.WRITTEN, 5.2)]
    first = Attempt(0, "first", 5.0, 5.06, "10.0.0.1:1", "ConnectionLostError [wait]: reset")
    second = Attempt(1, "retry", 5.1, 5.3, "10.0.0.2:2", "ok")
    timeline = Timeline(marks, [first, Verdict(5.06, 0, "tried again after 40 ms"), second], 5.3, second)
    assert timeline.table().split("\n") == [
        "took 300.00 ms",
        "  earlier attempts     100.00  ##########",
        "  pick                 100.00  ##########",
        "  wait                 100.00  ##########",
        "2 attempts",
        "  0   first from     0.00 to    60.00  10.0.0.1:1: ConnectionLostError [wait]: reset",
        "  1   retry from   100.00 to   300.00  10.0.0.2:2: ok",
        "decisions",
        "  at    60.00, attempt 0: tried again after 40 ms",
    ]
    assert timeline.seconds("wait") == pytest.approx(0.1)
    assert timeline.attempts[1].elapsed == pytest.approx(0.2)


def test_what_still_runs_has_no_end() -> None:
    call = make_call()
    call.fork(1)
    line = call.history().table().splitlines()[-1]
    assert line.endswith("to        -  no instance: still runs")
    assert [each.elapsed is None for each in call.attempts] == [True, True], "the first one runs on the call itself"


# What calls say


class Slow(Store):
    async def get(self, key: Any) -> Any:
        await asyncio.sleep(key)
        return key


class SlowTransport(MemoryTransport):
    """Connects in 0.25 s."""

    async def connect(self, *arguments: Any) -> Any:
        await asyncio.sleep(0.25)
        return await super().connect(*arguments)


@asynccontextmanager
async def stored(transport: type[MemoryTransport], **options: Any) -> AsyncIterator[elanus.Client]:
    """A client of a slow store."""
    server = await started(Slow())
    options["balancer"] = InTurn()
    async with elanus.Client(idl.Store, "memory:1", transport=transport(server), **options) as client:
        yield client
    await server.stop()


def waits(seconds: float) -> Any:
    def middleware(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            await asyncio.sleep(seconds)
            return await next_endpoint(call)

        return endpoint

    return middleware


def test_each_wait_is_charged_to_its_phase_and_all_add_up() -> None:
    async def scenario() -> None:
        rooms: Any = {"middlewares": [waits(0.5)], "instance_middlewares": [waits(1)]}
        async with stored(SlowTransport, **rooms) as client:
            result = await client.invoke("get", 2.0)
            assert phases(result.timeline) == {"prepare": 0.5, "pick": 1.0, "connect": 0.25, "wait": 2.0}
            assert result.timeline.total == pytest.approx(3.75, abs=1e-9)
            assert sum(seconds for _, seconds in result.timeline.phases) == pytest.approx(
                result.timeline.total, abs=1e-9
            )
            again = await client.invoke("get", 2.0)
            assert phases(again.timeline) == {"prepare": 0.5, "pick": 1.0, "wait": 2.0}

    run_virtual(scenario())


def test_waiting_for_a_connection_of_anothers_is_a_phase_of_its_own() -> None:
    async def scenario() -> None:
        one = {"pool": elanus.PoolOptions(open=1), "limits": elanus.Limits(calls_per_connection=1)}
        async with stored(MemoryTransport, **one) as client:
            first = asyncio.create_task(client.invoke("get", 2.0))
            await asyncio.sleep(0.5)
            second = await client.invoke("get", 1.0)
            assert phases(second.timeline) == {"pool wait": 1.5, "wait": 1.0}
            await first

    run_virtual(scenario())


class Watcher(Tracer):
    """Keeps the calls of a server."""

    name = "watcher"

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def start(self, call: Call) -> None:
        self.calls.append(call)

    def finish(self, call: Call, error: BaseException | None) -> None:
        """It reads them later."""


def test_a_server_tells_its_own_part() -> None:
    async def scenario() -> None:
        watcher = Watcher()
        server = elanus.Server(tracers=[watcher], middlewares=[waits(0.5)])
        async with connected(idl.Store, Slow(), server=server) as client:
            await client.get(2.0)
        (call,) = watcher.calls
        assert phases(call.history()) == {"prepare": 0.5, "handler": 2.0}
        assert [event for event, _ in call.timeline] == [
            Event.START,
            Event.ADMITTED,
            Event.DECODED,
            Event.HANDLER_START,
            Event.HANDLER_FINISH,
            Event.ENCODED,
            Event.FINISH,
            Event.FINISH,
            Event.WRITTEN,
        ]

    run_virtual(scenario())


def test_a_server_tells_its_part_to_who_asks() -> None:
    async def scenario() -> None:
        async with stored(SlowTransport) as client:
            asking = client.with_options(metadata={SERVER_TIMELINE: "1"})
            result = await asking.invoke("get", 2.0)
            assert [(name, seconds) for name, seconds in result.timeline.server if seconds] == [("handler", 2.0)]
            assert result.timeline.network == 0.0
            assert "of the 2000.00 of write and wait, as the server says" in result.timeline.table()
            silent = await client.invoke("get", 2.0)
            assert (silent.timeline.server, silent.timeline.network) == ((), None)
            assert SERVER_TIMELINE not in silent.metadata

    run_virtual(scenario())


def test_what_is_not_told_by_the_server_is_the_network() -> None:
    marks = [(Event.START, 0.0), (Event.WRITTEN, 1.0), (Event.ANSWERED, 4.0)]
    server = [Phase("queue", 0.5), Phase("handler", 1.5)]
    assert Timeline(marks, [], 4.0, Attempt(0, "first", 0.0), server).network == 1.0


def test_a_server_may_have_answered_before_the_write_returns() -> None:
    marks = [(Event.START, 0.0), (Event.ENCODED, 1.0), (Event.WRITTEN, 3.5), (Event.ANSWERED, 4.0)]
    server = [Phase("queue", 0.5), Phase("handler", 1.5)]
    timeline = Timeline(marks, [], 4.0, Attempt(0, "first", 0.0), server)
    assert timeline.network == 1.0
    assert timeline.table().splitlines()[4:8] == [
        "of the 3000.00 of write and wait, as the server says",
        "  queue                500.00",
        "  handler             1500.00",
        "  network             1000.00",
    ]


def test_what_a_server_tells_of_more_than_there_was_is_not_shown() -> None:
    marks = [(Event.START, 0.0), (Event.WRITTEN, 1.0), (Event.ANSWERED, 4.0)]
    timeline = Timeline(marks, [], 4.0, Attempt(0, "first", 0.0), [Phase("handler", 3.5)])
    assert timeline.network is None
    table = timeline.table()
    assert "the server tells of more than the 3000.00 of write and wait, which cannot be" in table
    assert "handler" not in table


@pytest.mark.parametrize(
    "text",
    [
        "",
        "handler",
        "handler x",
        "handler 1",
        "\x1b[31mhandler 0.100000",
        "handler 0.1;",
        "a" * 40 + " 0.100000",
        ";;;",
    ],
)
def test_what_a_peer_tells_is_read_with_care(text: str) -> None:
    assert read_phases(text) == []


def test_phases_travel_as_text() -> None:
    phases = [Phase("queue", 0.00012), Phase("handler", 1.25)]
    assert written_phases(phases) == "queue 0.000120;handler 1.250000"
    assert read_phases(written_phases(phases)) == phases


async def failure(client: elanus.Client, *arguments: Any) -> elanus.ElanusError:
    with pytest.raises(elanus.ElanusError) as raised:
        await client.get(*arguments)
    return raised.value


def test_an_error_tells_the_phase_in_which_time_ran_out() -> None:
    async def scenario() -> None:
        async with stored(SlowTransport) as client:
            connecting = await failure(client.with_options(timeout=0.125), 1.0)
            assert (connecting.phase, connecting.sent) == ("connect", False)
            assert str(connecting).startswith("Store/get at memory:1 [connect]: no connection within 0.125 s")
            waiting = await failure(client.with_options(timeout=1.0), 3.0)
            assert (waiting.phase, waiting.sent) == ("wait", True)
            assert waiting.timeline is not None
            assert phases(waiting.timeline) == {"connect": 0.25, "wait": pytest.approx(0.75, abs=0.01)}

    run_virtual(scenario())


async def test_an_error_keeps_its_timeline_through_pickle_and_copy() -> None:
    async with connected(idl.Store, Slow()) as client:
        error = await failure(client.with_options(timeout=0.01), 1.0)
    assert error.timeline is not None
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert again.timeline == error.timeline
        assert again.explain() == error.explain()
        assert [each.outcome for each in again.attempts] == [error.outcome_text()]


async def test_an_error_that_is_kept_keeps_neither_call_nor_circles() -> None:
    async with connected(idl.Store, Slow()) as client:
        error = await failure(client.with_options(timeout=0.01), 1.0)
        error.with_traceback(None)
        gc.collect()
        reached, todo = set(), [error.timeline]
        while todo:
            for one in gc.get_referents(todo.pop()):
                if id(one) not in reached and not isinstance(one, type):
                    reached.add(id(one))
                    todo.append(one)
                    assert not isinstance(one, elanus.Call | BaseException)


async def test_a_business_status_has_a_timeline_as_well() -> None:
    class Refuses(Store):
        async def get(self, key: str) -> Any:
            raise elanus.BizStatusError(7, "no")

    async with connected(idl.Store, Refuses()) as client:
        error = await failure(client, "k")
    assert [(each.instance, each.outcome) for each in error.attempts] == [("memory:1", "business status 7: no")]
    assert "wait" in [name for name, _ in error.timeline.phases]  # type: ignore[union-attr]


async def test_an_error_without_a_call_explains_what_it_knows() -> None:
    error = elanus.ConfigError("no such option", hint="Spell it right")
    assert error.timeline is None
    assert error.attempts == ()
    assert error.explain().splitlines() == [
        "ConfigError",
        "  phase            configure",
        "  cause            no such option",
        "  next step        Spell it right",
        "  request          was not sent",
    ]


async def test_an_instance_that_was_passed_over_is_told_on_success_too() -> None:
    server = await started()
    transport = MemoryTransport({"memory:2": server})
    async with elanus.Client(idl.Store, ["memory:1", "memory:2"], transport=transport, balancer=InTurn()) as client:
        result = await client.invoke("get", "k")
    await server.stop()
    (verdict,) = result.timeline.verdicts
    assert verdict.text.startswith("passed over memory:1: ConnectFailedError [connect]")


def test_the_phase_of_a_timeout_is_that_in_which_the_deadline_passed() -> None:
    call = make_call()
    began = call.timeline[0][1]
    call.timeline += [(Event.WRITTEN, began + 1.0), (Event.ANSWERED, began + 2.0)]
    assert call.phase() == "read"
    assert call.phase(began + 1.9) == "wait", "what came later was too late"
    assert call.phase(began + 0.5) == "prepare"


# Attempts


def outcomes(attempts: Sequence[Attempt]) -> list[tuple[int, str, str | None, str]]:
    return [(each.number, each.kind, each.instance, each.outcome) for each in attempts]


def times(timeline: Timeline) -> list[tuple[str, float, float | None]]:
    return [(each.kind, round(each.started, 6), round(each.elapsed or -1, 6)) for each in timeline.attempts]


def test_retries_and_the_pauses_between_them_add_up() -> None:
    async def scenario() -> None:
        rooms: Any = {"retrier": Always(most=3, pause=0.5), "attempt_timeout": 1.0}
        async with stored(MemoryTransport, **rooms) as client:
            timeline = (await failure(client, 30.0)).timeline
        assert timeline is not None
        step = 0.01  # timers of the wheel are up to 5 ms late
        assert [kind for kind, _, _ in times(timeline)] == ["first", "retry", "retry"]
        assert [began for _, began, _ in times(timeline)] == pytest.approx([0.0, 1.5, 3.0], abs=2 * step)
        assert [took for _, _, took in times(timeline)] == pytest.approx([1.0] * 3, abs=step)
        assert timeline.seconds("earlier attempts") == pytest.approx(3.0, abs=2 * step)
        assert timeline.seconds("wait") == pytest.approx(1.0, abs=step)
        assert sum(seconds for _, seconds in timeline.phases) == pytest.approx(timeline.total, abs=1e-9)
        assert timeline.verdicts[-1].text == "not tried again: 3 attempts are the limit"

    run_virtual(scenario())


class SlowOnce(Store):
    async def get(self, key: Any) -> Any:
        await asyncio.sleep(30.0 if not self.notes else 1.0)
        return key

    async def put(self, key: str, value: Any) -> None:
        self.notes.append(key)


def test_the_winner_of_a_race_tells_its_own_part_and_what_came_before() -> None:
    async def scenario() -> None:
        handler = SlowOnce()
        async with connected(idl.Store, handler, retrier=Hedges(0.25)) as client:
            call = asyncio.create_task(client.invoke("get", "k"))
            await asyncio.sleep(0.125)
            await handler.put("from now on it is fast", None)
            result = await call
        assert times(result.timeline) == [("first", 0.0, 1.25), ("hedge", 0.25, 1.0)]
        assert outcomes(result.timeline.attempts) == [
            (0, "first", "memory:1", "cancelled"),
            (1, "hedge", "memory:1", "ok"),
        ]
        assert phases(result.timeline) == {"earlier attempts": 0.25, "wait": 1.0}
        assert result.timeline.total == pytest.approx(1.25, abs=1e-9)

    run_virtual(scenario())


def test_attempts_are_listed_with_kind_instance_and_outcome() -> None:
    call = make_call()
    call.instance = Instance("a:1")
    call.end(elanus.ConnectionLostError("reset"))
    retry = call.fork(1)
    retry.instance = Instance("b:2")
    hedge = call.fork(2, hedge=True)
    hedge.instance = Instance("c:3")
    retry.end(asyncio.CancelledError())
    hedge.end()
    call.adopt(hedge)
    assert outcomes(call.attempts) == [
        (0, "first", "a:1", "ConnectionLostError [wait]: reset"),
        (1, "retry", "b:2", "cancelled"),
        (2, "hedge", "c:3", "ok"),
    ]
    assert [name for name, _ in call.phases()] == ["earlier attempts", "prepare"]


def test_the_first_end_of_an_attempt_counts() -> None:
    call = make_call()
    attempt = call.fork(1)
    attempt.end(ValueError("broken"))
    attempt.end()
    assert call.attempts[-1].outcome == "ValueError: broken"


def test_a_call_remembers_so_many_decisions_and_no_more() -> None:
    call = make_call()
    for number in range(JOURNAL_ENTRIES + 10):
        call.note(f"decision {number}")
    assert len(call.history().verdicts) == JOURNAL_ENTRIES
    assert call.history().verdicts[-1].text == f"decision {JOURNAL_ENTRIES - 1}"


def test_decisions_are_shared_by_all_attempts_and_know_theirs() -> None:
    call = make_call()
    attempt = call.fork(3)
    attempt.note("passed over a:1")
    call.note("not tried again: enough")
    assert [(verdict.attempt, verdict.text) for verdict in call.history().verdicts] == [
        (3, "passed over a:1"),
        (0, "not tried again: enough"),
    ]


def test_the_text_of_an_error_tells_attempts_and_the_last_decision() -> None:
    call = make_call()
    call.instance = Instance("a:1")
    first = elanus.ConnectionLostError("the peer closed the connection", instance="a:1", hint="Look there")
    call.end(first)
    second = call.fork(1)
    second.end(first)
    call.adopt(second)
    call.note("not tried again: 2 attempts are the limit")
    first.locate(call)
    first.timeline = call.history(first)
    assert str(first) == (
        "EchoService/echo at a:1 [wait]: the peer closed the connection; attempt 2, before it a:1 ConnectionLostError "
        "[wait]: the peer closed the connection; not tried again: 2 attempts are the limit. Look there"
    )


def ended(*outcomes: tuple[str, elanus.ElanusError]) -> elanus.ElanusError:
    """The last of these errors, of a call with one attempt for each; each comes with its instance."""
    call = make_call()
    for number, (instance, error) in enumerate(outcomes):
        attempt = call.fork(number) if number else call
        attempt.instance = Instance(instance)
        attempt.end(error)
        call.adopt(attempt)
    error.locate(call)
    error.timeline = call.history(error)
    return error


def test_attempts_that_ended_alike_are_told_once() -> None:
    gone = elanus.ConnectionLostError("gone", hint="")
    lost = elanus.ConnectionLostError("lost", hint="")
    where = "EchoService/echo at a:1 [wait]"
    assert str(ended(("a:1", gone), ("a:1", gone), ("a:1", gone))) == f"{where}: gone; 3 attempts, each ended so"
    assert str(ended(("a:1", gone), ("a:1", gone), ("a:1", lost))) == (
        f"{where}: lost; attempt 3, before it a:1 ConnectionLostError [wait]: gone (2 times)"
    )
    assert "; attempt 2, before it b:1 ConnectionLostError [wait]: gone" in str(ended(("b:1", gone), ("a:1", gone)))
