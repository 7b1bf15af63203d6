"""A fleet under load while its registry suffers: what every outage test has in common."""

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import elanus
from elanus.contracts.resolver import Resolver

if TYPE_CHECKING:
    from elanus.service import Instance

__all__ = ["Fleet", "Watcher", "eventually", "leaves_nothing_behind"]

NAME = "acme.echo"
_CALL_EVERY = 0.01

idl = elanus.load(Path(__file__).with_name("echo.thrift"))


class EchoHandler:
    """Answers with its own name."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def echo(self, message: str) -> str:
        return f"{self._name}: {message}"


class Load:
    """Calls at a steady rate, from before the outage until after it. Every single one has to succeed."""

    def __init__(self, client: elanus.Client) -> None:
        self._client = client
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            try:
                answer = await self._client.echo("hi")
            except elanus.ElanusError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                name = answer.partition(":")[0]
                self.answers[name] = self.answers.get(name, 0) + 1
            await asyncio.sleep(_CALL_EVERY)


class Watcher:
    """Follows a name with a resolver of its own and remembers what it was told, and when."""

    def __init__(self, resolver: Resolver, name: str = NAME) -> None:
        self._resolver = resolver
        self._name = name
        self.known: Sequence[Instance] = ()
        self.sets = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        watch = self._resolver.watch(self._name)
        async with contextlib.aclosing(watch):
            async for instances in watch:
                self.known = instances
                self.sets += 1
                self._news.set()

    async def sees(self, condition: Callable[[set[str]], bool], seconds: float) -> None:
        """Wait until *condition* holds for the addresses.

        :raises TimeoutError: it did not within *seconds*; the text has what was seen.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition(self.addresses):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"after {seconds} s the watcher still sees {sorted(self.addresses)}") from None

    @property
    def addresses(self) -> set[str]:
        """What was told last."""
        return {instance.address for instance in self.known}


class Fleet:
    """Two servers that announce themselves, a client that finds and calls them without pause, and a watcher.

    :param registry: the choice of each server: name and options.
    :param resolver: the choice of the client, and of the watcher.
    :param make_resolver: a resolver with the same options, for the watcher.
    """

    def __init__(self, registry: tuple[str, dict[str, Any]], resolver: tuple[str, dict[str, Any]]) -> None:
        self._registry = registry
        self._resolver = resolver
        self.servers: list[elanus.Server] = []
        self.load: Load
        self.watcher: Watcher

    @property
    def addresses(self) -> set[str]:
        """Where the servers listen."""
        return {server.address for server in self.servers}

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[Fleet]":
        """The fleet, with calls under way to both servers."""
        async with contextlib.AsyncExitStack() as stack:
            for name in ("one", "two"):
                server = elanus.Server(name=NAME, registry=self._registry, drain_delay=0.0)
                server.add_service(idl.Echo, EchoHandler(name))
                await server.start("127.0.0.1:0")
                stack.push_async_callback(server.stop)
                self.servers.append(server)
            client = elanus.Client(idl.Echo, name=NAME, resolver=self._resolver)
            await stack.enter_async_context(client)
            resolver = elanus_resolver(*self._resolver)
            stack.push_async_callback(resolver.aclose)
            self.load, self.watcher = Load(client), Watcher(resolver)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.load.run()), group.create_task(self.watcher.run())]
                await self.watcher.sees(lambda seen: seen == self.addresses, 5.0)
                await eventually(lambda: len(self.load.answers) == 2, 5.0)
                yield self
                for task in tasks:
                    task.cancel()

    async def both_are_called(self, seconds: float = 5.0) -> None:
        """Wait until each server has answered anew."""
        self.load.answers.clear()
        await eventually(lambda: len(self.load.answers) == 2, seconds)

    def check_calls(self) -> None:
        """No call has failed."""
        assert not self.load.failures, f"{len(self.load.failures)} calls failed, the first: {self.load.failures[0]}"


def elanus_resolver(name: str, options: dict[str, Any]) -> Resolver:
    """A resolver by name."""
    from elanus.plugins import installed_plugins

    resolver: Resolver = installed_plugins().select("resolver", (name, options))
    return resolver


async def eventually(condition: Callable[[], bool], seconds: float, what: str = "it") -> None:
    """Wait until *condition*, which may block for a moment, holds.

    :raises AssertionError: it did not within *seconds*.
    """
    give_up = monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert monotonic() < give_up, f"after {seconds} s {what} does not hold"
        await asyncio.sleep(0.02)


class _Traces:
    """What a process holds: threads (gRPC's own included), descriptors, tasks."""

    def __init__(self) -> None:
        # The loop keeps the threads in which tests do what blocks.
        own = sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())
        self.threads = len(os.listdir("/proc/self/task")) - own
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.tasks = len(asyncio.all_tasks())

    def exceed(self, before: "_Traces") -> str:
        """What there is more of than before."""
        return ", ".join(
            f"{now} {name} instead of {then}"
            for name, now, then in (
                ("threads", self.threads, before.threads),
                ("descriptors", self.descriptors, before.descriptors),
                ("tasks", self.tasks, before.tasks),
            )
            if now > then
        )


@asynccontextmanager
async def leaves_nothing_behind(seconds: float = 5.0) -> AsyncIterator[None]:
    """What is opened inside is gone soon after: threads, descriptors and tasks.

    gRPC gives up a connection that was being made when its time is over, and not before: hence *seconds*.
    """
    before = _Traces()
    yield
    give_up = monotonic() + seconds
    while left := _Traces().exceed(before):
        gc.collect()
        assert monotonic() < give_up, f"left behind: {left}"
        await asyncio.sleep(0.05)
