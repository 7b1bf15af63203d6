"""Every cell of docs/cancellation.md: who sees what when a call ends early, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.breaker import Outcome
from elanus.testing import run_virtual

from .cancelling import LONG, MEMORY, SHARED, TRANSPORTS, TURNS, World, idl, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

#: When the caller changes its mind, its connection breaks, or its time is up: seconds after the start.
SOON = 2.0


@dataclass(frozen=True)
class Cell:
    """One row of the page, for some transports. Its words are those of the page."""

    what: str
    kind: str
    transports: tuple[str, ...]
    caller: str
    handler: str
    connection: str

    def __str__(self) -> str:
        return f"{self.what}, {self.kind}"


CELLS = (
    Cell("cancel", "unary", (MEMORY,), "`CancelledError`", "cancelled at once", "kept"),
    Cell("cancel", "unary", (TURNS,), "`CancelledError`", "cancelled at once", "closed"),
    Cell("cancel", "unary", (SHARED,), "`CancelledError`", "runs on", "kept"),
    Cell("timeout", "unary", (MEMORY, SHARED), "`RpcTimeoutError`", "cancelled at the deadline", "kept"),
    Cell("timeout", "unary", (TURNS,), "`RpcTimeoutError`", "cancelled at the deadline", "closed"),
    Cell("disconnect", "unary", TRANSPORTS, "`ConnectionLostError`", "cancelled at once", "closed"),
    Cell("handler raises", "unary", TRANSPORTS, "`ApplicationError` 6", "raises", "kept"),
    Cell("handler cancels itself", "unary", TRANSPORTS, "`ApplicationError` 6", "cancelled by itself", "kept"),
    Cell("cancel", "oneway", TRANSPORTS, "nothing", "runs on", "kept"),
    Cell("timeout", "oneway", TRANSPORTS, "nothing", "cancelled at the deadline", "kept"),
    Cell("disconnect", "oneway", TRANSPORTS, "nothing", "runs on", "closed"),
    Cell("handler raises", "oneway", TRANSPORTS, "nothing", "raises", "kept"),
    Cell("handler cancels itself", "oneway", TRANSPORTS, "nothing", "cancelled by itself", "kept"),
)

_CASES = [(cell, transport) for cell in CELLS for transport in cell.transports]
_ENDS = {
    "cancelled at once": ("cancelled", SOON),
    "cancelled at the deadline": ("cancelled", SOON),
    "cancelled by itself": ("cancelled", 0.0),
    "runs on": ("finished", LONG),
    "raises": ("raised", 0.0),
}


@pytest.fixture(autouse=True)
def quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    """What servers log of failing handlers is expected here."""
    caplog.set_level(logging.CRITICAL)


def in_world(how: str, scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with World(how).running() as world:
            await scenario(world)

    run_virtual(main())


def _call(world: World, cell: Cell) -> asyncio.Task[Any]:
    client = world.client.with_options(timeout=SOON) if cell.what == "timeout" else world.client
    method = client.work if cell.kind == "unary" else client.fire
    whats = {"handler raises": "raise", "handler cancels itself": "cancel own task"}
    return asyncio.ensure_future(method(whats.get(cell.what, "long")))


async def _happen(world: World, cell: Cell, task: asyncio.Task[Any]) -> None:
    await world.handler.started.wait()
    await asyncio.sleep(SOON)
    if cell.what == "cancel":
        task.cancel()
    elif cell.what == "disconnect":
        await world.cut()
    await asyncio.wait([task])
    await settled()


def _check_caller(world: World, cell: Cell, task: asyncio.Task[Any]) -> None:
    if cell.caller == "nothing":
        assert task.result() is None
        return
    if cell.caller == "`CancelledError`":
        assert task.cancelled()
        return
    error = task.exception()
    assert isinstance(error, elanus.ElanusError)
    assert (f"`{type(error).__name__}`", error.sent) == (cell.caller.partition(" ")[0], True)
    assert (error.service, error.method) == ("Subject", "work")
    assert error.instance == next(iter(world.client.connections()))
    if isinstance(error, elanus.RpcTimeoutError):
        assert (error.seconds, error.limit, error.phase) == (SOON, "timeout", "wait")
    if isinstance(error, elanus.ApplicationError):
        texts = {"handler raises": "biz error: boom", "handler cancels itself": "the handler cancelled itself"}
        assert (error.code, error.message) == (6, texts[cell.what])


def _check_handler(world: World, how: str, after: float) -> None:
    ((ended, seconds),) = world.handler.ends
    assert ended == how
    assert seconds == pytest.approx(after, abs=0.2)


@pytest.mark.parametrize(("cell", "transport"), _CASES, ids=str)
def test_cell(cell: Cell, transport: str) -> None:
    async def scenario(world: World) -> None:
        task = _call(world, cell)
        await _happen(world, cell, task)
        _check_caller(world, cell, task)
        if cell.handler == "runs on":
            await asyncio.sleep(LONG)
            await settled()
        _check_handler(world, *_ENDS[cell.handler])
        await world.as_before()
        assert world.fate() == cell.connection

    in_world(transport, scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ["unary", "oneway"])
@pytest.mark.parametrize("what", ["cancel", "timeout"])
def test_before_the_request_has_left_nothing_is_sent(what: str, kind: str, transport: str) -> None:
    async def scenario(world: World) -> None:
        await world.cut()
        await settled()
        world.slow.delay = LONG
        calls = world.limiter.calls
        options = {"connect_timeout": 2 * LONG, **({"timeout": SOON} if what == "timeout" else {})}
        client = world.client.with_options(**options)
        task = asyncio.ensure_future((client.work if kind == "unary" else client.fire)("long"))
        await asyncio.sleep(SOON / 2)
        if what == "cancel":
            task.cancel()
        await asyncio.wait([task])
        if what == "cancel":
            assert task.cancelled()
        else:
            error = task.exception()
            assert isinstance(error, elanus.RpcTimeoutError)
            assert (error.sent, error.phase, error.limit) == (False, "connect", "timeout")
        world.slow.delay = 0.0
        await asyncio.sleep(2 * LONG)
        assert world.limiter.calls == calls, "the server saw nothing of it"
        await world.as_before()

    in_world(transport, scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_handler_that_is_not_to_obey_deadlines_goes_on_where_nobody_can_tell_it(transport: str) -> None:
    async def scenario(world: World) -> None:
        task = asyncio.ensure_future(world.client.with_options(timeout=SOON).work("long"))
        await asyncio.wait([task])
        assert isinstance(task.exception(), elanus.RpcTimeoutError)
        await asyncio.sleep(LONG)
        await settled()
        _check_handler(world, *(("finished", LONG) if transport == SHARED else ("cancelled", SOON)))
        await world.as_before()

    async def main() -> None:
        world = World(transport)
        world.server = elanus.Server(
            limiter=world.limiter, breaker=world.breakers[2], enforce_deadline=False, drain_delay=0
        )
        world.server.add_service(idl.Subject, world.handler)
        async with world.running():
            await scenario(world)

    run_virtual(main())


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("what", ["raise cancelled", "cancel own task"])
def test_both_ways_of_cancelling_oneself_are_answered(what: str, transport: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(elanus.ApplicationError) as raised:
            await world.client.work(what)
        assert (raised.value.code, raised.value.message) == (6, "the handler cancelled itself")
        await world.as_before()

    in_world(transport, scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_declared_exception_is_raised_as_itself(transport: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(idl.Declared, match="as agreed"):
            await world.client.work("declared")
        assert world.breakers[0].outcomes[-1] is Outcome.SUCCESS
        await world.as_before()

    in_world(transport, scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_calls_that_end_in_every_way_at_once_leave_nothing(transport: str) -> None:
    async def scenario(world: World) -> None:
        timed = world.client.with_options(timeout=SOON)
        tasks = [
            asyncio.ensure_future(client.work(what))
            for _ in range(10)
            for client, what in (
                (world.client, "long"),
                (timed, "long"),
                (world.client, "raise"),
                (world.client, "cancel own task"),
                (timed, "fine"),
            )
        ]
        await asyncio.sleep(SOON / 2)
        for task in tasks[::5]:
            task.cancel()
        await asyncio.wait(tasks)
        kinds = {0: "CancelledError", 1: "RpcTimeoutError", 2: "ApplicationError", 3: "ApplicationError", 4: "str"}
        for number, task in enumerate(tasks):
            outcome: Any = "CancelledError" if task.cancelled() else task.exception() or task.result()
            name = outcome if isinstance(outcome, str) and outcome == "CancelledError" else type(outcome).__name__
            assert name == kinds[number % 5]
        await asyncio.sleep(LONG)
        await world.as_before()

    in_world(transport, scenario)
