"""One look-up: from a destination to its instances, through search domains, SRV records and addresses."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.name
import dns.rdatatype

from elanus_resolver_dns.names import candidates
from elanus_resolver_dns.questions import QuestionError
from elanus_resolver_dns.records import (
    Addresses,
    added_addresses,
    address_instances,
    addresses_in,
    best_services,
    service_instances,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.message import Message

    from elanus.service import Instance
    from elanus_resolver_dns.names import Destination
    from elanus_resolver_dns.questions import Answer, NameServers, System

__all__ = ["Found", "LookUp"]

_log = logging.getLogger("elanus.discovery")

#: Targets of SRV records whose addresses are asked for at the same time.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up has found."""

    instances: tuple[Instance, ...]
    #: Seconds for which that holds.
    ttl: float
    #: Whether there were records at all, be it without a usable instance.
    exists: bool
    #: How many questions it took.
    questions: int = 0


class LookUp:
    """The look-ups of one destination, one after the other, with what is remembered from one to the next.

    :param family: as in :class:`elanus_resolver_dns.DnsSettings`.
    """

    def __init__(self, destination: Destination, system: System, family: str) -> None:
        self._destination = destination
        self._system = system
        self._family = family
        self._servers: NameServers | None = None
        self._questions = 0
        #: The absolute name that answered: once found, the destination does not move to another search domain.
        self._home: dns.name.Name | None = None
        #: The last known addresses of SRV targets, and how many of them could not be looked up the last time.
        self._hosts: dict[dns.name.Name, tuple[str, ...]] = {}
        self._failing = 0

    async def run(self) -> Found:
        """Look up now.

        :raises QuestionError: it cannot be known now.
        """
        servers = await self._system.current()
        if servers is not self._servers:
            self._servers, self._home = servers, None
        self._questions = 0
        found = await (self._search(servers) if self._home is None else self._look_at(self._home))
        return Found(found.instances, found.ttl, found.exists, self._questions)

    async def _search(self, servers: NameServers) -> Found:
        """Ask for the name in every search domain, until one has it."""
        problem: QuestionError | None = None
        ttl = float("inf")
        for name in candidates(self._destination.name, servers.domains, servers.ndots):
            try:
                found = await self._look_at(name)
            except QuestionError as error:
                # A domain whose servers fail is passed over, silence ends the search. Source: glibc, res_nsearch.
                if not error.refused:
                    raise
                problem = problem or error
                continue
            if found.exists:
                self._home = name
                return found
            ttl = min(ttl, found.ttl)
        if problem is not None:
            raise problem
        return Found((), ttl, False)

    async def _look_at(self, name: dns.name.Name) -> Found:
        if self._destination.srv:
            return await self._services(name)
        addresses = await self._addresses(name)
        instances = address_instances(addresses.texts, self._destination.port)
        return Found(instances, addresses.ttl, bool(instances))

    async def _services(self, name: dns.name.Name) -> Found:
        answer = await self._ask(name, dns.rdatatype.SRV)
        services = best_services(answer.records)
        ttl = await self._follow(sorted({service.target for service in services}), answer.message)
        return Found(service_instances(services, self._hosts), min(ttl, answer.ttl), bool(answer.records))

    async def _follow(self, targets: Sequence[dns.name.Name], message: Message) -> float:
        """Learn the addresses of *targets*, and forget those of others; for how many seconds they hold.

        :raises QuestionError: no address of any of them is known.
        """
        limit = asyncio.Semaphore(_AT_ONCE)
        failures: list[QuestionError] = []

        async def learn(target: dns.name.Name) -> Addresses:
            addresses = added_addresses(message, target, self._family)
            if addresses is not None:
                return addresses
            async with limit:
                try:
                    return await self._addresses(target)
                except QuestionError as error:
                    failures.append(error)
                    return Addresses(self._hosts.get(target, ()))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(learn(target), name=f"dns look-up of {target}") for target in targets]
        learnt = {target: task.result() for target, task in zip(targets, tasks, strict=True)}
        if failures and not any(addresses.texts for addresses in learnt.values()):
            raise failures[0]
        self._tell(failures)
        self._hosts = {target: addresses.texts for target, addresses in learnt.items()}
        return min((addresses.ttl for addresses in learnt.values()), default=float("inf"))

    def _tell(self, failures: Sequence[QuestionError]) -> None:
        if failures and len(failures) != self._failing:
            text = "%s: %d targets cannot be looked up; keeping what was known of them: %s"
            _log.warning(text, self._destination.text, len(failures), failures[0])
        self._failing = len(failures)

    async def _addresses(self, host: dns.name.Name) -> Addresses:
        """The addresses of *host*, of all families that are wanted."""
        if self._family == "ipv6":
            return _addresses_of(await self._ask(host, dns.rdatatype.AAAA))
        answer = await self._ask(host, dns.rdatatype.A)
        v4 = _addresses_of(answer)
        # A name that does not exist has no records of any kind. Source: RFC 8020.
        if self._family == "ipv4" or not answer.name_exists or (self._family == "auto" and v4.texts):
            return v4
        return v4.with_(_addresses_of(await self._ask(host, dns.rdatatype.AAAA)))

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Answer:
        assert self._servers is not None
        self._questions += 1
        return await self._servers.ask(name, kind)


def _addresses_of(answer: Answer) -> Addresses:
    return Addresses(addresses_in(answer.records), answer.ttl)
