"""The ring: the same everywhere, fair by weight, and little moves when the set changes."""

from __future__ import annotations

import random
import subprocess
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from hashlib import blake2b, sha256, shake_128
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_hash import HashBalancer
from elanus_balancer_hash.placement import Ketama, OwnPlacement, Placement
from elanus_balancer_hash.records import TOP
from elanus_balancer_hash.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elanus.contracts.balancer import Picker

KEYS = [f"user-{number}" for number in range(20_000)]


def instances_of(weights: Iterable[int], first: int = 0) -> list[Instance]:
    """Instances with these weights, each at an address of its own."""
    return [Instance(f"10.0.{number >> 8}.{number & 255}:8888", weight) for number, weight in enumerate(weights, first)]


def owners(picker: Picker, keys: Iterable[object]) -> list[str]:
    """The address that each key goes to, where the key is the first argument of a call."""
    return [str(picker.pick(make_call(arguments=(key,)), (), 0.0)) for key in keys]


def layout_of(ring: Ring) -> list[tuple[int, Instance | None]]:
    """Every point of a ring, with whose it is. Slots are left out: they are a matter of how the ring came to be."""
    return [(point & ~ring.mask, ring.instances[point & ring.mask]) for point in ring.points]


def shares(ring: Ring) -> dict[str, float]:
    """The part of the circle that belongs to each address."""
    held: dict[str, int] = defaultdict(int)
    places = [(point & ring.kept) for point in ring.points]
    for (before, place), point in zip(pairwise([places[-1] - 2**56, *places]), ring.points, strict=True):
        instance = ring.instances[point & ring.mask]
        assert instance is not None
        held[instance.address] += place - before
    return {address: part / 2**56 for address, part in held.items()}


def test_points_are_in_order() -> None:
    ring = Ring.of(instances_of([10] * 50), OwnPlacement(100))
    assert len(ring.points) == 5_000
    assert list(ring.points) == sorted(ring.points)
    assert all(point >> 56 == TOP >> 56 for point in ring.points)


def test_where_keys_go_never_changes() -> None:
    """These are on disk and in caches of others: a release that moves them is a release that empties those."""
    picker = HashBalancer("argument:0").picker(instances_of([10, 10, 20, 5, 10]))
    found = owners(picker, ["a", "b", "user-17", b"a", 42, "42", "käse", -1])
    assert found == [f"10.0.0.{number}:8888" for number in (2, 2, 4, 2, 4, 4, 4, 1)]
    told = "\n".join(owners(picker, KEYS))
    assert sha256(told.encode()).hexdigest().startswith("e03437013b5bfe45")


def test_the_plain_rules() -> None:
    """What the README says, told without records and slots."""
    weights = [10, 10, 20, 5, 10]
    circle = []
    for number, weight in enumerate(weights):
        address = f"10.0.0.{number}:8888"
        digest = shake_128(address.encode()).digest(5 * 10 * weight)
        circle += [(digest[i : i + 5][::-1], address) for i in range(0, len(digest), 5)]
    circle.sort()
    picker = HashBalancer("argument:0").picker(instances_of(weights))
    expected = [
        circle[bisect_left(circle, (blake2b(key.encode()).digest()[2:7][::-1], "")) % len(circle)][1] for key in KEYS
    ]
    assert owners(picker, KEYS) == expected


def test_another_process_gives_the_same_answers() -> None:
    script = (
        "from elanus.service import Instance\n"
        "from elanus.testing.calls import make_call\n"
        "from elanus_balancer_hash import HashBalancer\n"
        "instances = [Instance(f'10.0.0.{number}:8888') for number in reversed(range(9))]\n"
        "picker = HashBalancer('argument:0').picker(instances)\n"
        "for number in range(200):\n"
        "    print(picker.pick(make_call(arguments=(f'user-{number}',)), (), 0.0))\n"
    )
    here = owners(HashBalancer("argument:0").picker(instances_of([10] * 9)), KEYS[:200])
    for seed in ("0", "1", "random"):
        there = subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert there.stdout.split() == here


def test_the_order_in_which_instances_are_listed_does_not_matter() -> None:
    instances = instances_of([10, 20, 5, 10, 10, 40])
    expected = owners(HashBalancer("argument:0").picker(instances), KEYS[:3_000])
    for seed in range(3):
        mixed = random.Random(seed).sample(instances, len(instances))
        assert owners(HashBalancer("argument:0").picker(mixed), KEYS[:3_000]) == expected


def test_an_address_that_is_listed_twice_is_one_instance() -> None:
    instances = instances_of([10, 10, 10])
    twice = [*instances, Instance(instances[0].address, 30)]
    assert layout_of(Ring.of(twice, OwnPlacement(50))) == layout_of(Ring.of(instances, OwnPlacement(50)))


def test_keys_meet_instances_in_proportion_to_their_part_of_the_circle() -> None:
    ring = Ring.of(instances_of([10] * 10), OwnPlacement(100))
    counts = Counter(owners(HashBalancer("argument:0").picker(instances_of([10] * 10)), range(100_000)))
    statistic = sum(
        (counts[address] - 100_000 * part) ** 2 / (100_000 * part) for address, part in shares(ring).items()
    )
    assert statistic < 46.0  # 9 degrees of freedom: exceeded once in 1.6 million fair trials
    assert sum((counts[address] - 10_000) ** 2 / 10_000 for address in counts) > 46.0, "it would notice"


@pytest.mark.parametrize("weights", [(10, 10, 10, 10), (1, 2, 3, 4), (5, 10, 100), (1, 1_000)])
def test_parts_of_the_circle_go_by_weight(weights: tuple[int, ...]) -> None:
    """Over many sets of addresses; each set for itself is off by some 1 / sqrt(points)."""
    sums: dict[int, float] = defaultdict(float)
    sets = 60
    for number in range(sets):
        instances = instances_of(weights, first=100 * number)
        parts = shares(Ring.of(instances, OwnPlacement(100)))
        for index, instance in enumerate(instances):
            sums[index] += parts[instance.address]
    for index, weight in enumerate(weights):
        assert sums[index] / sets == pytest.approx(weight / sum(weights), rel=0.1)


@pytest.mark.parametrize("placement", [OwnPlacement(100), Ketama()])
def test_more_points_of_an_instance_are_the_same_ones_and_some_more(placement: Placement) -> None:
    few, many = placement.points("10.0.0.1:8888", 40), placement.points("10.0.0.1:8888", 400)
    assert len(few) == 40 * placement.width
    assert many.startswith(few)


@pytest.mark.parametrize("count", [2, 5, 30, 200])
def test_an_instance_that_is_added_takes_its_share_and_nothing_else_moves(count: int) -> None:
    balancer = HashBalancer("argument:0")
    instances = instances_of([10] * (count + 1))
    before = owners(balancer.picker(instances[:-1]), KEYS)
    after = owners(balancer.picker(instances), KEYS)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} <= {instances[-1].address}
    # Its part is 1 / (count + 1), give or take a tenth for 100 points; four times that is next to never.
    assert 0.6 <= len(moved) * (count + 1) / len(KEYS) <= 1.4


@pytest.mark.parametrize("count", [2, 5, 30])
def test_an_instance_that_is_removed_moves_its_own_keys_only(count: int) -> None:
    balancer = HashBalancer("argument:0")
    instances = instances_of([10] * count)
    before = owners(balancer.picker(instances), KEYS)
    after = owners(balancer.picker(instances[1:]), KEYS)
    for old, new in zip(before, after, strict=True):
        assert old == new or old == instances[0].address
    if count > 2:
        inherited = Counter(new for old, new in zip(before, after, strict=True) if old == instances[0].address)
        assert len(inherited) > 1, "more than one instance takes over"


def test_more_weight_takes_keys_and_gives_none_away() -> None:
    instances = instances_of([10, 10, 10, 10])
    heavier = [Instance(instances[0].address, 15), *instances[1:]]
    balancer = HashBalancer("argument:0")
    before, after = owners(balancer.picker(instances), KEYS), owners(balancer.picker(heavier), KEYS)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {instances[0].address}


@pytest.mark.parametrize("placement", [OwnPlacement(40), Ketama()])
@settings(max_examples=40)
@given(st.data())
def test_changes_lead_to_the_ring_that_would_be_made_anew(placement: Placement, data: st.DataObject) -> None:
    weights = st.sampled_from([1, 10, 10, 10, 25])
    sets = st.dictionaries(st.integers(0, 40), weights, min_size=1)
    ring: Ring | None = None
    held: dict[int, int] = data.draw(st.dictionaries(st.integers(0, 40), weights, min_size=20))
    for _ in range(4):
        instances = [Instance(f"10.0.0.{number}:8888", weight) for number, weight in held.items()]
        ring = Ring.of(instances, placement) if ring is None else ring.changed(instances)
        assert layout_of(ring) == layout_of(Ring.of(instances, placement))
        if data.draw(st.booleans()):  # a small change, which is worked into the ring
            number = data.draw(st.integers(0, 40))
            held = {**held, number: data.draw(weights)}
            held.pop(data.draw(st.integers(0, 40)), None)
            held = held or {1: 10}
        else:
            held = data.draw(sets)


def test_a_small_change_is_worked_into_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring.of(instances_of([10] * 100), OwnPlacement(100))
    changed = [*instances_of([10] * 99), *instances_of([10], first=500)]
    asked: list[str] = []
    points = OwnPlacement.points

    def noted(self: OwnPlacement, address: str, count: int) -> bytes:
        asked.append(address)
        return points(self, address, count)

    monkeypatch.setattr(OwnPlacement, "points", noted)
    ring.changed(changed)
    assert sorted(asked) == ["10.0.0.99:8888", "10.0.1.244:8888"]


def test_new_tags_are_in_the_next_picker_and_move_nothing() -> None:
    balancer = HashBalancer("argument:0")
    before = balancer.picker(instances_of([10] * 8))
    tagged = [Instance(instance.address, 10, {"zone": "a"}) for instance in instances_of([10] * 8)]
    after = balancer.picker(tagged, before)
    assert owners(after, KEYS[:500]) == owners(before, KEYS[:500])
    assert after.pick(make_call(arguments=("x",)), (), 0.0) in tagged


class _Crowded(OwnPlacement):
    """Everybody's points are the same few, so that each is taken."""

    def points(self, address: str, count: int) -> bytes:
        return bytes(range(count * self.width))


def test_points_at_the_same_place_go_to_the_lower_address_however_the_ring_came_to_be() -> None:
    instances = instances_of([10] * 12)
    anew = Ring.of(instances, _Crowded(3))
    changed = Ring.of(instances[1:], _Crowded(3)).changed(instances)
    assert layout_of(changed) == layout_of(anew)
    assert {anew.instances[anew.points[index] & anew.mask] for index in (0, 12, 24)} == {instances[0]}


def test_huge_weights_keep_their_shares_and_the_ring_its_size() -> None:
    ring = Ring.of(instances_of([2**62, 2**61, 1]), OwnPlacement(100))
    assert len(ring.points) < 2**21 + 3
    counts = Counter(ring.instances[point & ring.mask] for point in ring.points)
    assert sorted(counts.values())[0] == 1
    assert sorted(counts.values())[2] / sorted(counts.values())[1] == pytest.approx(2, rel=1e-3)


def test_more_instances_than_two_bytes_can_number() -> None:
    instances = [Instance(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:1") for number in range(66_000)]
    small = Ring.of(instances[:60_000], OwnPlacement(2))
    large = small.changed(instances)
    assert large.mask == 2**24 - 1
    moved = sum(_owner(small, key) != _owner(large, key) for key in KEYS)
    assert moved / len(KEYS) == pytest.approx(6_000 / 66_000, rel=0.25), "the places of keys and points are the same"


def _owner(ring: Ring, key: str) -> Instance | None:
    return ring.instances[ring.points[ring.index(key.encode())] & ring.mask]
