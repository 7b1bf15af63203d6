"""Running handlers: from a request that a transport read to the answer that it writes."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from typing import TYPE_CHECKING, Any

from elanus.call import Event, serving
from elanus.contracts.limiter import Refusal
from elanus.contracts.transport import Dispatcher, Route
from elanus.errors import ApplicationError, ElanusError, RpcCancelledError
from elanus.timeline import SERVER_TIMELINE, written_phases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from elanus.call import Call
    from elanus.contracts.transport import Reply
    from elanus.endpoint import Endpoint
    from elanus.net.routing import Routes
    from elanus.service import MethodInfo

__all__ = ["HandlerDispatcher", "unary_handler"]

_log = logging.getLogger("elanus.server")

#: Below so many calls in flight nobody looks for stale ones.
_SWEEP_AT = 64
#: Seconds between two looks for stale calls at a server that is full.
_LOOK_AGAIN = 0.01


def unary_handler(function: Callable[..., Any], executor: Executor) -> Endpoint:
    """The innermost endpoint of a unary or oneway method: calls the user's handler.

    A plain function runs in a thread of *executor*, with the context of its call. What the handler raises is noted on
    the call, so that the rooms outside can tell it from a bug in a middleware.
    """
    if inspect.iscoroutinefunction(function):
        run = function
    else:

        async def run(*arguments: Any) -> Any:
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(executor, lambda: context.run(_in_thread, function, arguments))
            return await result if inspect.isawaitable(result) else result

    async def endpoint(call: Call) -> Any:
        call.mark(Event.HANDLER_START)
        try:
            return await run(*call.arguments)
        except Exception as error:
            call.error = error
            raise
        finally:
            call.mark(Event.HANDLER_FINISH)

    return endpoint


def _in_thread(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    except StopIteration as error:
        # No future takes one before Python 3.12: its waiter would wait for ever.
        raise RuntimeError("the handler raised StopIteration") from error


class HandlerDispatcher(Dispatcher):
    """Core's side of a server: the routes, the composed chains, and the calls in flight."""

    def __init__(
        self,
        routes: Routes,
        endpoints: Mapping[MethodInfo, Endpoint],
        calls: int,
        refused: Callable[[Refusal, Call], None] = lambda refusal, call: None,
    ) -> None:
        self._routes = routes
        self._endpoints = endpoints
        self._limit = calls
        self._full = Refusal("limits.calls", calls, "too many calls in flight")
        self._refused = refused
        self._sweep_at = min(calls, _SWEEP_AT)
        self._full_until = 0.0
        self._loop = asyncio.get_running_loop()
        #: Calls in flight, each with the task that runs it.
        self.running: dict[Call, asyncio.Task[None]] = {}
        self._idle: asyncio.Future[None] | None = None
        self._cutting = False
        #: Nobody wants to wait for calls in flight any longer.
        self.hurried = False

    def replace(self, endpoints: Mapping[MethodInfo, Endpoint]) -> None:
        """Run calls that arrive from now on in other chains."""
        self._endpoints = endpoints

    def route(self, service: str | None, method: str, wire: str) -> Route:
        return self._routes.find(service, method, wire)

    def dispatch(self, call: Call, reply: Reply) -> asyncio.Task[None] | None:
        if len(self.running) >= self._sweep_at and not self._room():
            self._refused(self._full, call)
            reply(call, None, _over_limit(self._full))
            return None
        task = self._loop.create_task(self._run(call, reply, self._endpoints[call.method]))
        self.running[call] = task
        return task

    def _room(self) -> bool:
        """Whether another call may run. A task that was cancelled before its first step could not take itself out of
        ``running``, so this does; the next time when the calls have doubled, which makes it O(1) a call. When full,
        it does not look again at once: in a flood, looking would cost more than serving.
        """
        now = self._loop.time()
        if now < self._full_until and len(self.running) >= self._limit:
            return False
        self._sweep()
        self._sweep_at = min(self._limit, max(_SWEEP_AT, 2 * len(self.running)))
        if len(self.running) < self._limit:
            return True
        self._full_until = now + _LOOK_AGAIN
        return False

    def _sweep(self) -> None:
        self.running = {call: task for call, task in self.running.items() if not task.done()}

    @property
    def calls(self) -> int:
        """Calls in flight."""
        self._sweep()
        return len(self.running)

    async def _run(self, call: Call, reply: Reply, endpoint: Endpoint) -> None:
        serving(call)
        problem: ElanusError | None = None
        try:
            await endpoint(call)
        except ElanusError as error:
            problem = error
        except asyncio.CancelledError:
            if self._cutting:
                raise  # the end of the connection tells whoever still waits
            # Either that, or the peer is gone: then its transport drops the answer. The task cannot tell the two apart.
            problem = ApplicationError(ApplicationError.INTERNAL_ERROR, "the handler cancelled itself")
            problem.__cause__ = RpcCancelledError("the handler raised CancelledError")
        finally:
            del self.running[call]
            if self._idle is not None and not self.running and not self._idle.done():
                self._idle.set_result(None)
        call.mark(Event.FINISH)
        if call.metadata.transient and SERVER_TIMELINE in call.metadata.transient:
            call.send_back(SERVER_TIMELINE, written_phases(call.phases()))
        try:
            reply(call, call.reply_payload, problem)
            call.mark(Event.WRITTEN)
        except Exception:
            _log.exception("the reply of %s to %s could not be sent", call.method, call.peer)
        finally:
            # An error's traceback holds this frame and the call; either name would close the circle.
            problem = call.error = None

    def hurry(self) -> None:
        """Let :meth:`drain` wait no longer, or not at all."""
        self.hurried = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def drain(self, timeout: float) -> int:
        """Wait until no call is in flight, for *timeout* seconds at most; then cancel the rest.

        :returns: how many calls were cancelled.
        """
        self._sweep()
        if self.running and not self.hurried:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=timeout)
            self._idle = None
        left = list(self.running.values())
        self._cutting = True
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        return len(left)


def _over_limit(refusal: Refusal) -> ApplicationError:
    error = ApplicationError(ApplicationError.INTERNAL_ERROR, f"request over limit: {refusal.text}")
    error.phase = "limit"
    return error
