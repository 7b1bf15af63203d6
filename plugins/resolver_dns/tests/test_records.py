"""What records say about instances."""

import dns.message
import dns.name
import dns.rrset
import pytest
from dns.rdata import Rdata

from elanus.service import Instance
from elanus_resolver_dns.records import (
    Addresses,
    Service,
    added_addresses,
    address_instances,
    addresses_in,
    best_services,
    service_instances,
)

A_HOST, B_HOST = dns.name.from_text("a.test"), dns.name.from_text("b.test")


def records(kind: str, *values: str) -> list[Rdata]:
    return list(dns.rrset.from_text_list("echo.", 1, "IN", kind, values))


def test_addresses_are_instances_in_a_lasting_order() -> None:
    texts = [
        *addresses_in(records("A", "10.0.0.2", "10.0.0.1")),
        *addresses_in(records("AAAA", "FD00:0::1")),
        "10.0.0.1",
    ]
    expected = (Instance("10.0.0.1:80"), Instance("10.0.0.2:80"), Instance("[fd00::1]:80"))
    assert address_instances(texts, 80) == address_instances((*texts[::-1], "10.0.0.1"), 80) == expected


def test_only_the_best_priority_counts() -> None:
    found = best_services(records("SRV", "7 1 80 a.test.", "3 2 81 b.test.", "3 3 82 a.test.", "10 9 83 a.test."))
    assert sorted(found, key=lambda one: one.port) == [Service(B_HOST, 81, 2), Service(A_HOST, 82, 3)]


def test_a_weight_of_0_is_a_small_share_and_not_none() -> None:
    assert best_services(records("SRV", "0 0 80 a.test.")) == [Service(A_HOST, 80, 1)]


def test_what_cannot_be_called_is_left_out() -> None:
    assert best_services(records("SRV", "0 0 0 .")) == []
    assert best_services(records("SRV", "0 1 0 a.test.", "5 1 80 b.test.")) == [Service(B_HOST, 80, 1)]
    assert best_services(records("A", "10.0.0.1")) == []


def test_each_address_of_a_target_is_an_instance_with_its_weight_and_host() -> None:
    services = [Service(B_HOST, 81, 5), Service(A_HOST, 80, 7), Service(dns.name.from_text("gone.test"), 80, 9)]
    found = service_instances(services, {A_HOST: ["10.0.0.2", "10.0.0.1"], B_HOST: ["fd00::1"]})
    assert found == (
        Instance("10.0.0.1:80", 7, {"host": "a.test"}),
        Instance("10.0.0.2:80", 7, {"host": "a.test"}),
        Instance("[fd00::1]:81", 5, {"host": "b.test"}),
    )


def test_records_for_one_address_are_one_instance() -> None:
    services = [Service(B_HOST, 80, 5), Service(A_HOST, 80, 7)]
    found = service_instances(services, {A_HOST: ["10.0.0.1"], B_HOST: ["10.0.0.1"]})
    assert found == (Instance("10.0.0.1:80", 12, {"host": "a.test"}),)


@pytest.mark.parametrize(
    ("host", "family", "expected"),
    [
        ("dual.", "auto", Addresses(("10.0.0.1",), 5)),
        ("dual.", "ipv4", Addresses(("10.0.0.1",), 5)),
        ("dual.", "ipv6", Addresses(("fd00::1",), 3)),
        ("dual.", "both", Addresses(("10.0.0.1", "fd00::1"), 3)),
        ("six.", "auto", Addresses(("fd00::2",), 4)),
        ("six.", "ipv4", None),
        ("six.", "both", None),  # its IPv4 address may not have found room
        ("none.", "auto", None),
    ],
)
def test_addresses_beside_the_answer(host: str, family: str, expected: Addresses | None) -> None:
    message = dns.message.Message()
    for name, ttl, kind, value in (
        ("dual.", 5, "A", "10.0.0.1"),
        ("dual.", 3, "AAAA", "fd00::1"),
        ("six.", 4, "AAAA", "fd00::2"),
    ):
        message.additional.append(dns.rrset.from_text(name, ttl, "IN", kind, value))
    assert added_addresses(message, dns.name.from_text(host), family) == expected
