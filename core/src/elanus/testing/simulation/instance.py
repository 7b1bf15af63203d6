"""A simulated instance: how long it takes, how many calls it works on at once, and what is wrong with it now."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from elanus.errors import ApplicationError
from elanus.service import Instance
from elanus.testing.simulation.latency import as_latency

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from random import Random

    from elanus.errors import ElanusError
    from elanus.testing.simulation.fleet import Fault, Group
    from elanus.testing.simulation.loop import SimulationLoop
    from elanus.testing.simulation.wire import SimulatedConnection

__all__ = ["Job", "QueueFullError", "SimulatedInstance", "Workers"]


class Job:
    """A piece of work that waits for a worker, or has one. *done* is called when it has been done.

    :param size: of the work, as compared with the usual one.
    """

    __slots__ = ("cancelled", "done", "running", "size")

    def __init__(self, size: float, done: Callable[[], None]) -> None:
        self.size = size
        self.done = done
        self.running = False
        self.cancelled = False


class Workers:
    """A number of workers, and one queue before them: first come, first served.

    :param most_waiting: how many may wait.
    :param work: asked, when a worker begins with a job of the usual size, how many seconds it takes.
    """

    def __init__(self, loop: SimulationLoop, count: int, most_waiting: float, work: Callable[[], float]) -> None:
        self._loop = loop
        self._work = work
        self._free = count
        self._waiting: deque[Job] = deque()
        self._gone = 0  # in the queue, and cancelled
        self._most_waiting = most_waiting
        self.longest = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting) - self._gone

    def add(self, job: Job) -> bool:
        """Take a job on; ``False``: the queue is full."""
        if self._free > 0:
            self._free -= 1
            self._start(job)
            return True
        if self.waiting >= self._most_waiting:
            return False
        self._waiting.append(job)
        self.longest = max(self.longest, self.waiting)
        return True

    def cancel(self, job: Job) -> None:
        """Nobody wants its result. A worker that is at it stops, and takes the next one."""
        if job.cancelled:
            return
        job.cancelled = True
        if job.running:
            self._next()
        else:
            self._gone += 1

    def _start(self, job: Job) -> None:
        job.running = True
        self._loop.at(self._loop.now + self._work() * job.size, self._finish, job)

    def _finish(self, job: Job) -> None:
        if job.cancelled:
            return
        job.cancelled = True  # from now on there is nothing to cancel
        self._next()
        job.done()

    def _next(self) -> None:
        while self._waiting:
            job = self._waiting.popleft()
            if not job.cancelled:
                self._start(job)
                return
            self._gone -= 1
        self._free += 1


class SimulatedInstance:
    """One instance, what is wrong with it now, and what it has seen so far.

    :param chance: for service times and for errors.
    """

    def __init__(self, loop: SimulationLoop, group: Group, number: int, chance: Random) -> None:
        self.group = group
        self.instance = Instance(_address(number), group.weight, group.tags)
        self.connections: dict[SimulatedConnection, None] = {}
        self.workers = None if group.workers is None else Workers(loop, group.workers, _bound(group.queue), self.work)
        self._loop = loop
        self._chance = chance
        self._draw = as_latency(group.latency).sampler(chance)
        self._faults: list[Fault] = []
        self._joined = loop.now + group.joins
        self._cooling = group.cold is not None
        self._slower, self._late, self._errors = 1.0, 0.0, group.errors
        self.silent = self.refusing = False
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        #: Requests that arrived; how many of them were further attempts.
        self.attempts = 0
        self.retries = 0
        self.hedges = 0
        #: What was answered: with a reply, with an error, with a refusal; and what came too late for its caller.
        self.succeeded = 0
        self.failed = 0
        self.refused = 0
        self.abandoned = 0
        #: Connections that were made, and that were refused.
        self.connected = 0
        self.connects_refused = 0
        #: Seconds of work that were begun.
        self.worked = 0.0

    def begin(self, fault: Fault) -> None:
        """*fault* begins."""
        self._faults.append(fault)
        self._apply()
        if self.refusing:
            for connection in list(self.connections):
                connection.lose("the process is gone")

    def end(self, fault: Fault) -> None:
        """*fault* is over."""
        self._faults.remove(fault)
        self._apply()

    def _apply(self) -> None:
        slower, late, well = 1.0, 0.0, 1.0 - self.group.errors
        for fault in self._faults:
            slower *= fault.slower
            late += fault.late
            well *= 1.0 - fault.errors
        self._slower, self._late, self._errors = slower, late, 1.0 - well
        self.silent = any(fault.silent for fault in self._faults)
        self.refusing = any(fault.refusing for fault in self._faults)

    def work(self) -> float:
        """Seconds that a call takes of which the work begins now."""
        seconds = self._draw() * self._slower
        if self._cooling:
            seconds *= self._coldness()
        self.worked += seconds
        return seconds

    def _coldness(self) -> float:
        cold = self.group.cold
        assert cold is not None
        age = self._loop.now - self._joined
        if age >= cold.seconds:
            self._cooling = False
            return 1.0
        return cold.slower + (1.0 - cold.slower) * age / cold.seconds

    def outcome(self) -> ElanusError | None:
        """How one more call ends."""
        return self.group.error() if self._errors and self._chance.random() < self._errors else None

    @property
    def way(self) -> float:
        """Seconds that an answer takes on its way."""
        return self.group.round_trip + self._late

    def arrive(self, connection: SimulatedConnection, reply: asyncio.Future[Any], work: float) -> None:
        """A request of *work* times the usual size. *connection* gets the answer."""
        error = self.outcome()
        if self.workers is None:
            self._loop.at(self._loop.now + self.work() * work + self.way, connection.answer, reply, error)
            return
        job = Job(work, lambda: self._loop.at(self._loop.now + self.way, connection.answer, reply, error))
        if not self.workers.add(job):
            self._loop.at(self._loop.now + self.way, connection.answer, reply, QueueFullError(self.group.queue), True)
        elif self.group.cancels:
            connection.jobs[reply] = job


class QueueFullError(ApplicationError):
    """What a caller gets who finds no place in the queue."""

    def __init__(self, queue: int | None) -> None:
        super().__init__(ApplicationError.INTERNAL_ERROR, f"request over limit: {queue} calls wait")


def _bound(queue: int | None) -> float:
    return inf if queue is None else queue


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:80"
