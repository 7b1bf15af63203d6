"""The resolver: asks for what there is, then again and again for what comes after it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError, StateError
from elanus_registry_consul.asking import Answer, Asking, Request
from elanus_registry_consul.failures import ConsulError
from elanus_registry_consul.layout import instances_of
from elanus_registry_consul.pace import Pace
from elanus_registry_consul.settings import ResolverSettings, consul_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.service import Instance

__all__ = ["ConsulResolver"]

_log = logging.getLogger("elanus.discovery")


class ConsulResolver(Resolver):
    """Looks up what Kitex's registry-consul, or :class:`ConsulRegistry`, announced: instances whose checks pass.

    Each watch has a connection and a thread of its own.

    :param options: see the README's table: ``address``, ``token``, ``datacenter``, ``wait``, ...
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    name = "consul"

    def __init__(self, **options: object) -> None:
        self._settings = consul_settings(ResolverSettings, "resolver 'consul'", options)
        self._following: set[_Following] = set()
        self._closed = False

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        """Complete sets of the instances of *name*, each when something has changed; see :meth:`Resolver.watch`.

        :raises DiscoveryError: no agent answered the first look-up, or it does not let us look.
        """
        if self._closed:
            raise StateError("the resolver 'consul' is closed", hint="Make a new one")
        following = _Following(name, self._settings)
        self._following.add(following)
        try:
            known = await following.first()
            yield known
            while (current := await following.next()) is not None:
                if current != known:
                    known = current
                    yield known
        finally:
            self._following.discard(following)
            await following.aclose()

    async def aclose(self) -> None:
        """End every watch."""
        self._closed = True
        await asyncio.gather(*(following.aclose() for following in tuple(self._following)))


class _Following:
    """Blocking queries for one name, one after the other."""

    def __init__(self, name: str, settings: ResolverSettings) -> None:
        self._name = name
        self._settings = settings
        self._consul = Asking(settings)
        self._now = asyncio.get_running_loop().time
        self._pace = Pace(self._now())
        self._count = 0
        self._closed = asyncio.Event()

    async def first(self) -> Sequence[Instance]:
        """What there is now.

        :raises DiscoveryError: it cannot be told.
        """
        try:
            return await self._query()
        except ConsulError as error:
            raise DiscoveryError(f"cannot look up {self._name!r}: {error}", hint=error.hint) from error

    async def next(self) -> Sequence[Instance] | None:
        """What there is after something may have changed; ``None`` when this was closed."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.pause(self._now())):
                    await self._closed.wait()
            if self._closed.is_set():
                return None
            try:
                return await self._query()
            except ConsulError as error:
                if self._closed.is_set():
                    return None
                self._pace.failed(self._now())
                # The first failure is often healed by the next query, and a line for each would flood the log.
                level = logging.WARNING if self._pace.failures == 2 else logging.DEBUG
                _log.log(level, "%s: keeping the last %d instances: %s", self._name, self._count, str(error))

    async def _query(self) -> Sequence[Instance]:
        pace = self._pace
        found, headers = await self._ask(pace.index)
        if not found and pace.index and self._count:
            # An agent answers queries that wait out of a view of its own. To a token that has lost its rights the view
            # says that nobody is there, and only a plain query tells the difference.
            found, headers = await self._ask(0)
        if not found and headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            raise ConsulError(self._consul.agent, "the token may not see its instances", 403)
        if not pace.answered(headers, self._now()):
            _log.debug("%s: consul at %s answered without an index", self._name, self._consul.agent)
        self._count = len(found)
        return found

    async def _ask(self, index: int) -> Answer[list[Instance]]:
        wait = self._pace.wait(self._settings.wait) if index else 0.0
        params = [("passing", "1")]
        if self._settings.datacenter:
            params.append(("dc", self._settings.datacenter))
        if index:
            params += [("index", str(index)), ("wait", f"{round(wait * 1000)}ms")]
        self._pace.asked(self._now())
        request = Request("get", f"/v1/health/service/{self._name}", tuple(params))
        return await self._consul.ask(request, instances_of, wait=wait)

    async def aclose(self) -> None:
        """End a query that waits, and the thread."""
        self._closed.set()
        await self._consul.aclose()
