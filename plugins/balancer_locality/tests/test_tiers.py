"""Near instances first, and further ones when these do not suffice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from elanus.contracts.balancer import Balancer, Picker
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_locality import LocalityBalancer, LocalityPicker

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call

CALL = make_call()


class TurnPicker(Picker):
    """Each in turn. It notes what it is told, and is as available as a test says."""

    def __init__(self, balancer: TurnBalancer, instances: Sequence[Instance], previous: Picker | None) -> None:
        self.balancer = balancer
        self.instances = list(instances)
        self.previous = previous
        self.turn = 0
        self.told: list[tuple[Instance, BaseException | None, float, float]] = []

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        for _ in self.instances:
            self.turn += 1
            instance = self.instances[self.turn % len(self.instances)]
            if instance not in excluded:
                return instance
        return None

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        self.told.append((instance, error, elapsed, now))

    def available(self, now: float) -> float:
        down = sum(instance.weight for instance in self.instances if instance.address in self.balancer.down)
        return 1 - down / sum(instance.weight for instance in self.instances)


class TurnBalancer(Balancer):
    name = "turn"

    def __init__(self) -> None:
        self.made: list[TurnPicker] = []
        self.down: set[str] = set()

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        self.made.append(TurnPicker(self, instances, previous))
        return self.made[-1]


def zoned(zone: str, count: int, region: str = "north", weight: int = 10, first: int = 0) -> list[Instance]:
    tags = {"zone": zone, "region": region}
    return [Instance(f"{zone}{number}:80", weight, tags) for number in range(first, first + count)]


A, B, C = zoned("a", 4), zoned("b", 4), zoned("c", 4, region="south")
NORTH_A = [{"zone": "a"}, {"region": "north"}]


def picker_of(instances: Sequence[Instance], inner: TurnBalancer | None = None, **options: Any) -> LocalityPicker:
    picker = LocalityBalancer(inner or TurnBalancer(), **{"seed": 1, **options}).picker(instances)
    assert isinstance(picker, LocalityPicker)
    return picker


def zones(picker: Picker, picks: int = 1_000, excluded: Sequence[Instance] = (), now: float = 0.0) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _ in range(picks):
        instance = picker.pick(CALL, excluded, now)
        counts["none" if instance is None else instance.tags.get("zone", "?")] += 1
    return counts


def test_the_nearest_get_all_calls_while_they_suffice() -> None:
    picker = picker_of([*C, *B, *A], prefer=NORTH_A)
    assert zones(picker) == {"a": 1_000}
    assert [tier.levels for tier in picker.tiers.all] == [(0,), (1,), (2,)]


def test_all_tags_of_a_level_must_fit() -> None:
    odd = Instance("odd:80", 10, {"zone": "a", "region": "south"})
    picker = picker_of([*A, odd], prefer={"zone": "a", "region": "north"})
    assert odd not in {picker.pick(CALL, (), 0.0) for _ in range(100)}
    assert picker.pick(CALL, A, 0.0) == odd


def test_without_a_preference_all_are_near() -> None:
    assert set(zones(picker_of([*A, *B]))) == {"a", "b"}


def test_a_level_without_instances_is_passed_over() -> None:
    assert zones(picker_of([*B, *C], prefer=NORTH_A)) == {"b": 1_000}
    assert zones(picker_of(C, prefer=NORTH_A)) == {"c": 1_000}
    assert zones(picker_of([], prefer=NORTH_A)) == {"none": 1_000}


def test_weights_of_zero_are_nowhere() -> None:
    picker = picker_of([*zoned("a", 3, weight=0), *B], prefer={"zone": "a"})
    assert zones(picker) == {"b": 1_000}
    assert picker.pick(CALL, B, 0.0) is None


def test_when_all_near_ones_were_tried_the_next_level_has_its_turn() -> None:
    picker = picker_of([*A, *B, *C], prefer=NORTH_A)
    assert zones(picker, excluded=A) == {"b": 1_000}
    assert zones(picker, excluded=[*A, *B]) == {"c": 1_000}
    assert zones(picker, excluded=[*A, *C]) == {"b": 1_000}
    assert zones(picker, excluded=[*A, *B, *C]) == {"none": 1_000}


def test_too_few_are_joined_with_the_next_level() -> None:
    picker = picker_of([*A[:2], *B, *C], prefer=NORTH_A, min_instances=3)
    assert zones(picker) == {"a": pytest.approx(333, abs=2), "b": pytest.approx(667, abs=2)}
    assert [tier.levels for tier in picker.tiers.all] == [(0, 1), (2,)]
    assert zones(picker_of([*A[:3], *B], prefer=NORTH_A, min_instances=3)) == {"a": 1_000}
    assert set(zones(picker_of([*A, *B, *C], prefer=NORTH_A, min_instances=50))) == {"a", "b", "c"}


def test_too_little_weight_is_joined_with_the_next_level() -> None:
    little = zoned("a", 2, weight=5)
    assert set(zones(picker_of([*little, *B, *C], prefer=NORTH_A, min_share=0.2))) == {"a", "b"}
    assert set(zones(picker_of([*little, *B, *C], prefer=NORTH_A, min_share=0.1))) == {"a"}


@pytest.mark.parametrize(("down", "expected"), [(0, 1.0), (1, 1.0), (2, 0.5 / 0.7), (3, 0.25 / 0.7), (4, 0.0)])
def test_a_part_of_the_calls_goes_on_when_too_little_is_available(down: int, expected: float) -> None:
    inner = TurnBalancer()
    picker = picker_of([*A, *B, *C], inner, prefer={"zone": "a"}, spill_below=0.7)
    inner.down = {instance.address for instance in A[:down]}
    counts = zones(picker, 20_000)
    assert counts["a"] / 20_000 == pytest.approx(expected, abs=0.015)
    if expected < 1:
        assert counts["b"] == pytest.approx(counts["c"], rel=0.01)


def test_what_the_second_level_cannot_take_goes_on_to_the_third() -> None:
    inner = TurnBalancer()
    picker = picker_of([*A, *B, *C], inner, prefer=NORTH_A, spill_below=1)
    inner.down = {instance.address for instance in [*A[:2], *B[:3]]}
    counts = zones(picker, 20_000)
    shares = [counts[zone] / 20_000 for zone in "abc"]
    assert shares == [pytest.approx(part, abs=0.015) for part in (0.5, 0.25, 0.25)]


def test_when_all_together_cannot_take_all_calls_each_takes_its_part() -> None:
    inner = TurnBalancer()
    picker = picker_of([*A, *B], inner, prefer={"zone": "a"}, spill_below=1)
    inner.down = {instance.address for instance in [*A[:2], *B[:3]]}
    counts = zones(picker, 20_000)
    assert counts["a"] / 20_000 == pytest.approx(0.5 / 0.75, abs=0.015)
    inner.down = {instance.address for instance in [*A, *B]}
    assert zones(picker) == {"a": 1_000}


def test_how_much_is_available_of_all() -> None:
    inner = TurnBalancer()
    picker = picker_of([*A, *zoned("b", 4, weight=30)], inner, prefer={"zone": "a"})
    assert picker.available(0.0) == 1
    inner.down = {A[0].address, "b1:80"}
    assert picker.available(0.0) == pytest.approx(1 - 40 / 160)
    assert picker_of([]).available(0.0) == 1


def test_a_seed_makes_it_foreseeable_which_calls_go_on() -> None:
    def picks(seed: int) -> list[Instance | None]:
        inner = TurnBalancer()
        inner.down = {instance.address for instance in A[:3]}
        picker = picker_of([*A, *B], inner, prefer={"zone": "a"}, seed=seed)
        return [picker.pick(CALL, (), 0.0) for _ in range(50)]

    assert picks(1) == picks(1)
    assert picks(1) != picks(2)


def test_inner_pickers_go_on_from_those_of_the_same_levels() -> None:
    inner = TurnBalancer()
    balancer = LocalityBalancer(inner, prefer=NORTH_A)
    old = balancer.picker([*A, *B, *C])
    first = list(inner.made)
    balancer.picker([*A[1:], *B, *C[1:]], old)
    assert [picker.previous for picker in inner.made[3:]] == first


def test_one_inner_picker_has_one_heir() -> None:
    """Two that went on from the same one would share what it learned, and each take the other's instances out of it."""
    inner = TurnBalancer()
    balancer = LocalityBalancer(inner, prefer=NORTH_A, min_instances=3)
    old = balancer.picker([*A[:1], *B, *C])
    joined, far = inner.made
    new = balancer.picker([*A, *B, *C], old)
    assert [picker.previous for picker in inner.made[2:]] == [joined, None, far]
    balancer.picker([*A[:1], *B, *C], new)
    assert [picker.previous for picker in inner.made[5:]] == [inner.made[3], inner.made[4]]
