"""Attempts of one call that run beside each other: the part of ``retry`` that only hedged calls need."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import Retry, Stop
from elanus.errors import RpcCancelledError
from elanus.middlewares.repeating import in_time, next_attempt, pause, restore

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call
    from elanus.contracts.retrier import Plan
    from elanus.endpoint import Endpoint
    from elanus.middlewares.repeating import Intent

__all__ = ["Race"]

#: Attempts that lost and were cancelled, until they are done: the loop holds its tasks by weak references only.
_reaped: set[asyncio.Task[Any]] = set()


class Race:
    """The attempts of one call, from the first one that is to be hedged until one of them decides.

    That first one runs in the caller's own task, so that a call whose hedge is never needed costs a timer and no task.
    Every further one is a task in the caller's context. When another attempt wins, the caller's task is cancelled to
    end the first one, and that cancellation is taken back, as :func:`asyncio.timeout` does.
    """

    __slots__ = (
        "_call",
        "_cut",
        "_endpoint",
        "_head",
        "_inline",
        "_intent",
        "_latest",
        "_loop",
        "_outcome",
        "_pending",
        "_plan",
        "_tasks",
        "_timer",
        "_waiter",
    )

    def __init__(self, plan: Plan, call: Call, endpoint: Endpoint, intent: Intent) -> None:
        self._plan = plan
        self._call = call
        self._endpoint = endpoint
        self._intent = intent
        self._head = self._latest = call
        self._loop = asyncio.get_running_loop()
        #: The caller's task while the first of these attempts, the head, runs in it.
        self._inline: asyncio.Task[Any] | None = None
        self._tasks: dict[asyncio.Task[Any], Call] = {}
        #: The clock of the plan, or of the pause before a further attempt, which is then pending.
        self._timer: asyncio.TimerHandle | None = None
        self._pending = False
        #: Whether the caller's task was cancelled from here.
        self._cut = False
        self._waiter: asyncio.Future[None] | None = None
        self._outcome: tuple[Call, Any, BaseException | None] | None = None

    async def run(self, attempt: Call, delay: float) -> Any:
        """The reply of the attempt that decides, or its error; *attempt* has been started already."""
        self._head = self._latest = attempt
        self._inline = task = asyncio.current_task(self._loop)
        assert task is not None
        before = task.cancelling()
        self._timer = self._loop.call_later(delay, self._step, self._due)
        try:
            try:
                reply = await self._endpoint(attempt)
            except Exception as error:
                self._inline = None
                self._ended(attempt, None, error)
            else:
                self._inline = None
                self._ended(attempt, reply, None)
            if self._outcome is None:
                self._waiter = self._loop.create_future()
                await self._waiter
        except asyncio.CancelledError:
            cut, self._cut = self._cut, False
            if not cut or task.uncancel() > before:  # somebody else wants this task to end
                if attempt is not self._call:
                    self._call.adopt(attempt)
                raise
        finally:
            self._close()
            if self._cut:
                task.uncancel()  # a room inside made something else of our cancellation
        return self._result()

    def _result(self) -> Any:
        assert self._outcome is not None
        winner, reply, error = self._outcome
        self._outcome = None
        if winner is not self._call:
            restore(self._call, self._intent)
            self._call.adopt(winner)
        if error is None:
            return reply
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    def _arm(self, delay: float | None, step: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None else self._loop.call_later(delay, self._step, step)

    def _step(self, step: Callable[[], None]) -> None:
        self._timer = None
        try:
            step()
        except Exception as bug:  # of the plan: the caller gets it, as it does from an attempt that runs inline
            self._decide(self._latest, None, bug)

    def _due(self) -> None:
        verdict = self._plan.due(monotonic())
        if isinstance(verdict, Retry) and in_time(verdict.after, self._intent):
            self._begin_after(verdict.after)

    def _begin_after(self, after: float) -> None:
        if self._pending:
            return  # one further attempt is about to start; it is the one that was asked for twice
        if after > 0:
            self._pending = True
            self._arm(after, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._pending = False
        plan = self._plan
        alone = self._inline is None and not self._tasks
        attempt = next_attempt(
            self._call, self._latest, self._intent, same_instance=plan.same_instance, hedge=not alone
        )
        self._latest = attempt
        delay = plan.started(attempt, monotonic())
        task = self._loop.create_task(_run(self._endpoint, attempt))
        self._tasks[task] = attempt
        task.add_done_callback(self._task_done)
        self._arm(delay, self._due)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        attempt = self._tasks.pop(task, None)
        if attempt is None:
            return  # it lost
        itself = RpcCancelledError("the attempt ended itself by cancelling") if task.cancelled() else None
        error = itself or task.exception()
        try:
            if error is None:
                self._ended(attempt, task.result(), None)
            elif isinstance(error, Exception):
                self._ended(attempt, None, error)
            else:
                self._decide(attempt, None, error)  # nothing that a plan has a say in
        except Exception as bug:
            self._decide(attempt, None, bug)
        finally:
            del error, itself  # a traceback leads back here

    def _ended(self, attempt: Call, reply: Any, error: Exception | None) -> None:
        if self._outcome is not None:
            return  # it was cut, and made an outcome of that
        running = len(self._tasks) + self._pending + (self._inline is not None)
        verdict = self._plan.ended(attempt, reply, error, running, monotonic())
        after = pause(verdict, attempt, self._intent, error, repeatable=True)
        if after is not None or running or self._latest is not self._call:
            attempt.end(error)  # a call whose only attempt ran on itself keeps no record
        if after is not None:
            self._begin_after(after)
        elif isinstance(verdict, Stop) or not running:
            self._decide(attempt, reply, error)

    def _decide(self, attempt: Call, reply: Any, error: BaseException | None) -> None:
        if self._outcome is not None:
            return
        self._outcome = attempt, reply, error
        self._close()
        if self._inline is not None:
            self._cut = True
            self._inline.cancel()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _close(self) -> None:
        """Stop the clock, and cancel whoever still runs. They unwind in the background."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._inline is not None and self._latest is not self._call:
            self._head.end(asyncio.CancelledError())
        tasks, self._tasks = self._tasks, {}
        for task, attempt in tasks.items():
            attempt.end(asyncio.CancelledError())
            _reaped.add(task)
            task.add_done_callback(_reap)
            task.cancel()


async def _run(endpoint: Endpoint, attempt: Call) -> Any:
    return await endpoint(attempt)


def _reap(task: asyncio.Task[Any]) -> None:
    _reaped.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it; asked for, so that asyncio does not report it
