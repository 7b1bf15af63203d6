"""Running a simulation: real clients over simulated instances, under a load, until it is over."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from bisect import bisect
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate, count
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from elanus.client import Client
from elanus.errors import ConfigError
from elanus.plugins import installed_plugins
from elanus.testing.clock import elanus_reads
from elanus.testing.simulation.fleet import Group
from elanus.testing.simulation.instance import SimulatedInstance
from elanus.testing.simulation.latency import as_latency
from elanus.testing.simulation.load import Arrivals, Kind, Load, Users
from elanus.testing.simulation.loop import SimulationLoop
from elanus.testing.simulation.recording import Recorder
from elanus.testing.simulation.report import Cost, Report
from elanus.testing.simulation.served import Served
from elanus.testing.simulation.wire import SimulatedResolver, SimulatedTransport, simulated_service

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from elanus.options import MethodOptions

__all__ = ["simulate"]

#: The name of the tasks of calls.
_CALL = "simulated call"
#: New objects after which the collector looks for cycles.
_GARBAGE = 200_000
#: What can be chosen with a seed, and the kind of plugin that offers it.
_SEEDED = {"balancer": "balancer", "retrier": "retrier", "service_breaker": "breaker", "instance_breaker": "breaker"}
_EVENTS = ("service_cb", "instance_cb", "instance_ejected", "discovery_change")


def simulate(
    groups: Group | Sequence[Group],
    load: Load,
    *,
    seconds: float = inf,
    calls: int | None = None,
    seed: int = 0,
    skip: float = 0.0,
    drain: float = 60.0,
    interval: float = 1.0,
    kinds: Mapping[str, Kind] | None = None,
    clients: int = 1,
    **options: Any,
) -> Report:
    """Run clients of elanus against simulated instances, in virtual time, and report what happened.

    The clients are real ones, with all their rooms, and so are balancers, breakers, limiters and retriers: what is
    simulated is the instances, the way to them, and time. Equal arguments give equal reports, to the last digit.

    :param groups: the instances.
    :param load: :class:`Poisson` or :class:`Evenly` (arrivals), or :class:`Users`.
    :param seconds: how long calls are begun, in virtual time.
    :param calls: how many calls are begun at most. One of *seconds* and *calls* must be given.
    :param seed: of all chance: arrivals, latencies, errors, and of the policies that are given by name and take a seed.
        A policy given as an object has what seed it was made with.
    :param skip: seconds at the start that count only in the series, not in totals and histograms.
    :param drain: seconds that calls in flight get at the end; what is left then counts as unfinished.
    :param interval: seconds of each of the stretches in the report's series.
    :param kinds: the methods that are called, by name; by default one, called ``ask``.
    :param clients: how many clients share the load, in turn. Each has its own policies where they are given by name.
    :param options: options of :class:`elanus.Client`: ``balancer=``, ``retrier=``, ``timeout=``, ``middlewares=`` ...
    :raises ConfigError: neither *seconds* nor *calls* is given; or an option of a client or server is wrong.
    :raises PluginError: a policy that is named is not installed.
    """
    if seconds == inf and calls is None:
        raise ConfigError("a simulation without an end", hint="Give seconds= or calls=")
    if interval <= 0 or clients < 1:
        raise ConfigError(f"interval={interval}, clients={clients}", hint="Give an interval above 0, and a client")
    some = [groups] if isinstance(groups, Group) else list(groups)
    simulation = _Simulation(some, load, kinds or {"ask": Kind()}, Random(f"{seed}"), interval)
    simulation.limit(seconds, calls, skip, drain)
    simulation.build_clients(clients, options)
    return _apart(simulation.run)


def _apart(run: Callable[[], Report]) -> Report:
    """Run it here, or, inside of a running event loop, in a thread for which this one waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        inside = False
    else:
        inside = True
    if not inside:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


@contextmanager
def _overload_unlogged() -> Iterator[None]:
    """Of what servers of this thread refuse no line is logged, which would be thousands: the report counts it."""
    thread, log = threading.get_ident(), logging.getLogger("elanus.server")

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.module != "refusals" or record.levelno > logging.WARNING

    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


class _Simulation:
    """One run, from its parts to its report."""

    def __init__(
        self, groups: list[Group], load: Load, kinds: Mapping[str, Kind], seeds: Random, interval: float
    ) -> None:
        self._loop = loop = SimulationLoop()
        self._start = loop.now
        self._load = load
        self._kinds = kinds
        self._groups = groups
        self._interval = interval
        # One source of chance for each purpose: another balancer does not change when calls come.
        self._arrivals, self._choices, service, self._policies = (Random(seeds.getrandbits(64)) for _ in range(4))
        self._service = simulated_service(list(kinds))
        self._work = {name: kind.work for name, kind in kinds.items()}
        numbers = count(1)
        self._instances = [
            SimulatedInstance(loop, group, next(numbers), service) for group in groups for _ in range(group.count)
        ]
        self.recorder = Recorder(loop, list(kinds), interval)
        by_address = {one.instance.address: one for one in self._instances}
        self._resolver = SimulatedResolver()
        self._transport = SimulatedTransport(by_address, self.recorder, self._work)
        self._served = [Served(loop, one, self._service, self._work) for one in self._instances if one.group.served]
        self._clients: list[Client] = []
        self._unfinished = 0

    def limit(self, seconds: float, calls: int | None, skip: float, drain: float) -> None:
        """When it ends."""
        self._seconds = seconds
        self._calls = inf if calls is None else calls
        self._skip = skip
        self._drain = drain

    # -- building -----------------------------------------------------------------------------------------------

    def build_clients(self, number: int, options: Mapping[str, Any]) -> None:
        """Build the clients, each with policies of its own as far as they are chosen by name."""
        for _ in range(number):
            own = dict(options)
            for option, kind in _SEEDED.items():
                own[option] = self._seeded(kind, own.get(option, "weighted" if option == "balancer" else None))
            own["methods"] = {name: self._method(one) for name, one in dict(own.get("methods", {})).items()}
            client = Client(self._service, transport=self._transport, resolver=self._resolver, **own)
            self._clients.append(client)

    def _method(self, options: MethodOptions) -> MethodOptions:
        return replace(options, retrier=self._seeded("retrier", options.retrier))

    def _seeded(self, kind: str, choice: Any) -> Any:
        """A policy chosen by name that takes a seed gets one, so that the whole run follows from one number."""
        seed = self._policies.getrandbits(32)
        match choice:
            case str(name):
                values: dict[str, Any] = {}
            case (str(name), given) if "seed" not in given:
                values = dict(given)
            case _:
                return choice
        try:
            return installed_plugins().select(kind, (name, {**values, "seed": seed}))
        except ConfigError:
            return choice  # it knows no seed; or something else is wrong, which the client will say

    def _make_callers(self) -> None:
        """For each client one function per kind, and a way to choose between them."""
        names = list(self._kinds)
        ends = list(accumulate(self._kinds[name].share for name in names))
        inner, total, draw = ends[:-1], ends[-1], self._choices.random
        turns = count()
        table = [[self._caller(client, name) for name in names] for client in self._clients]

        def only() -> Coroutine[Any, Any, None]:
            return table[0][0]()

        def any_of() -> Coroutine[Any, Any, None]:
            row = table[next(turns) % len(table)]
            return row[bisect(inner, draw() * total)]()

        self._call = only if len(names) == len(table) == 1 else any_of

    def _caller(self, client: Client, name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        kind, recorder, loop, choices = self._kinds[name], self.recorder, self._loop, self._choices
        if kind.metadata or kind.options:
            client = client.with_options(**{**kind.options, **({"metadata": kind.metadata} if kind.metadata else {})})
        method, argument = getattr(client, name), kind.argument

        async def call() -> None:
            began = loop.now
            recorder.begin(name)
            value = recorder.started if argument is None else argument(choices)
            try:
                await method(value)
            except Exception as error:
                recorder.fail(name, began, error)
            else:
                recorder.succeed(name, began)
            if not recorder.running:
                self._idle()

        return call

    # -- running ------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run it to its end."""
        began, worked = time.perf_counter(), time.process_time()
        thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
        gc.collect()
        # What there is now stays, and calls leave no cycles; but they live long enough to be looked through again and
        # again, for a third of the time of the run.
        gc.freeze()
        gc.set_threshold(_GARBAGE, *thresholds[1:])
        try:
            with (
                asyncio.Runner(loop_factory=lambda: self._loop) as runner,
                elanus_reads(self._loop.time),
                _overload_unlogged(),
            ):
                runner.run(self._main())
                steps = self._loop.steps
        finally:
            gc.set_threshold(*thresholds)
            if not frozen:
                gc.unfreeze()
        cost = Cost(time.perf_counter() - began, time.process_time() - worked, steps, _peak_memory())
        return Report.of(self.recorder, self._instances, self._interval, self._unfinished, cost)

    async def _main(self) -> None:
        async with AsyncExitStack() as stack:
            for served in self._served:
                await served.server.start()
                stack.push_async_callback(served.server.stop)
                self._transport.servers[served.address] = served
                self._watch(served.server, f"server {served.address}")
            stack.enter_context(elanus_reads(self._loop.time))  # of plugins that the servers have loaded
            self._schedule_fleet()
            for number, client in enumerate(self._clients, 1):
                self._watch(client, f"client {number}")
                await stack.enter_async_context(client)
            self._make_callers()
            self._ended: asyncio.Future[None] = self._loop.create_future()
            if self._skip:
                self._loop.at(self._start + self._skip, self._reset)
            self._begin_load()
            await self._ended
            for task in asyncio.all_tasks():
                if task.get_name() == _CALL:
                    task.cancel()

    def _watch(self, source: Any, name: str) -> None:
        if hasattr(source, "events"):
            for event in _EVENTS:
                source.events.watch(event, partial(self.recorder.happened, name))

    def _reset(self) -> None:
        self.recorder.reset()
        for instance in self._instances:
            instance.reset()

    def _schedule_fleet(self) -> None:
        """Let instances join and leave, and faults begin and end, when their groups say so."""
        edges = {at for group in self._groups for at in (group.joins, group.leaves) if 0 < at < inf}
        self._discover()
        for at in sorted(edges):
            self._loop.at(self._start + at, self._discover)
        for instance in self._instances:
            for fault in instance.group.faults:
                self._loop.at(self._start + fault.start, instance.begin, fault)
                if fault.end < inf:
                    self._loop.at(self._start + fault.end, instance.end, fault)

    def _discover(self) -> None:
        now = self._loop.now - self._start
        present = {id(group) for group in self._groups if group.joins <= now < group.leaves}
        self._resolver.set([one.instance for one in self._instances if id(one.group) in present])

    # -- the load -----------------------------------------------------------------------------------------------

    def _begin_load(self) -> None:
        if self._seconds < inf:
            self._loop.at(self._start + self._seconds, self._stop_load)
        if isinstance(self._load, Users):
            think = as_latency(self._load.think).sampler(self._arrivals)
            for _ in range(self._load.count):
                self._spawn(self._user(think, self._load.after_error))
        else:
            assert isinstance(self._load, Arrivals)
            self._following = self._load.instants(self._arrivals)
            self._next_arrival(self._following(0.0))

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        asyncio.Task(call, loop=self._loop, name=_CALL)  # kept alive by the reply or the timer that it waits for

    def _next_arrival(self, at: float) -> None:
        if at < self._seconds:
            self._loop.at(self._start + at, self._arrive, at)
        elif self._seconds == inf:
            self._stop_load()  # nobody ever comes again

    def _arrive(self, at: float) -> None:
        self._spawn(self._call())
        if self.recorder.started + 1 >= self._calls:
            self._loop.at(self._loop.now, self._stop_load)
        else:
            self._next_arrival(self._following(at))

    async def _user(self, think: Callable[[], float], after_error: float) -> None:
        recorder = self.recorder
        while recorder.open and recorder.started < self._calls:
            failed = recorder.failed
            await self._call()
            pause = think()
            if recorder.failed != failed:
                pause = max(pause, after_error)
            if pause > 0:
                await asyncio.sleep(pause)
        self._stop_load()

    def _stop_load(self) -> None:
        """No further call begins. Those that run get some more time."""
        if self.recorder.open:
            self.recorder.close()
            self._loop.at(self._loop.now + self._drain, self._end)
            self._idle()

    def _idle(self) -> None:
        """No call runs."""
        if not self.recorder.open and self.recorder.running == 0:
            self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._unfinished = self.recorder.running
            self._ended.set_result(None)


def _peak_memory() -> int:
    """Bytes of memory that this process has had at most; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
