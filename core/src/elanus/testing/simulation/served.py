"""A real server inside of a simulated instance: its rooms, its limiter and its deadlines, around simulated work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elanus.call import Call
from elanus.deadline import after
from elanus.errors import ApplicationError, ElanusError
from elanus.options import CallOptions
from elanus.server import Server
from elanus.testing.simulation.instance import Job, QueueFullError
from elanus.testing.simulation.wire import NAME

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping

    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import Route
    from elanus.service import ServiceInfo
    from elanus.testing.simulation.instance import SimulatedInstance
    from elanus.testing.simulation.loop import SimulationLoop
    from elanus.testing.simulation.wire import SimulatedConnection

__all__ = ["Served"]

_DEFAULTS = CallOptions()


class Served:
    """The server of one instance. Its handlers work as the instance's group says.

    :param work: by method, how much longer its calls take than others.
    """

    def __init__(
        self, loop: SimulationLoop, instance: SimulatedInstance, service: ServiceInfo, work: Mapping[str, float]
    ) -> None:
        self._loop = loop
        self._instance = instance
        self.address = instance.instance.address
        self._service = service
        self._routes: dict[str, Route] = {}
        self._tasks: dict[asyncio.Future[Payload], asyncio.Task[None]] = {}
        self.server = Server(**instance.group.server_options())
        handlers = {name: self._handler(work[name]) for name in service.methods}
        self.server.add_service(service, SimpleNamespace(**handlers))

    def _handler(self, work: float) -> Callable[[Any], Awaitable[None]]:
        async def handle(argument: Any) -> None:
            await self._do(work)

        return handle

    async def _do(self, work: float) -> None:
        instance, loop = self._instance, self._loop
        error = instance.outcome()
        done: asyncio.Future[None] = loop.create_future()
        finish = _finisher(done)
        if instance.workers is None:
            loop.at(loop.now + instance.work() * work, finish)
            await done
        else:
            job = Job(work, finish)
            if not instance.workers.add(job):
                raise QueueFullError(instance.group.queue)
            try:
                await done
            finally:
                instance.workers.cancel(job)
        if error is not None:
            raise error

    def request(self, call: Call, reply: asyncio.Future[Payload], connection: SimulatedConnection) -> None:
        """A request of the client's *call* has arrived on *connection*."""
        dispatcher = self.server.dispatcher
        name = call.method.name
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = dispatcher.route(self._service.name, name, NAME)
        arrived = Call(route.service, route.method, (), _DEFAULTS, caller=call.caller, callee=call.callee)
        arrived.argument_payload = b""
        arrived.seq_id, arrived.peer, arrived.transport = call.seq_id, "client", NAME
        arrived.metadata, arrived.headers, arrived.log_id = call.metadata, call.headers, call.log_id
        arrived.retried = call.attempt > 0
        left = call.remaining()
        if left is not None:
            arrived.deadline = after(left)
            arrived.limit = ("deadline", left)

        def answer(arrived: Call, payload: bytes | None, error: ElanusError | None) -> None:
            self._tasks.pop(reply, None)
            if getattr(error, "cut", False):
                connection.lose("the server closed the connection")
                return
            refused = error is not None and (error.phase == "limit" or isinstance(error.__cause__, QueueFullError))
            self._loop.at(self._loop.now + self._instance.way, connection.answer, reply, _copied(error), refused)

        task = dispatcher.dispatch(arrived, answer)
        if task is not None:
            self._tasks[reply] = task

    def cancel(self, reply: asyncio.Future[Payload]) -> None:
        """The caller waits no longer, and this server got to know."""
        task = self._tasks.pop(reply, None)
        if task is not None:
            task.cancel()


def _finisher(done: asyncio.Future[None]) -> Callable[[], None]:
    def finish() -> None:
        if not done.done():
            done.set_result(None)

    return finish


def _copied(error: ElanusError | None) -> ElanusError | None:
    """As it comes out of a wire: it knows nothing of the other side's frames."""
    if error is None:
        return None
    code = error.code if isinstance(error, ApplicationError) else ApplicationError.INTERNAL_ERROR
    return ApplicationError(code, error.message if isinstance(error, ApplicationError) else error.cause_text())
