"""The clock that is moved by hand, and the loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any, cast

import pytest

from elanus import call as call_module
from elanus import deadline
from elanus.testing.calls import make_call
from elanus.testing.clock import DeadlockError, FakeClock, VirtualLoop, run_virtual
from elanus.wheel import wheel_of

YEAR = 365 * 86_400.0


def test_a_fake_clock_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(50.0)
    assert clock() == clock() == 50.0
    assert clock.advance(2.5) == 52.5
    assert clock() == 52.5


def test_a_fake_clock_cannot_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back by 1 s"):
        FakeClock().advance(-1)


def test_a_year_of_retries_passes_at_once() -> None:
    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        start, tries = loop.time(), 0
        while loop.time() - start < YEAR:
            tries += 1
            await asyncio.sleep(min(2.0**tries, 86_400.0))
        return loop.time() - start, tries

    seconds, tries = run_virtual(main())
    assert YEAR <= seconds < YEAR + 86_400
    assert 365 < tries < 400


def test_timers_go_off_in_order_and_at_their_instants() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        start, seen = loop.time(), list[tuple[str, float]]()

        async def note(name: str, after: float) -> None:
            await asyncio.sleep(after)
            seen.append((name, round(loop.time() - start, 6)))

        await asyncio.gather(note("late", 3600), note("soon", 0.25), note("middle", 60))
        return seen

    assert run_virtual(main()) == [("soon", 0.25), ("middle", 60.0), ("late", 3600.0)]


def test_a_timeout_wins_over_a_longer_sleep() -> None:
    async def main() -> float:
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(31)
        return asyncio.get_running_loop().time() - start

    assert run_virtual(main()) == pytest.approx(30)


def test_the_clock_of_elanus_follows_the_loop_and_comes_back() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        until = deadline.after(100.0)
        assert until == loop.time() + 100.0
        call = make_call()
        await asyncio.sleep(40)
        call.mark("later")
        assert deadline.remaining(until) == pytest.approx(60)
        assert call.timeline[1][1] - call.timeline[0][1] == pytest.approx(40)

    run_virtual(main())
    assert vars(deadline)["monotonic"] is time.monotonic
    assert vars(call_module)["monotonic"] is time.monotonic


def test_the_clock_of_elanus_comes_back_after_a_failure() -> None:
    async def main() -> None:
        raise LookupError("a test that fails")

    with pytest.raises(LookupError):
        run_virtual(main())
    assert vars(deadline)["monotonic"] is time.monotonic


def test_the_timer_wheel_turns_in_virtual_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        call, at = make_call(), deadline.after(3600.0)
        wheel_of(loop).add(call, cast("asyncio.Task[Any]", asyncio.current_task()), at)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(2 * 3600)
        assert call.expired
        assert at <= loop.time() < at + 0.01

    run_virtual(main())


def test_a_standstill_is_an_error_that_names_who_waits() -> None:
    async def the_one_that_waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="the_one_that_waits"):
        run_virtual(the_one_that_waits())


def test_time_stands_still_while_a_thread_works() -> None:
    release = threading.Event()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        start = loop.time()
        loop.call_later(3600, release.set)  # were time to pass, this would let the thread go on too early

        def work() -> str:
            return "released" if release.wait(0.05) else "done"

        outcome = await asyncio.to_thread(work)
        assert loop.time() - start < 1
        return outcome

    assert run_virtual(main()) == "done"


def test_sockets_between_two_ends_in_the_loop_work() -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)

            async def answer() -> None:
                data = await loop.sock_recv(other, 100)
                await asyncio.sleep(60)
                await loop.sock_sendall(other, data.upper())

            answering = asyncio.create_task(answer())
            async with asyncio.timeout(61):
                await loop.sock_sendall(one, b"hello")
                reply = await loop.sock_recv(one, 100)
            await answering
            return reply

    assert run_virtual(main()) == b"HELLO"


def test_a_jump_makes_timers_late() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        start = loop.time()
        sleeping = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        loop.jump(10)
        await sleeping
        assert loop.time() - start == pytest.approx(10)

    run_virtual(main())
