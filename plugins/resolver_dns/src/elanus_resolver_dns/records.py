"""What DNS records say about instances. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.name
import dns.rdatatype
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from elanus.service import Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dns.message import Message
    from dns.rdata import Rdata

__all__ = [
    "Addresses",
    "Service",
    "added_addresses",
    "address_instances",
    "addresses_in",
    "best_services",
    "service_instances",
]

#: The tag with the target of the SRV record that an instance was found by.
HOST_TAG = "host"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one host, and for how many seconds that holds."""

    texts: tuple[str, ...] = ()
    ttl: float = float("inf")

    def with_(self, other: Addresses) -> Addresses:
        """Both together."""
        return Addresses(self.texts + other.texts, min(self.ttl, other.ttl))


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record that can be used."""

    target: dns.name.Name
    port: int
    weight: int


def addresses_in(records: Iterable[Rdata]) -> tuple[str, ...]:
    """The addresses of A and AAAA records."""
    return tuple(str(record.address) for record in records if isinstance(record, A | AAAA))


def address_instances(addresses: Iterable[str], port: int) -> tuple[Instance, ...]:
    """An instance for each address, in a lasting order: name servers shuffle their answers."""
    return tuple(sorted((Instance(_joined(address, port)) for address in set(addresses)), key=str))


def best_services(records: Iterable[Rdata]) -> list[Service]:
    """The services of the best priority.

    RFC 2782: "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach". The
    others are for when these are gone from DNS. A target of "." means that the service is decidedly not available.
    """
    usable = [one for one in records if isinstance(one, SRV) and one.port and one.target != dns.name.root]
    best = min((one.priority for one in usable), default=0)
    return [Service(one.target, one.port, _weight(one.weight)) for one in usable if one.priority == best]


def _weight(weight: int) -> int:
    # RFC 2782: "records with weight 0 should have a very small chance of being selected". To a balancer 0 means none.
    return max(weight, 1)


def service_instances(
    services: Sequence[Service], hosts: Mapping[dns.name.Name, Sequence[str]]
) -> tuple[Instance, ...]:
    """An instance for each address of each target, with the weight of its record.

    Records that lead to the same address and port are one instance, whose weight is the sum: their targets would be
    chosen one by one.
    """
    found: dict[str, Instance] = {}
    for service in sorted(services, key=lambda one: (one.target, one.port)):
        host = service.target.to_text(omit_final_dot=True)
        for address in hosts.get(service.target, ()):
            text = _joined(address, service.port)
            known = found.get(text)
            if known is None:
                found[text] = Instance(text, service.weight, {HOST_TAG: host})
            else:
                found[text] = Instance(text, known.weight + service.weight, known.tags)
    return tuple(found[text] for text in sorted(found))


def added_addresses(message: Message, host: dns.name.Name, family: str) -> Addresses | None:
    """The addresses of *host* among the additional records; ``None`` when others may be missing there.

    A name server adds what it knows and what fits.
    """
    v4, v6 = (_additional(message, host, kind) for kind in (dns.rdatatype.A, dns.rdatatype.AAAA))
    match family:
        case "ipv4":
            return v4
        case "ipv6":
            return v6
        case "both":
            return v4.with_(v6) if v4 and v6 else None
    return v4 or v6


def _additional(message: Message, host: dns.name.Name, kind: dns.rdatatype.RdataType) -> Addresses | None:
    for records in message.additional:
        if records.name == host and records.rdtype == kind:
            return Addresses(addresses_in(records), records.ttl)
    return None


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
