"""Tags that calls ask for, and who is told how an attempt ended."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from elanus.contracts.balancer import Balancer, Picker
from elanus.options import CallOptions
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_locality import LocalityBalancer, LocalityPicker

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call


class NotingPicker(Picker):
    """The first that is left; it notes whose attempts have ended."""

    def __init__(self, instances: Sequence[Instance], previous: Picker | None) -> None:
        self.instances = list(instances)
        self.previous = previous
        self.running: list[Instance] = []

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        instance = next((one for one in self.instances if one not in excluded), None)
        if instance is not None:
            self.running.append(instance)
        return instance

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        self.running.remove(instance)


class NotingBalancer(Balancer):
    name = "noting"

    def __init__(self) -> None:
        self.made: list[NotingPicker] = []

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        self.made.append(NotingPicker(instances, previous))
        return self.made[-1]

    def running(self) -> list[int]:
        return [len(picker.running) for picker in self.made]


class UnlearningPicker(Picker):
    def __init__(self, instances: Sequence[Instance]) -> None:
        self.instances = list(instances)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return next((one for one in self.instances if one not in excluded), None)


class UnlearningBalancer(Balancer):
    name = "unlearning"

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        return UnlearningPicker(instances)


def tagged(address: str, **tags: str) -> Instance:
    return Instance(address, 10, tags)


RED = tagged("red:80", colour="red", size="l", zone="a")
GREEN = tagged("green:80", colour="green", size="l", zone="b")
SMALL = tagged("small:80", colour="red", size="s", zone="b")
PLAIN = Instance("plain:80")
ALL = [PLAIN, RED, GREEN, SMALL]


def call_for(**tags: str) -> Call:
    return make_call(options=CallOptions(tags=MappingProxyType(tags)))


def everyone(picker: Picker, call: Call) -> list[Instance]:
    """All that a call can get, in order."""
    found: list[Instance] = []
    while (instance := picker.pick(call, found, 0.0)) is not None:
        found.append(instance)
    return found


def picker_of(inner: Balancer | None = None, **options: Any) -> LocalityPicker:
    picker = LocalityBalancer(inner or NotingBalancer(), **options).picker(ALL)
    assert isinstance(picker, LocalityPicker)
    return picker


def test_a_call_without_tags_gets_any() -> None:
    assert everyone(picker_of(), call_for()) == ALL


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"colour": "red"}, [RED, SMALL]),
        ({"colour": "red", "size": "s"}, [SMALL]),
        ({"size": "l"}, [RED, GREEN]),
        ({"colour": "blue"}, []),
        ({"colour": "green", "size": "s"}, []),
        ({"unheard": "of"}, []),
    ],
)
def test_all_tags_of_a_call_must_fit(tags: dict[str, str], expected: list[Instance]) -> None:
    picker = picker_of()
    for _ in range(2):
        assert everyone(picker, call_for(**tags)) == expected


def test_near_ones_come_first_among_those_that_fit() -> None:
    picker = picker_of(prefer={"zone": "b"})
    assert everyone(picker, call_for(colour="red")) == [SMALL, RED]
    assert everyone(picker, call_for()) == [GREEN, SMALL, PLAIN, RED]


def test_tags_that_nobody_has_can_be_ignored() -> None:
    picker = picker_of(unmatched="ignore")
    assert everyone(picker, call_for(colour="blue")) == ALL
    assert everyone(picker, call_for(colour="green")) == [GREEN]


def test_only_some_tags_of_a_call_may_count() -> None:
    picker = picker_of(filter_by=["colour"])
    assert everyone(picker, call_for(colour="red", size="xxl")) == [RED, SMALL]
    assert everyone(picker, call_for(size="xxl")) == ALL
    assert everyone(picker_of(filter_by=[]), call_for(colour="blue")) == ALL


def test_the_picker_that_picked_is_told() -> None:
    """At the same time one instance is called for several sets of tags: each call must be told to its own picker."""
    inner = NotingBalancer()
    picker = picker_of(inner)
    calls = [call_for(), call_for(colour="red"), call_for(size="l"), call_for(colour="red", size="l")]
    picked = [picker.pick(call, [PLAIN], 0.0) for call in calls]
    assert picked == [RED] * 4
    assert inner.running() == [1, 1, 1, 1]
    for index, expected in ((2, [1, 1, 0, 1]), (0, [0, 1, 0, 1]), (3, [0, 1, 0, 0]), (1, [0, 0, 0, 0])):
        instance = picked[index]
        assert instance is not None
        picker.finished(instance, None, 0.1, 0.1)
        assert inner.running() == expected


def test_so_it_is_through_several_wrappers() -> None:
    inner = NotingBalancer()
    picker = LocalityBalancer(LocalityBalancer(inner, prefer={"size": "l"}), prefer={"zone": "a"}).picker(ALL)
    first, second = picker.pick(call_for(), (), 0.0), picker.pick(call_for(colour="red"), (), 0.0)
    assert first == second == RED
    assert first is not None
    assert second is not None
    before = inner.running()
    assert sum(before) == 2
    picker.finished(second, None, 0.1, 0.1)
    picker.finished(first, None, 0.1, 0.1)
    assert sum(inner.running()) == 0


def test_the_tier_that_picked_is_told() -> None:
    inner = NotingBalancer()
    picker = picker_of(inner, prefer={"zone": "a"})
    near, far = picker.pick(call_for(), (), 0.0), picker.pick(call_for(), [RED], 0.0)
    assert inner.running() == [1, 1]
    assert near is not None
    assert far is not None
    picker.finished(far, ValueError("whatever"), 1.0, 1.0)
    assert inner.running() == [1, 0]
    picker.finished(near, None, 1.0, 1.0)
    assert inner.running() == [0, 0]


def test_what_nobody_picked_is_told_to_nobody() -> None:
    picker_of().finished(Instance("stranger:80"), None, 0.1, 0.1)


def test_who_does_not_learn_is_not_told() -> None:
    """The resolve room leaves the telling out when a picker has no `finished` of its own."""
    assert type(picker_of(UnlearningBalancer())).finished is Picker.finished
    assert type(picker_of(NotingBalancer())).finished is not Picker.finished


def test_sets_of_tags_that_are_in_use_are_made_again_with_what_was_learned() -> None:
    inner = NotingBalancer()
    balancer = LocalityBalancer(inner)
    old = balancer.picker(ALL)
    pending = old.pick(call_for(colour="red"), (), 0.0)
    assert pending is not None
    assert len(inner.made) == 2
    new = balancer.picker([*ALL, tagged("another:80", colour="red")], old)
    assert [picker.previous for picker in inner.made[2:]] == inner.made[:2]
    assert len(everyone(new, call_for(colour="red"))) == 3
    assert len(inner.made) == 4, "nothing is made while a call waits"
    old.finished(pending, None, 0.1, 0.1)
    assert inner.running()[:2] == [0, 0]


def test_a_set_of_tags_that_nobody_had_does_not_take_over_what_is_known_of_all() -> None:
    inner = NotingBalancer()
    balancer = LocalityBalancer(inner, unmatched="ignore")
    old = balancer.picker(ALL)
    assert everyone(old, call_for(colour="blue")) == ALL
    balancer.picker([*ALL, tagged("blue:80", colour="blue")], old)
    assert [picker.previous for picker in inner.made] == [None, inner.made[0], None]


def test_callers_that_think_of_ever_new_tags_fill_no_memory() -> None:
    inner = NotingBalancer()
    picker = picker_of(inner)
    held = picker.pick(call_for(colour="red"), (), 0.0)
    assert held is not None
    for number in range(1_000):
        assert picker.pick(call_for(colour=str(number)), (), 0.0) is None
    assert len(picker.tag_sets) <= 64
    picker.finished(held, None, 0.1, 0.1)  # its picker is forgotten: told to nobody, and to nobody else
    assert inner.made[0].running == []
    again = picker.pick(call_for(colour="red"), (), 0.0)
    assert again == RED
    assert again is not None
    picker.finished(again, None, 0.1, 0.1)
    assert inner.made[-1].running == []
