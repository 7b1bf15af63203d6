"""Asking name servers: the only place that knows how dnspython is used, and what it raises."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from elanus_resolver_dns.sockets import Sockets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.message import Message
    from dns.rdata import Rdata
    from dns.rdatatype import RdataType

    from elanus_resolver_dns.settings import DnsSettings

__all__ = ["Answer", "NameServers", "QuestionError", "System"]

_log = logging.getLogger("elanus.discovery")
_SOCKETS = Sockets()


class QuestionError(Exception):
    """A question that nobody answered.

    :param refused: every name server said that it cannot answer (SERVFAIL, REFUSED, garbage). Else there was silence.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says: records, or that there are none, which is an answer too."""

    records: Sequence[Rdata]
    #: Seconds for which it holds: the smallest TTL on the way, that of the SOA for what does not exist (RFC 2308).
    ttl: float
    message: Message
    #: Whether the name exists, be it with records of another kind only.
    name_exists: bool


class NameServers:
    """The name servers that are configured, and how names are completed."""

    def __init__(self, resolver: dns.asyncresolver.Resolver, settings: DnsSettings) -> None:
        self._resolver = resolver
        self._settings = settings

    @property
    def domains(self) -> Sequence[dns.name.Name]:
        """The search domains."""
        given = self._settings.domains
        if given is not None:
            return given
        # Without a list the domain of this host is one. Source: resolv.conf(5).
        return self._resolver.search or ([self._resolver.domain] if self._resolver.domain else [])

    @property
    def ndots(self) -> int:
        """How many dots a name needs to be asked for as it is first."""
        given = self._settings.ndots
        if given is not None:
            return given
        return 1 if self._resolver.ndots is None else self._resolver.ndots

    async def ask(self, name: dns.name.Name, kind: RdataType) -> Answer:
        """The records of this kind, aliases followed; none when the name or its records do not exist.

        :param name: absolute.
        :raises QuestionError: no name server answered.
        """
        try:
            answer = await self._resolver.resolve(
                name, kind, tcp=self._settings.tcp, raise_on_no_answer=False, search=False, backend=_SOCKETS
            )
        except dns.resolver.NXDOMAIN as error:
            message = error.response(name)  # type: ignore[no-untyped-call]
            return Answer((), message.resolve_chaining().minimum_ttl, message, name_exists=False)
        except dns.resolver.NoNameservers as error:
            raise QuestionError(str(error), refused=True) from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise QuestionError(str(error) or repr(error)) from error
        ttl = answer.chaining_result.minimum_ttl
        return Answer(tuple(answer.rrset or ()), ttl, answer.response, name_exists=True)


class System:
    """The system's configuration with the options over it, read again when its file has changed."""

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings
        self._stamp: tuple[int, ...] = ()
        self._current: NameServers | None = None

    async def current(self) -> NameServers:
        """The name servers to ask now; the same object until the file changes.

        :raises QuestionError: the file cannot be used, and never could be.
        """
        return await asyncio.to_thread(self._load)

    def _load(self) -> NameServers:
        stamp = _stamp(self._settings.resolv_conf)
        if self._current is None or stamp != self._stamp:
            try:
                resolver = _configured(self._settings)
            except QuestionError as error:
                if self._current is None:
                    raise
                _log.warning("keeping the name servers that were configured before: %s", error)
            else:
                self._current = NameServers(resolver, self._settings)
            self._stamp = stamp
        assert self._current is not None
        return self._current


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _configured(settings: DnsSettings) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    servers = settings.servers
    try:
        resolver.read_resolv_conf(settings.resolv_conf)
    except (dns.exception.DNSException, OSError, ValueError) as error:
        # With name servers given, what could be read of the rest is enough.
        if not servers:
            raise QuestionError(f"{settings.resolv_conf}: {error}") from error
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
    resolver.lifetime = settings.timeout
    return resolver
