"""The resolver: reads a service's keys, follows their changes, and starts over whenever it may have missed one."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError, StateError
from elanus.settings import read_settings
from elanus_registry_etcd.connection import EtcdConnection, EtcdStream
from elanus_registry_etcd.failures import EtcdError
from elanus_registry_etcd.layout import service_key
from elanus_registry_etcd.settings import ResolverSettings
from elanus_registry_etcd.view import ServiceView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.service import Instance

__all__ = ["EtcdResolver"]

_log = logging.getLogger("elanus.discovery")

#: Seconds before looking again after a failure, each time twice as long up to the second, less up to half by chance.
_FIRST_RETRY, _LONGEST_RETRY = 0.25, 1.5
#: And at least so long, however long the failing took.
_SHORTEST_RETRY = 0.05
#: A watch that lasted so long was a good one: the next failure is a first one.
_GOOD_WATCH = 5.0
#: A set is handed out when nothing has changed for the first number of seconds, at the latest after the second.
_QUIET, _LATEST = 0.01, 0.1


class EtcdResolver(Resolver):
    """Looks up what Kitex's registry-etcd, or :class:`EtcdRegistry`, announced.

    Belongs to the event loop in which it is first used; all its watches share one connection.

    :param options: see the README's table: ``endpoints``, ``prefix``, ``user``, ``poll_interval``, ...
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    name = "etcd"

    def __init__(self, **options: object) -> None:
        self._settings = read_settings(ResolverSettings, "resolver 'etcd'", options)
        self._etcd = EtcdConnection(self._settings)
        self._followers: set[_Follower] = set()
        self._closed = False

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        """Complete sets of the instances of *name*, each when something has changed; see :meth:`Resolver.watch`.

        :raises DiscoveryError: no member of the cluster answered the first look-up, or they refuse this user.
        :raises ConfigError: etcd cannot hold such a name.
        """
        if self._closed:
            raise StateError("the resolver 'etcd' is closed", hint="Make a new one")
        follower = _Follower(self._etcd, name, self._settings)
        self._followers.add(follower)
        try:
            known = await follower.start()
            yield known
            while await follower.changed():
                current = follower.view.instances()
                if current != known:
                    known = current
                    yield known
        finally:
            self._followers.discard(follower)
            await follower.aclose()

    async def aclose(self) -> None:
        """End every watch, and close the connection."""
        self._closed = True
        await asyncio.gather(*(follower.aclose() for follower in self._followers))
        await self._etcd.aclose()


class _Follower:
    """Keeps a view of one service up to date, in a task of its own."""

    def __init__(self, etcd: EtcdConnection, name: str, settings: ResolverSettings) -> None:
        self.view = ServiceView(settings.default_weight)
        self._etcd = etcd
        self._name = name
        self._settings = settings
        self._key = service_key(settings.prefix, name).encode()
        # The range of a prefix ends before the next key that does not begin with it. This one ends with "/".
        self._end = self._key[:-1] + bytes([self._key[-1] + 1])
        self._news = asyncio.Event()
        self._seen = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> Sequence[Instance]:
        """Look up once, then go on following.

        :raises DiscoveryError: the look-up failed.
        """
        try:
            await self._look_up()
        except EtcdError as error:
            raise DiscoveryError(f"cannot look up {self._name!r}: {error}", hint=error.hint) from error
        self._seen = self.view.changes
        if not self._closed:
            self._task = asyncio.create_task(self._follow(), name=f"etcd watch {self._name}")
        return self.view.instances()

    async def changed(self) -> bool:
        """Wait for a change and until a burst of changes has passed; ``False`` when this was closed."""
        while self.view.changes == self._seen and not self._closed:
            self._news.clear()
            await self._news.wait()
        loop = asyncio.get_running_loop()
        latest = loop.time() + _LATEST
        while self.view.changes != self._seen and not self._closed:
            self._seen = self.view.changes
            if loop.time() < latest:
                await asyncio.sleep(_QUIET)
        return not self._closed

    async def aclose(self) -> None:
        """End the task; whoever waits for a change learns of it."""
        self._closed = True
        self._news.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        """Watch; when the watch ends, for whatever reason, look everything up anew and watch from there."""
        now = asyncio.get_running_loop().time
        failures = 0
        in_step = True  # the first look-up has just been made
        while not self._closed:
            started = now()
            try:
                if not in_step:
                    await self._look_up()
                in_step = False
                await self._watch()
            except EtcdError as error:
                # The text: whoever kept the error would keep its traceback, and with it a connection that is closed.
                problem = str(error)
            except Exception as error:  # a fault of ours must not end discovery
                _log.exception("%s: looking again after an unexpected error", self._name)
                problem = repr(error)
            if now() - started > _GOOD_WATCH:
                started, failures = now(), 0
            failures += 1
            # The first failure is often healed by the next look-up, and a line for each would flood the log.
            level = logging.WARNING if failures == 2 else logging.DEBUG
            _log.log(level, "%s: keeping the last %d instances: %s", self._name, len(self.view), problem)
            await asyncio.sleep(max(_SHORTEST_RETRY, started + _wait(failures) - now()))

    async def _look_up(self) -> None:
        request = self._etcd.api.RangeRequest(key=self._key, range_end=self._end)
        answer = await self._etcd.ask("KV/Range", request)
        self.view.replace(((one.key, one.value) for one in answer.kvs), answer.header.revision)
        self._news.set()

    async def _watch(self) -> None:
        """Apply changes as they come. Never returns.

        :raises EtcdError: the watch has ended, or may have missed something.
        """
        api, now = self._etcd.api, asyncio.get_running_loop().time
        create = api.WatchCreateRequest(key=self._key, range_end=self._end, start_revision=self.view.revision + 1)
        async with (
            self._etcd.stream("Watch/Watch", api.WatchRequest(create_request=create)) as stream,
            _Reader(stream) as reader,
        ):
            self._apply(await stream.first(), stream)
            while True:
                poll_at = now() + self._settings.poll_interval * random.uniform(0.9, 1.0)
                while (response := await reader.next(poll_at - now())) is not None:
                    self._apply(response, stream)
                await self._poll(stream)

    def _apply(self, response: Any, stream: EtcdStream) -> None:
        if response.compact_revision:
            raise stream.ended(f"what came after revision {self.view.revision} was compacted")
        if response.canceled:
            raise stream.ended(f"it cancelled the watch: {response.cancel_reason or 'no reason given'}")
        for event in response.events:
            entry = event.kv
            if event.type == event.DELETE:
                self.view.delete(entry.key, entry.mod_revision)
            else:
                self.view.put(entry.key, entry.value, entry.mod_revision)
        if response.events:
            self.view.reached(response.events[-1].kv.mod_revision)
            self._news.set()

    async def _poll(self, stream: EtcdStream) -> None:
        """Ask whether there is anything that the watch should have told, at the price of one small answer."""
        view = self.view
        request = self._etcd.api.RangeRequest(
            key=self._key, range_end=self._end, min_mod_revision=view.revision + 1, limit=1, keys_only=True
        )
        answer = await self._etcd.ask("KV/Range", request)
        if answer.header.revision < view.revision:
            raise stream.ended("its store has begun anew")
        # The count is that of the whole range, whatever the filter: it differs when a deletion was missed.
        if answer.kvs or answer.count != len(view):
            await self._look_up()


class _Reader:
    """Reads a stream with patience: a read that has begun goes on while its caller does something else."""

    def __init__(self, stream: EtcdStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[Any] | None = None

    async def next(self, seconds: float) -> Any:
        """The next response, or ``None`` when none came in time."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._stream.read(), name="etcd watch read")
        await asyncio.wait({self._reading}, timeout=max(0.0, seconds))
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    async def __aenter__(self) -> _Reader:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


def _wait(failures: int) -> float:
    return min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)
