"""The loop of simulations: order, time that jumps, and an end to what would never end."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from elanus.testing.clock import DeadlockError
from elanus.testing.simulation import loop as module
from elanus.testing.simulation.loop import START, SimulationLoop, StandstillError

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SimulationLoop) as runner:
        return runner.run(main)


def test_time_jumps_to_the_next_timer() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        instants = [loop.time() - START]
        for seconds in (0.5, 3_600.0):
            await asyncio.sleep(seconds)
            instants.append(loop.time() - START)
        return instants

    assert run(main()) == [0.0, 0.5, 3_600.5]


def test_what_is_due_at_the_same_instant_runs_in_the_order_in_which_it_was_asked_for() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)
        ran: list[str] = []
        loop.call_later(1.0, ran.append, "a")
        loop.at(loop.now + 1.0, ran.append, "b")
        loop.call_at(loop.now + 1.0, ran.append, "c")
        loop.at(loop.now + 0.5, ran.append, "first")
        loop.call_soon(ran.append, "soon")
        await asyncio.sleep(2)
        return ran

    assert run(main()) == ["soon", "first", "a", "b", "c"]


def test_what_was_cancelled_does_not_run() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        ran: list[str] = []
        loop.call_later(1.0, ran.append, "timer").cancel()
        loop.call_soon(ran.append, "soon").cancel()
        await asyncio.sleep(2)
        return ran

    assert run(main()) == []


def test_an_instant_that_has_passed_does_not_turn_time_back() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)
        await asyncio.sleep(5)
        done = loop.create_future()
        loop.at(loop.now - 3, done.set_result, None)
        await done
        return loop.now - START

    assert run(main()) == 5.0


def test_asyncio_timeouts_and_context_variables_work() -> None:
    name: ContextVar[str] = ContextVar("name", default="none")

    async def main() -> tuple[str, float]:
        name.set("outer")
        asyncio.get_running_loop().call_soon(name.set, "inner")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(2)
        return name.get(), asyncio.get_running_loop().time() - START

    assert run(main()) == ("outer", 1.0)


def test_a_deadlock_names_who_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="waits_for_ever"):
        run(waits_for_ever())


def test_time_that_stands_still_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 1_000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(StandstillError, match="goes on without waiting"):
        run(spin())


def test_a_callback_that_fails_is_reported_and_the_loop_goes_on() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        said: list[str] = []
        loop.set_exception_handler(lambda _, context: said.append(repr(context["exception"])))
        loop.call_soon(lambda: 1 // 0)
        loop.call_later(1, lambda: [][0])
        await asyncio.sleep(2)
        return said

    zero, index = run(main())
    assert "ZeroDivisionError" in zero
    assert "IndexError" in index


def test_callbacks_of_the_simulation_itself_fail_loudly() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)
        loop.at(loop.now + 1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(ZeroDivisionError):
        run(main())
