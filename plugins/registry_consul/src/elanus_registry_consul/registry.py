"""The registry: services of an agent, kept by core's reconcile loop."""

from __future__ import annotations

import asyncio
import json
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError
from elanus.net.reconciler import Announcer, ReconcilingRegistry
from elanus.reconcile import Rhythm
from elanus_registry_consul.asking import Asking, Request
from elanus_registry_consul.failures import ConsulError
from elanus_registry_consul.layout import check_id, registration, same_service, service_id, validate
from elanus_registry_consul.settings import RegistrySettings, consul_settings

if TYPE_CHECKING:
    from elanus.service import Instance

__all__ = ["ConsulAnnouncer", "ConsulRegistry"]

_log = logging.getLogger("elanus.registry")

#: Seconds between reading back what was announced, at most.
_CHECK_EVERY = 5.0
#: Seconds for which an announcement waits until Consul's servers have heard of it from the agent.
_SPREADING = 1.0


class ConsulRegistry(ReconcilingRegistry):
    """Announces in Consul, in the format of Kitex's registry-consul.

    :param options: see the README's table: ``address``, ``token``, ``ttl_check``, ...
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    def __init__(self, **options: object) -> None:
        settings = consul_settings(RegistrySettings, "registry 'consul'", options)
        ttl = settings.ttl_check
        rhythm = Rhythm(
            # Kitex beats a second before the end; one slow answer then counts the instance out.
            renew_every=None if ttl is None else ttl / 3,
            check_every=min(_CHECK_EVERY, (ttl or _CHECK_EVERY * 2) / 2),
            ttl=settings.check_interval if ttl is None else ttl,
            longest_retry=min(2.0, (ttl or 6.0) / 3),
        )
        # Three requests, of which the first may have to find an agent that answers.
        step_timeout = settings.timeout * (len(settings.address) + 2) + _SPREADING
        super().__init__("consul", ConsulAnnouncer(settings), rhythm, step_timeout)

    async def register(self, name: str, instance: Instance, *, insist: bool = False) -> None:
        """Announce *instance* under *name*; see :meth:`Registry.register`.

        :raises ConfigError: Consul cannot hold such a name, weight or tag, or others could not reach the address.
        """
        validate(name, instance)
        await super().register(name, instance, insist=insist)


class ConsulAnnouncer(Announcer):
    """Services of the agent that is asked."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._consul = Asking(settings)
        #: The services that Consul's servers, and not only the agent, showed us.
        self._spread: set[str] = set()

    async def announce(self, name: str, instance: Instance) -> None:
        body = json.dumps(registration(name, instance, self._settings))
        await self._put("/v1/agent/service/register", body=body)
        if self._settings.ttl_check is not None and not await self.renew(name, instance):
            raise ConsulError(self._consul.agent, "it does not know the check that it has just been given")
        service = await self._service(name, instance)
        if service is None or not same_service(instance, service):
            raise ConsulError(self._consul.agent, "what was just written reads otherwise")
        await self._check_datacenter(name, instance, service.get("Datacenter", ""))
        await self._wait_until_spread(name, instance)

    async def renew(self, name: str, instance: Instance) -> bool:
        try:
            await self._put(f"/v1/agent/check/pass/{check_id(name, instance.address)}", note="online")
        except ConsulError as error:
            if not error.unknown:
                raise
            return False
        return True

    async def check(self, name: str, instance: Instance) -> bool:
        service = await self._service(name, instance)
        if service is None or not same_service(instance, service):
            return False
        if service_id(name, instance.address) not in self._spread or await self._seen(name, instance):
            return True
        # The agent believes that its servers know. It would look after that in a minute or more; what it is told anew
        # it tells them now.
        await self.withdraw(name, instance)
        return False

    async def withdraw(self, name: str, instance: Instance) -> None:
        own = service_id(name, instance.address)
        try:
            await self._put(f"/v1/agent/service/deregister/{own}")
        except ConsulError as error:
            if not error.unknown:
                raise
        self._spread.discard(own)

    async def aclose(self) -> None:
        await self._consul.aclose()

    async def _put(self, path: str, *, body: str = "", note: str = "") -> None:
        await self._consul.ask(Request("put", path, (("note", note),) if note else (), body), lambda value: value)

    async def _service(self, name: str, instance: Instance) -> dict[str, Any] | None:
        """The service as the agent has it, or ``None``."""
        request = Request("get", f"/v1/agent/service/{service_id(name, instance.address)}")
        try:
            return (await self._consul.ask(request, dict)).value
        except ConsulError as error:
            if not error.unknown:
                raise
            return None

    async def _check_datacenter(self, name: str, instance: Instance, found: str) -> None:
        wanted = self._settings.datacenter
        if wanted and found and found != wanted:
            await self.withdraw(name, instance)
            raise ConfigError(
                f"the agent at {self._consul.agent} is in the datacenter {found!r}, not in {wanted!r}",
                hint="Give the address of an agent there: an agent announces in its own datacenter only",
            )

    async def _wait_until_spread(self, name: str, instance: Instance) -> None:
        """Wait a little until others can see it. That they cannot is no error: the servers may have no leader now."""
        own = service_id(name, instance.address)
        give_up = monotonic() + _SPREADING
        pause = 0.01
        try:
            while not await self._seen(name, instance):
                if monotonic() + pause > give_up:
                    _log.info("consul: %s is not seen yet; does the token have node:read?", own)
                    return
                await asyncio.sleep(pause)
                pause *= 2
        except ConsulError as error:
            _log.info("consul: %s will be seen later: %s", own, str(error))
            return
        self._spread.add(own)

    async def _seen(self, name: str, instance: Instance) -> bool:
        """Whether Consul's servers know what was announced."""
        own = service_id(name, instance.address)
        only = f"Service.ID == {json.dumps(own, ensure_ascii=False)}"
        request = Request("get", f"/v1/health/service/{name}", (("filter", only),))
        answer = await self._consul.ask(request, lambda entries: [entry["Service"] for entry in entries])
        return any(same_service(instance, service) for service in answer.value)
