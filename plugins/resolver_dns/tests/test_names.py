"""From what users write to what is asked for."""

import dns.name
import pytest

from elanus.errors import DiscoveryError
from elanus_resolver_dns import DnsSettings
from elanus_resolver_dns.names import Destination, candidates

DOMAINS = [dns.name.from_text(domain) for domain in ("default.svc.cluster.local", "svc.cluster.local")]


def asked(text: str, ndots: int) -> list[str]:
    return [str(name) for name in candidates(dns.name.from_text(text, origin=None), DOMAINS, ndots)]


def test_a_short_name_is_completed_first_and_asked_for_as_it_is_last() -> None:
    assert asked("echo.other", 5) == [
        "echo.other.default.svc.cluster.local.",
        "echo.other.svc.cluster.local.",
        "echo.other.",
    ]


def test_a_name_with_enough_dots_is_asked_for_as_it_is_first() -> None:
    assert asked("echo.other", 1) == [
        "echo.other.",
        "echo.other.default.svc.cluster.local.",
        "echo.other.svc.cluster.local.",
    ]
    assert asked("echo", 0)[0] == "echo."


def test_a_name_that_ends_with_a_dot_is_complete() -> None:
    assert asked("echo.", 5) == ["echo."]


def test_the_root_as_a_search_domain_asks_nothing_twice() -> None:
    name = dns.name.from_text("echo", origin=None)
    assert candidates(name, [dns.name.root, *DOMAINS[:1]], 1) == [
        dns.name.from_text("echo."),
        dns.name.from_text("echo.default.svc.cluster.local."),
    ]


def test_a_completed_name_that_is_too_long_is_left_out() -> None:
    long = dns.name.from_text(".".join(["x" * 60] * 4), origin=None)
    assert candidates(long, DOMAINS, 1) == [long.concatenate(dns.name.root)]


@pytest.mark.parametrize(
    ("text", "record", "srv", "port"),
    [
        ("echo.acme", "auto", False, 80),
        ("echo.acme:90", "auto", False, 90),
        ("_grpc._tcp.echo.acme", "auto", True, 0),
        ("_grpc._tcp.echo.acme:90", "address", False, 90),
        ("echo.acme", "srv", True, 0),
    ],
)
def test_what_a_destination_asks_for(text: str, record: str, srv: bool, port: int) -> None:
    destination = Destination(text, DnsSettings(port=80, record=record))
    assert (destination.srv, destination.port) == (srv, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (".", "it is empty"),
        ("a..b", "label is empty"),
        ("x" * 64, "label is > 63"),
        ("10.0.0.1", "it is an address"),
        ("::1", "it is an address"),
        ("echo:0", "'0' is no port"),
        ("echo:http", "'http' is no port"),
        ("echo:", "'' is no port"),
        ("echo", "addresses of DNS have no port"),
        ("_echo._tcp.acme:80", "SRV records have ports of their own"),
    ],
)
def test_names_that_cannot_be_looked_up(text: str, why: str) -> None:
    with pytest.raises(DiscoveryError, match=rf"{text!r} cannot be looked up in DNS: .*{why}"[1:]) as caught:
        Destination(text, DnsSettings())
    assert not caught.value.retryable
    assert caught.value.hint
