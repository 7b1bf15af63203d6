"""Names: from what users write to what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.exception
import dns.inet
import dns.name

from elanus.errors import DiscoveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus_resolver_dns.settings import DnsSettings

__all__ = ["Destination", "candidates"]


class Destination:
    """What a client's ``name`` asks for.

    :raises DiscoveryError: DNS cannot hold such a name, or nothing says which port to call.
    """

    def __init__(self, text: str, settings: DnsSettings) -> None:
        if dns.inet.is_address(text):
            raise _wrong(text, "it is an address", "Give addresses to the client itself, with their ports")
        written, colon, port = text.rpartition(":")
        self.text = text
        #: Relative when it does not end with a dot.
        self.name = _name(written if colon else text, text)
        #: Whether SRV records are asked for, which have ports of their own.
        self.srv = settings.record == "srv" or (settings.record == "auto" and self.name[0].startswith(b"_"))
        #: The port of every instance; 0 with SRV records.
        self.port = 0 if self.srv else _port(text, port if colon else None, settings.port)
        if self.srv and colon:
            raise _wrong(text, "SRV records have ports of their own", "Leave the port out")


def _name(written: str, text: str) -> dns.name.Name:
    try:
        name = dns.name.from_text(written, origin=None)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise _wrong(text, str(error), 'Give a name of DNS, such as "echo.default.svc.cluster.local"') from error
    if name in (dns.name.empty, dns.name.root):
        raise _wrong(text, "it is empty", 'Give a name of DNS, such as "echo.default.svc.cluster.local"')
    return name


def _port(text: str, written: str | None, configured: int | None) -> int:
    if written is None:
        if configured is None:
            hint = 'Give the option \'port\', write "name:port", or ask for SRV records with record="srv"'
            raise _wrong(text, "addresses of DNS have no port", hint)
        return configured
    number = int(written) if written.isascii() and written.isdigit() else 0
    if not 1 <= number <= 65535:
        raise _wrong(text, f"{written!r} is no port", "Give a port from 1 to 65535")
    return number


def _wrong(text: str, why: str, hint: str) -> DiscoveryError:
    return DiscoveryError(f"{text!r} cannot be looked up in DNS: {why}", hint=hint, retryable=False)


def candidates(name: dns.name.Name, domains: Sequence[dns.name.Name], ndots: int) -> list[dns.name.Name]:
    """The absolute names to ask for, in order.

    A name with at least *ndots* dots is first asked for as it is, one with fewer as the last; one that ends with a dot
    is not looked for in the search domains. Source: resolv.conf(5), and ``res_nsearch`` of glibc.
    """
    if name.is_absolute():
        return [name]
    found: list[dns.name.Name] = []
    as_it_is = name.concatenate(dns.name.root)
    if len(name) > ndots:  # one label more than dots
        found.append(as_it_is)
    for domain in domains:
        try:
            longer = name.concatenate(domain)
        except dns.name.NameTooLong:
            continue  # nobody can have such a name
        if longer not in found:
            found.append(longer)
    return found if as_it_is in found else [*found, as_it_is]
