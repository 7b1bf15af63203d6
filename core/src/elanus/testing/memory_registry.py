"""A registry and a resolver that meet in this process: for tests, and as the shortest complete example of both."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from time import time
from typing import TYPE_CHECKING

from elanus.contracts.registry import Registration, Registry
from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.service import Instance

__all__ = ["MemoryDirectory", "MemoryRegistry", "MemoryResolver"]


class MemoryDirectory:
    """What both talk to, as others talk to Consul or etcd. Belongs to the event loop in which it is used."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Instance]] = {}
        self._watchers: set[asyncio.Event] = set()
        self._outage = ""

    def put(self, name: str, instance: Instance) -> None:
        """Keep *instance* under *name*, instead of one of the same address.

        :raises DiscoveryError: during an outage.
        """
        self._answer(name)
        self._services.setdefault(name, {})[instance.address] = instance
        self._notify()

    def drop(self, name: str, instance: Instance) -> None:
        """Forget *instance*, if it is there.

        :raises DiscoveryError: during an outage.
        """
        self._answer(name)
        if self._services.get(name, {}).pop(instance.address, None) is not None:
            self._notify()

    def instances(self, name: str) -> list[Instance]:
        """What is kept under *name*.

        :raises DiscoveryError: during an outage.
        """
        self._answer(name)
        return list(self._services.get(name, {}).values())

    def wipe(self) -> None:
        """Forget everything, as a restart without storage does."""
        self._services.clear()
        self._notify()

    def fail(self, reason: str) -> None:
        """Begin an outage: nothing is answered until :meth:`heal`."""
        self._outage = reason
        self._notify()

    def heal(self) -> None:
        """End the outage."""
        self._outage = ""
        self._notify()

    def subscribe(self) -> asyncio.Event:
        """An event that is set after every change from now on; give it back with :meth:`unsubscribe`."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Set *event* no more."""
        self._watchers.discard(event)

    def _answer(self, name: str) -> None:
        if self._outage:
            raise DiscoveryError(f"the directory cannot answer for {name!r}: {self._outage}")

    def _notify(self) -> None:
        for event in self._watchers:
            event.set()


class MemoryRegistry(Registry):
    """Announces in a :class:`MemoryDirectory`, and announces again when the directory lost it."""

    name = "memory"

    def __init__(self, directory: MemoryDirectory) -> None:
        self._directory = directory
        self._wanted: dict[tuple[str, str], Registration] = {}
        self._repairs: asyncio.Task[None] | None = None

    async def register(self, name: str, instance: Instance, *, insist: bool = False) -> None:
        try:
            self._directory.put(name, instance)
        except DiscoveryError as error:
            if not insist:
                raise
            self._wanted[name, instance.address] = Registration(name, instance, last_error=str(error))
        else:
            self._wanted[name, instance.address] = Registration(name, instance, registered_since=time())
        if self._repairs is None:
            self._repairs = asyncio.create_task(self._repair(), name="memory registry")

    async def deregister(self, name: str, instance: Instance) -> None:
        if self._wanted.pop((name, instance.address), None) is not None:
            self._directory.drop(name, instance)

    def status(self) -> list[Registration]:
        return list(self._wanted.values())

    async def aclose(self) -> None:
        if self._repairs is not None:
            self._repairs.cancel()
            with suppress(asyncio.CancelledError):
                await self._repairs
            self._repairs = None
        wanted, self._wanted = self._wanted, {}
        for registration in wanted.values():
            with suppress(DiscoveryError):  # nothing more can be done; a backend with leases forgets it by itself
                self._directory.drop(registration.name, registration.instance)

    async def _repair(self) -> None:
        changed = self._directory.subscribe()
        try:
            while True:
                self._repair_once()
                await changed.wait()
                changed.clear()
        finally:
            self._directory.unsubscribe(changed)

    def _repair_once(self) -> None:
        for key, registration in list(self._wanted.items()):
            try:
                if registration.instance not in self._directory.instances(registration.name):
                    self._directory.put(registration.name, registration.instance)
                    self._wanted[key] = replace(registration, lost_since=None, last_error="", registered_since=time())
                elif registration.lost_since is not None:
                    self._wanted[key] = replace(registration, lost_since=None, last_error="")
            except DiscoveryError as error:
                lost_since = registration.lost_since or time()
                self._wanted[key] = replace(registration, lost_since=lost_since, last_error=str(error))


class MemoryResolver(Resolver):
    """Looks into a :class:`MemoryDirectory`."""

    name = "memory"

    def __init__(self, directory: MemoryDirectory) -> None:
        self._directory = directory

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        changed = self._directory.subscribe()
        try:
            known = self._directory.instances(name)  # the first look-up may fail, later ones are tried again
            yield known
            while True:
                await changed.wait()
                changed.clear()
                with suppress(DiscoveryError):
                    current = self._directory.instances(name)
                    if current != known:
                        known = current
                        yield known
        finally:
            self._directory.unsubscribe(changed)
