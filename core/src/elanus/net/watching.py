"""Watches of resolvers, one per resolver and name, shared by all clients of an event loop that want the same."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import weakref
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from elanus.errors import DiscoveryError, ElanusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.resolver import Resolver
    from elanus.service import Instance

__all__ = ["Watch", "Watcher", "join_watch", "leave_watch", "watch_key"]

_log = logging.getLogger("elanus.discovery")

#: Seconds before a watch that has failed is begun again: the first time, and at most.
_FIRST_RETRY, _LONGEST_RETRY = 0.25, 10.0


class Watcher(Protocol):
    """Somebody who uses a watch."""

    def updated(self, instances: Sequence[Instance]) -> None:
        """The resolver has said which instances there are."""


def watch_key(choice: object) -> object:
    """What makes two choices of a resolver the same one: name and options, or the object itself."""
    match choice:
        case str(name):
            return name, "{}"
        case (str(name), Mapping() as options):
            return name, json.dumps(dict(options), sort_keys=True, default=repr)
    return id(choice)


class Watch:
    """A resolver's word on one name. Begins with the first look-up that is asked for, ends with its last watcher."""

    def __init__(self, resolver: Resolver, name: str) -> None:
        self.resolver = resolver
        self.name = name
        self.watchers: list[Watcher] = []
        self._instances: Sequence[Instance] | None = None
        #: Why the resolver cannot be asked at present; empty when it can.
        self.last_error = ""
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def join(self, watcher: Watcher) -> None:
        """Tell *watcher* of every set from now on, and of the last one at once."""
        self.watchers.append(watcher)
        if self._instances is not None:
            watcher.updated(self._instances)

    async def first(self) -> None:
        """Wait, with everybody else who needs it, until there is a set.

        :raises DiscoveryError: the look-up failed; whoever asks next looks up anew.
        """
        if self._instances is not None:
            return
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._first = loop.create_future()
            self._first.add_done_callback(_retrieved)
            self._task = loop.create_task(self._run(), name=f"elanus watch {self.name}")
        assert self._first is not None
        await asyncio.shield(self._first)

    async def aclose(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self.resolver.watch(self.name)) as sets:
                    async for instances in sets:
                        failures = 0
                        self._set(instances)
                problem: ElanusError = DiscoveryError(f"resolver {self.resolver.name!r} ended its watch")
            except Exception as error:
                problem = self._as_discovery_error(error)
            self.last_error = str(problem)
            if self._instances is None:
                self._fail(problem)
                return
            failures += 1
            wait = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)
            _log.warning("%s: keeping the last %d instances: %s", self.name, len(self._instances), problem)
            await asyncio.sleep(wait)

    def _set(self, instances: Sequence[Instance]) -> None:
        self._instances = instances = tuple(instances)
        self.last_error = ""
        for watcher in tuple(self.watchers):
            watcher.updated(instances)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _fail(self, problem: ElanusError) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(problem)

    def _as_discovery_error(self, problem: Exception) -> ElanusError:
        if isinstance(problem, ElanusError):
            return problem
        error = DiscoveryError(
            f"resolver {self.resolver.name!r} cannot look up {self.name!r}: {problem}",
            hint="Check the resolver's address and credentials",
        )
        error.__cause__ = problem
        return error


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # every waiter may have been cancelled; `last_error` has it


_Watches = dict[tuple[object, str], Watch]
_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watches] = weakref.WeakKeyDictionary()


def join_watch(key: object, resolver: Resolver, name: str, watcher: Watcher) -> Watch:
    """The watch of *name* for this loop: the one that stands, or a new one.

    :param key: tells resolvers apart, see :func:`watch_key`. All names of one key are watched by one resolver, the
        first that came; another one is dropped, never used.
    """
    watches = _by_loop.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get((key, name))
    if watch is None:
        watch = watches[key, name] = Watch(_resolver_of(watches, key) or resolver, name)
    watch.join(watcher)
    return watch


async def leave_watch(key: object, watch: Watch, watcher: Watcher, *, owned: bool) -> None:
    """Undo :func:`join_watch`; with its last watcher the watch ends.

    :param owned: close the resolver with its last watch; not one that the user made and may use elsewhere.
    """
    watch.watchers.remove(watcher)
    if watch.watchers:
        return
    watches = _by_loop.get(asyncio.get_running_loop(), {})
    watches.pop((key, watch.name), None)  # before the await: whoever joins meanwhile needs a watch that lives
    unused = _resolver_of(watches, key) is not watch.resolver
    await watch.aclose()
    if owned and unused:
        await watch.resolver.aclose()


def _resolver_of(watches: _Watches, key: object) -> Resolver | None:
    return next((watch.resolver for (other, _), watch in watches.items() if other == key), None)
