"""The options of the resolver."""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.inet
import dns.name

from elanus.address import split_address
from elanus.errors import ConfigError

__all__ = ["DNS_PORT", "DnsSettings"]

#: The port of name servers. Source: RFC 1035, 4.2.
DNS_PORT = 53

_RECORDS = ("auto", "address", "srv")
_FAMILIES = ("auto", "ipv4", "ipv6", "both")


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """``resolver=("dns", {"port": 8888})``. What is not given comes from the system's ``resolv.conf``."""

    #: The port of every instance that is found by its address; names may bring their own, as in ``"echo.acme:8888"``.
    port: int | None = None
    #: ``"srv"``, ``"address"``, or ``"auto"``: SRV records for a name that begins with ``_``, addresses for others.
    record: str = "auto"
    #: ``"ipv4"``, ``"ipv6"``, ``"both"``, or ``"auto"``: IPv4, and IPv6 for a host that has no IPv4 address.
    family: str = "auto"
    #: ``"10.0.0.10"``, ``"10.0.0.10:5353"``, ``"[fd00::10]:5353"``; empty: those of ``resolv_conf``.
    nameservers: tuple[str, ...] = ()
    #: Read at the first look-up, and again when it has changed.
    resolv_conf: str = "/etc/resolv.conf"
    #: Domains in which names are looked up that do not end with a dot; ``None``: those of ``resolv_conf``.
    search: tuple[str, ...] | None = None
    #: A name with fewer dots is looked up in the domains first, and as it is last; ``None``: as in ``resolv_conf``.
    ndots: int | None = None
    #: Seconds for one question, over all name servers and attempts.
    timeout: float = 5.0
    #: Ask over TCP only. Without it TCP is for answers that are too long for UDP.
    tcp: bool = False
    #: Seconds between look-ups, at least and at most; between them the records' TTL decides.
    min_refresh: float = 1.0
    max_refresh: float = 30.0

    def __post_init__(self) -> None:
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}", hint="Give a port from 1 to 65535")
        _one_of("record", self.record, _RECORDS)
        _one_of("family", self.family, _FAMILIES)
        if self.timeout <= 0:
            raise ConfigError(f"timeout is {self.timeout:g}", hint="Give seconds above 0")
        if not 0 < self.min_refresh <= self.max_refresh:
            raise ConfigError(
                f"min_refresh is {self.min_refresh:g}, max_refresh is {self.max_refresh:g}",
                hint="Give seconds above 0, and no more for the first than for the second",
            )
        if self.ndots is not None and self.ndots < 0:
            raise ConfigError(f"ndots is {self.ndots}", hint="Give 0 or more")
        _ = self.servers, self.domains  # a mistake should show where the resolver is built

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Addresses and ports of the name servers that were given.

        :raises ConfigError: one is no address; a name server cannot be given by name.
        """
        return [_server(text) for text in self.nameservers]

    @property
    def domains(self) -> list[dns.name.Name] | None:
        """The search domains that were given, absolute.

        :raises ConfigError: one is no name.
        """
        if self.search is None:
            return None
        try:
            return [dns.name.from_text(text) for text in self.search]
        except dns.exception.DNSException as error:
            raise ConfigError(f"search is {list(self.search)}: {error}", hint="Give names of domains") from error


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{option} is {value!r}", hint=f"Give one of {', '.join(map(repr, known))}")


def _server(text: str) -> tuple[str, int]:
    host, port = (text, DNS_PORT) if dns.inet.is_address(text) else split_address(text)
    if not dns.inet.is_address(host) or port == 0:
        raise ConfigError(f"name server {text!r} is no address", hint='Write "10.0.0.10" or "10.0.0.10:5353"')
    return host, port
