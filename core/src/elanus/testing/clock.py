"""Time that tests make: a clock that is moved by hand, and an event loop in which waiting takes no time.

Policies are told the time, so a :class:`FakeClock` is all that their tests need. What sleeps and times out runs in
:func:`run_virtual`: when nothing is ready, the loop jumps to its next timer, so that an hour of retries takes
milliseconds and every run of a test sees the same instants.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Executor

__all__ = ["DeadlockError", "FakeClock", "VirtualLoop", "run_virtual"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Where virtual time begins: not at 0, so that an instant taken for a duration shows.
_START = 1_000_000.0


class FakeClock:
    """A monotonic clock that stands still until it is moved. Call it to read it, in seconds."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Move it on, and return the new instant.

        :raises ValueError: *seconds* is negative; monotonic clocks do not go back.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds} s")
        self._now += seconds
        return self._now


class DeadlockError(RuntimeError):
    """Everything in a virtual loop waits, and nothing is left that could wake it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose :meth:`time` jumps to the next timer whenever nothing is ready.

    Sockets between two ends in this loop work, since on loopback what was sent is ready at once. What waits for another
    process does not: its time would pass before the answer can come. While a thread of :meth:`run_in_executor` works,
    time stands still.
    """

    def __init__(self, start: float = _START) -> None:
        self._virtual_now = start
        self._threads = 0
        super().__init__(_JumpingSelector(self))
        # asyncio runs a timer that is due within one tick of the clock. After some months of virtual time a float
        # cannot tell now from a nanosecond later, and a timer that is due exactly now would never run.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual_now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        self._threads += 1  # from 3.12 on it waits for its threads with a timer, which must not win
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self._threads -= 1

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._threads -= 1

    def jump(self, seconds: float) -> None:
        """Move time on. For the selector, and for a test that wants a timer to be late."""
        self._virtual_now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Asks what is ready, and lets virtual time pass instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop._threads:
            return super().select(1.0)
        if timeout is not None:
            # The loop's own wake-up pipe is always there. Where there are sockets besides, a busy system may deliver
            # what was sent on loopback a little later.
            ready = super().select(0.001) if len(self.get_map()) > 1 else []
            if not ready:
                self._loop.jump(timeout)
            return ready
        # No timer is set. Somebody outside may still wake the loop (a signal, a thread that a test started), so give
        # them a moment of real time; a test that has come to a standstill should say so rather than hang.
        ready = super().select(1.0)
        if not ready:
            waiting = "\n".join(f"  {task!r}" for task in asyncio.all_tasks(self._loop))
            raise DeadlockError(f"nothing is ready and no timer is set, so these would wait for ever:\n{waiting}")
        return ready


def run_virtual(main: Coroutine[Any, Any, T], *, start: float = _START) -> T:
    """The outcome of *main*, run in a :class:`VirtualLoop` of its own, with the clock of elanus following that loop.

    :param start: the instant at which the loop's time begins.
    :raises DeadlockError: everything waits for ever.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner, elanus_reads(runner.get_loop().time):
        return runner.run(main)


@contextmanager
def elanus_reads(clock: Callable[[], float]) -> Iterator[None]:
    """Inside, every module of elanus and of its plugins that has taken ``time.monotonic`` reads *clock* instead."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0].startswith("elanus") and vars(module).get("monotonic") is time.monotonic
    ]
    for module in modules:
        vars(module)["monotonic"] = clock
    try:
        yield
    finally:
        for module in modules:
            vars(module)["monotonic"] = time.monotonic
