"""The loop that simulations run in: virtual time, and nothing but a heap of instants and a queue of what is ready.

:class:`elanus.testing.clock.VirtualLoop` has a selector, so that sockets work in it. A simulation opens none, and runs
tens of millions of callbacks; so this loop leaves everything else out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from elanus.testing.clock import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["START", "SimulationLoop", "StandstillError"]

#: Where virtual time begins: not at 0, so that an instant taken for a duration shows.
START = 1_000_000.0

#: Callbacks at one instant after which time is taken to stand still.
_MOST_AT_ONCE = 20_000_000


class StandstillError(RuntimeError):
    """Callbacks follow one another without end, and none of them waits: time would never go on."""


class _Soon(asyncio.Handle):
    """What :meth:`SimulationLoop.call_soon` returns. As its parent, without the parts that only debugging needs."""

    __slots__ = ()

    _context: Context
    _callback: Callable[..., Any]
    _args: tuple[Any, ...]

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], loop: SimulationLoop, context: Context | None
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class SimulationLoop(asyncio.BaseEventLoop):
    """An event loop without I/O whose time jumps from one timer to the next.

    Equal instants run in the order in which they were asked for, so that a run can be repeated exactly.
    """

    def __init__(self) -> None:
        super().__init__()
        #: The current instant, in seconds.
        self.now = START
        #: Callbacks that ran, for the cost of a run.
        self.steps = 0
        self._due: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._entries = 0
        self._soon: deque[_Soon] = deque()

    def time(self) -> float:
        return self.now

    def at(self, when: float, callback: Callable[..., Any], *args: Any) -> None:
        """Run *callback* at the instant *when*, outside of any context. Cheap, since it cannot be cancelled."""
        self._entries = entry = self._entries + 1
        heappush(self._due, (when, entry, callback, args))

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = _Soon(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)  # there is no other thread

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.at(when, self._ring, timer)
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _ring(self, timer: asyncio.TimerHandle) -> None:
        if not timer.cancelled():
            timer._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the heap until its time comes, and does nothing then."""

    def _run_once(self) -> None:
        """Everything that is ready, then the next timer; called by ``run_forever`` again and again."""
        self._run_ready()
        if self._stopping:  # type: ignore[attr-defined]
            return
        if not self._due:
            waiting = "\n".join(f"  {task!r}" for task in asyncio.all_tasks(self))
            raise DeadlockError(f"nothing is ready and no timer is set, so these would wait for ever:\n{waiting}")
        when, _, callback, args = heappop(self._due)
        if when > self.now:
            self.now = when
        self.steps += 1
        callback(*args)

    def _run_ready(self) -> None:
        soon = self._soon
        steps = 0
        while soon:
            handle = soon.popleft()
            steps += 1
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "a callback failed", "exception": error, "handle": handle})
            if steps >= _MOST_AT_ONCE:
                raise StandstillError(f"{steps} callbacks ran at one instant; something goes on without waiting")
        self.steps += steps

    def close(self) -> None:
        self._due.clear()
        self._soon.clear()
        super().close()

    def __del__(self) -> None:
        """One that never ran has nothing to close, and so no reason to warn."""
