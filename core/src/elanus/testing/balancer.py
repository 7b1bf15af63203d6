"""The suite of the balancer contract. A plugin's test subclasses it and says how to make its balancer."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Balancer, Picker
from elanus.errors import ConnectFailedError, RpcTimeoutError
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.call import Call

__all__ = ["BalancerSuite"]


def _instances(*weights: int) -> list[Instance]:
    return [Instance(f"10.0.0.{number}:8888", weight) for number, weight in enumerate(weights, 1)]


class _Opaque:
    """A container that can do nothing but ``in``: no length, no iteration, no truth value of its own."""

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = instances

    def __contains__(self, item: object) -> bool:
        return item in self._instances


class BalancerSuite(Suite):
    """What every balancer does. Subclass as ``TestXxx`` and override :meth:`balancer`.

    Behaviours that may go into ``unsupported``: ``"shares by weight"`` (a balancer that goes by load),
    ``"even spread"`` (one that sends equal calls to one instance), ``"random start"``; and, of what later versions of
    this suite ask, ``"availability"``, ``"new tags"``, ``"many changes"``, ``"any clock"``.
    """

    #: Picks over which shares are measured, and by how much of itself a share may differ from its weight's.
    picks = 20_000
    tolerance = 0.15

    def balancer(self) -> Balancer:
        """A new balancer."""
        raise NotImplementedError

    def call(self, number: int) -> Call:
        """The call for the *number*-th pick of a test. Override it when the balancer goes by something in the call."""
        return make_call(arguments=(number,))

    def pick(self, picker: Picker, number: int = 0, excluded: Sequence[Instance] = ()) -> Instance | None:
        """One pick at the instant *number* / 1000, which is told to be finished a millisecond later."""
        now = number / 1000
        instance = picker.pick(self.call(number), excluded, now)
        if instance is not None:
            picker.finished(instance, None, 0.001, now + 0.001)
        return instance

    def counts(self, picker: Picker, picks: int, excluded: Sequence[Instance] = ()) -> Counter[Instance | None]:
        """How often each instance is picked in *picks* picks."""
        return Counter(self.pick(picker, number, excluded) for number in range(picks))

    def test_it_has_a_name_that_users_can_write(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.balancer().name)

    def test_it_is_a_balancer_that_makes_pickers(self) -> None:
        balancer = self.balancer()
        assert isinstance(balancer, Balancer)
        assert isinstance(balancer.picker(_instances(1, 2)), Picker)

    def test_every_pick_is_one_of_the_instances(self) -> None:
        instances = _instances(3, 1, 2)
        picker = self.balancer().picker(instances)
        assert set(self.counts(picker, 200)) <= set(instances)

    def test_a_single_instance_gets_every_call(self) -> None:
        instances = _instances(7)
        picker = self.balancer().picker(instances)
        assert self.counts(picker, 50) == {instances[0]: 50}

    def test_no_instances_no_pick(self) -> None:
        picker = self.balancer().picker([])
        assert self.pick(picker) is None
        assert self.pick(picker, 1, _instances(1)) is None

    def test_weights_of_zero_and_below_get_no_calls(self) -> None:
        instances = _instances(0, 5, -3, 5)
        picker = self.balancer().picker(instances)
        assert set(self.counts(picker, 400)) <= {instances[1], instances[3]}

    def test_they_get_none_even_when_all_others_are_excluded(self) -> None:
        instances = _instances(0, 5, -3)
        picker = self.balancer().picker(instances)
        assert self.pick(picker, 0, [instances[1]]) is None

    def test_only_weights_of_zero_no_pick(self) -> None:
        assert self.pick(self.balancer().picker(_instances(0, 0, -1))) is None

    def test_excluded_instances_are_never_picked(self) -> None:
        instances = _instances(1, 10, 3, 3)
        picker = self.balancer().picker(instances)
        for size in range(1, len(instances)):
            for excluded in combinations(instances, size):
                picked = set(self.counts(picker, 40, excluded))
                assert picked <= set(instances) - set(excluded), f"excluded were {excluded}"

    def test_the_last_one_left_is_always_found(self) -> None:
        # The excluded ones have nearly all of the weight, so neither chance nor a short walk meets the last one.
        instances = _instances(100_000, 100_000, 1)
        picker = self.balancer().picker(instances)
        for number in range(50):
            assert self.pick(picker, number, instances[:2]) == instances[2]

    def test_all_excluded_no_pick(self) -> None:
        instances = _instances(1, 10, 3)
        picker = self.balancer().picker(instances)
        assert self.pick(picker, 0, instances) is None
        assert self.pick(picker, 1) in instances, "the picker must be fit for the next call"

    def test_excluding_strangers_changes_nothing(self) -> None:
        instances = _instances(2, 2)
        picker = self.balancer().picker(instances)
        assert self.pick(picker, 0, [Instance("192.0.2.1:1")]) in instances

    def test_excluded_may_be_any_container(self) -> None:
        instances = _instances(1, 10, 3)
        picker = self.balancer().picker(instances)
        left = instances[2]
        for number, excluded in enumerate((instances[:2], tuple(instances[:2]), set(instances[:2]))):
            assert picker.pick(self.call(number), excluded, 0.0) == left
            picker.finished(left, None, 0.0, 0.0)
        assert picker.pick(self.call(3), _Opaque(instances[:2]), 0.0) == left
        assert picker.pick(self.call(4), _Opaque(instances), 0.0) is None

    def test_excluding_does_not_change_the_container(self) -> None:
        instances = _instances(1, 10, 3)
        excluded = [instances[1]]
        self.pick(self.balancer().picker(instances), 0, excluded)
        assert excluded == [instances[1]]

    def test_a_call_that_excludes_what_it_tried_meets_everyone_once(self) -> None:
        instances = _instances(1, 50, 3, 3, 1, 8)
        picker = self.balancer().picker(instances)
        for number in range(30):
            tried: list[Instance] = []
            while (instance := self.pick(picker, number, tried)) is not None:
                assert instance not in tried
                tried.append(instance)
            assert len(tried) == len(instances)

    def test_calls_are_shared_out_by_weight(self) -> None:
        self.requires("shares by weight")
        instances = _instances(1, 2, 3, 4)
        counts = self.counts(self.balancer().picker(instances), self.picks)
        for instance in instances:
            expected = self.picks * instance.weight / 10
            assert abs(counts[instance] - expected) <= expected * self.tolerance, counts

    def test_equal_weights_share_evenly(self) -> None:
        self.requires("even spread")
        instances = _instances(10, 10, 10, 10, 10)
        counts = self.counts(self.balancer().picker(instances), self.picks)
        for instance in instances:
            assert abs(counts[instance] - self.picks / 5) <= self.picks / 5 * self.tolerance, counts

    def test_the_calls_of_an_excluded_instance_go_to_more_than_one_other(self) -> None:
        self.requires("even spread")
        instances = _instances(10, 10, 10, 10)
        counts = self.counts(self.balancer().picker(instances), 4_000, instances[:1])
        assert set(counts) == set(instances[1:])
        assert max(counts.values()) < 2_500, counts

    def test_clients_do_not_all_begin_with_the_same_instance(self) -> None:
        self.requires("random start")
        instances = _instances(*([10] * 10))
        assert len({self.pick(self.balancer().picker(instances)) for _ in range(60)}) > 1

    def test_a_new_picker_knows_only_the_new_set(self) -> None:
        balancer = self.balancer()
        before = _instances(5, 5, 5)
        after = [*before[1:], Instance("10.0.1.1:8888", 5)]
        old = balancer.picker(before)
        self.counts(old, 50)
        new = balancer.picker(after, old)
        picked = self.counts(new, 600)
        assert set(picked) <= set(after)
        assert self.pick(new, 601, after[:2]) == after[2], "what was added must be reachable"

    def test_a_changed_weight_counts_from_the_next_picker_on(self) -> None:
        self.requires("shares by weight")
        balancer = self.balancer()
        old = balancer.picker(_instances(1, 1))
        self.counts(old, 10)
        instances = _instances(1, 9)
        counts = self.counts(balancer.picker(instances, old), self.picks)
        assert abs(counts[instances[1]] - self.picks * 0.9) <= self.picks * 0.9 * self.tolerance, counts

    def test_pickers_of_one_balancer_do_not_meet(self) -> None:
        balancer = self.balancer()
        one, other = _instances(1, 2), [Instance("10.0.9.1:1"), Instance("10.0.9.2:1")]
        first, second = balancer.picker(one), balancer.picker(other)
        for number in range(100):
            assert self.pick(first, number) in one
            assert self.pick(second, number) in other

    def test_a_picker_keeps_the_set_with_which_it_was_made(self) -> None:
        instances = _instances(5, 5)
        picker = self.balancer().picker(instances)
        kept = list(instances)
        instances.clear()
        assert self.pick(picker) in kept

    def test_every_outcome_may_be_reported(self) -> None:
        instances = _instances(5, 5)
        picker = self.balancer().picker(instances)
        outcomes = [None, ConnectFailedError("refused"), RpcTimeoutError(1.0), ValueError("a bug"), GeneratorExit()]
        for number, error in enumerate(outcomes * 20):
            instance = picker.pick(self.call(number), (), float(number))
            assert instance in instances
            picker.finished(instance, error, 0.25, number + 0.25)

    def test_outcomes_may_come_late_and_for_instances_that_are_gone(self) -> None:
        balancer = self.balancer()
        before = _instances(5, 5)
        old = balancer.picker(before)
        pending = [old.pick(self.call(number), (), 1.0) for number in range(10)]
        new = balancer.picker(before[:1], old)
        for instance in pending:
            assert instance is not None
            old.finished(instance, None, 2.0, 3.0)
        assert self.pick(new, 4_000) == before[0]

    def test_huge_weights_are_no_burden(self) -> None:
        instances = _instances(2**62, 2**62 - 1, 1)
        picker = self.balancer().picker(instances)
        assert set(self.counts(picker, 300)) <= set(instances)

    def test_many_instances_are_no_burden(self) -> None:
        instances = [Instance(f"10.1.{number >> 8}.{number & 255}:80", 1 + number % 97) for number in range(5_000)]
        picker = self.balancer().picker(instances)
        assert set(self.counts(picker, 2_000)) <= set(instances)
        excluded = [instance for instance in (self.pick(picker, number) for number in range(5)) if instance]
        assert self.pick(picker, 9, excluded) not in excluded

    def test_what_is_available_is_a_share(self) -> None:
        self.requires("availability")
        instances = _instances(1, 10, 3, 3)
        picker = self.balancer().picker(instances)
        assert picker.available(0.0) == 1, "nothing has failed yet"
        for number in range(400):
            instance = picker.pick(self.call(number), (), number / 10)
            assert instance is not None
            error = ConnectFailedError("refused") if instance == instances[1] else None
            picker.finished(instance, error, 0.01, number / 10 + 0.01)
            assert 0 <= picker.available(number / 10) <= 1
        assert self.balancer().picker([]).available(0.0) in (0, 1)

    def test_new_tags_of_a_known_address_are_in_the_next_picker(self) -> None:
        self.requires("new tags")
        balancer = self.balancer()
        before = _instances(5, 5, 5)
        old = balancer.picker(before)
        self.counts(old, 50)
        after = [Instance(instance.address, 5, {"version": "2"}) for instance in before]
        assert set(self.counts(balancer.picker(after, old), 300)) <= set(after)

    def test_a_picker_may_be_replaced_many_times_while_calls_are_in_flight(self) -> None:
        self.requires("many changes")
        chance, balancer = Random(5), self.balancer()
        everybody = _instances(*([10] * 6), *([30] * 4), 0, 1)
        instances = everybody[:8]
        picker = balancer.picker(instances)
        running: list[tuple[Picker, Instance]] = []
        for number in range(300):
            instance = picker.pick(self.call(number), (), number / 10)
            usable = [one for one in instances if one.weight > 0]
            assert instance in usable if usable else instance is None
            if instance is not None:
                running.append((picker, instance))
            if chance.random() < 0.8 and running:
                owner, done = running.pop(chance.randrange(len(running)))
                error = RpcTimeoutError(1.0) if chance.random() < 0.2 else None
                owner.finished(done, error, chance.random(), number / 10)
            if chance.random() < 0.3:
                instances = chance.sample(everybody, chance.randrange(len(everybody)))
                picker = balancer.picker(instances, picker)

    def test_now_is_any_instant(self) -> None:
        """Monotonic clocks begin anywhere, and many calls may fall on one instant."""
        self.requires("any clock")
        for start in (0.0, -5.0, 1e-9, 3.2e9):
            instances = _instances(5, 5, 5)
            picker = self.balancer().picker(instances)
            for number in range(200):
                instance = picker.pick(self.call(number), (), start)
                assert instance in instances
                picker.finished(instance, None, 0.0, start)
