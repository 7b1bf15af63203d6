"""Placement as libketama has it, against the result that its own test publishes, and a plain telling of its rules."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import md5

import pytest

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_hash import HashBalancer
from elanus_balancer_hash.placement import Ketama
from elanus_balancer_hash.ring import Ring

# libketama's ketama.servers: eight servers, and their memory as weights.
SERVERS = {
    "10.0.1.1:11211": 600,
    "10.0.1.2:11211": 300,
    "10.0.1.3:11211": 200,
    "10.0.1.4:11211": 350,
    "10.0.1.5:11211": 1000,
    "10.0.1.6:11211": 800,
    "10.0.1.7:11211": 950,
    "10.0.1.8:11211": 100,
}
# libketama's test.sh: the MD5 of what ketama_test prints, a line for each of the keys "0" to "999999".
PUBLISHED = "5672b131391f5aa2b280936aec1eea74"


def ring_of(servers: dict[str, int]) -> Ring:
    return Ring.of([Instance(address, weight) for address, weight in servers.items()], Ketama())


def test_a_million_keys_go_where_libketama_sends_them() -> None:
    ring = ring_of(SERVERS)
    lines = [f" {place_of(ring, index)} {owner_of(ring, index)}\n" for index in range(len(ring.points))]
    hashed = md5(b"\n")  # the program begins with its last error: none
    for number in range(1_000_000):
        key = b"%d" % number
        hashed.update(f"{ring.place(key) >> 24}{lines[ring.index(key)]}".encode())
    assert hashed.hexdigest() == PUBLISHED


def place_of(ring: Ring, index: int) -> int:
    return (ring.points[index] & ring.kept) >> 24


def owner_of(ring: Ring, index: int) -> Instance | None:
    return ring.instances[ring.points[index] & ring.mask]


def test_python_ketamas_own_example() -> None:
    """Of ``python_ketama/tests.py``."""
    ring = ring_of({"127.0.0.1:11211": 600, "127.0.0.1:11212": 400})
    index = ring.index(b"test")
    assert ring.place(b"test") >> 24 == 3446378249
    assert place_of(ring, index) == 3454255383
    assert str(owner_of(ring, index)) == "127.0.0.1:11211"
    assert len(ring.points) == 160 * 2


@pytest.mark.parametrize("count", [1, 2, 3, 7, 41])
def test_equal_weights_follow_the_plain_rules(count: int) -> None:
    addresses = [f"192.168.1.{number}:11210" for number in range(count)]
    continuum = []
    for address in addresses:
        for repetition in range(40):
            digest = md5(f"{address}-{repetition}".encode()).digest()
            continuum += [(int.from_bytes(digest[i : i + 4], "little"), address) for i in (0, 4, 8, 12)]
    continuum.sort()
    picker = HashBalancer("argument:0", placement="ketama").picker([Instance(address) for address in addresses])
    for number in range(2_000):
        hashed = int.from_bytes(md5(f"key{number}".encode()).digest()[:4], "little")
        _, expected = continuum[bisect_left(continuum, (hashed, "")) % len(continuum)]
        assert str(picker.pick(make_call(arguments=(f"key{number}",)), (), 0.0)) == expected


def test_the_number_of_digests_is_worked_out_in_single_precision() -> None:
    """In whole numbers each would have 40; what is here is what C computes (gcc, x86-64)."""
    placement = Ketama()
    uneven = [
        servers
        for servers in range(1, 300)
        if set(placement.counts([Instance(f"10.0.0.{number}:1", 10) for number in range(servers)])) != {160}
    ]
    assert uneven == [61, 122, 237, 244]
    weights = [1, 2, 3, 7, 11, 13, 17, 23]
    instances = [Instance(f"10.0.0.{number}:1", weight) for number, weight in enumerate(weights)]
    assert placement.counts(instances) == [4 * digests for digests in (4, 8, 12, 29, 45, 54, 70, 95)]


def test_an_instance_too_light_for_a_digest_is_a_last_resort() -> None:
    instances = [Instance("10.0.0.1:1", 1_000), Instance("10.0.0.2:1", 1)]
    assert Ketama().counts(instances) == [316, 0]
    picker = HashBalancer("argument:0", placement="ketama").picker(instances)
    assert picker.pick(make_call(arguments=("a",)), (), 0.0) == instances[0]
    assert picker.pick(make_call(arguments=("a",)), instances[:1], 0.0) == instances[1]
