"""The balancer suite itself: a balancer that breaks the contract in one way is caught by the test that is about it."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.balancer import Balancer, Picker
from elanus.testing.balancer import BalancerSuite

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call
    from elanus.service import Instance

SEEDS = count()


class PlainPicker(Picker):
    """Weighted chance, as plainly as it can be written."""

    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        self.instances = [instance for instance in instances if instance.weight > 0]
        self.random = random

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        left = [instance for instance in self.instances if instance not in excluded]
        if not left:
            return None
        return self.random.choices(left, [instance.weight for instance in left])[0]


class PlainBalancer(Balancer):
    name = "plain"
    picker_class: type[PlainPicker] = PlainPicker

    def __init__(self) -> None:
        self.random = Random(next(SEEDS))

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        return self.picker_class(instances, self.random)


class TestPlain(BalancerSuite):
    def balancer(self) -> Balancer:
        return PlainBalancer()


class IgnoresExcluded(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return super().pick(call, (), now)


class PicksWeightZero(PlainPicker):
    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        super().__init__(instances, random)
        self.instances = list(instances)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        left = [instance for instance in self.instances if instance not in excluded]
        return self.random.choice(left) if left else None


class IgnoresWeights(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        left = [instance for instance in self.instances if instance not in excluded]
        return self.random.choice(left) if left else None


class GivesUpEarly(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        for _ in range(3):
            instance = super().pick(call, (), now)
            if instance not in excluded:
                return instance
        return None


class AlwaysFirst(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return next((instance for instance in self.instances if instance not in excluded), None)


class NeedsAList(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return super().pick(call, list(excluded), now)  # type: ignore[call-overload]  # the fault that is meant


class SharesTheSequence(PlainPicker):
    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        super().__init__(instances, random)
        self.shared = instances

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        self.instances = [instance for instance in self.shared if instance.weight > 0]
        return super().pick(call, excluded, now)


class OutcomesMustBeNone(PlainPicker):
    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        assert error is None


class CountsTheAvailable(PlainPicker):
    def available(self, now: float) -> float:
        return len(self.instances)


class RemembersAddresses(PlainPicker):
    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        super().__init__(instances, random)
        known = random.__dict__  # what outlives a picker here: the balancer's chance
        self.instances = [known.setdefault(instance.address, instance) for instance in self.instances]


class StartsAtZero(PlainPicker):
    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        assert now >= 0
        return super().pick(call, excluded, now)


FAULTS = [
    (IgnoresExcluded, "test_excluded_instances_are_never_picked"),
    (IgnoresExcluded, "test_all_excluded_no_pick"),
    (PicksWeightZero, "test_weights_of_zero_and_below_get_no_calls"),
    (PicksWeightZero, "test_they_get_none_even_when_all_others_are_excluded"),
    (PicksWeightZero, "test_only_weights_of_zero_no_pick"),
    (IgnoresWeights, "test_calls_are_shared_out_by_weight"),
    (IgnoresWeights, "test_a_changed_weight_counts_from_the_next_picker_on"),
    (GivesUpEarly, "test_the_last_one_left_is_always_found"),
    (AlwaysFirst, "test_equal_weights_share_evenly"),
    (AlwaysFirst, "test_clients_do_not_all_begin_with_the_same_instance"),
    (AlwaysFirst, "test_the_calls_of_an_excluded_instance_go_to_more_than_one_other"),
    (NeedsAList, "test_excluded_may_be_any_container"),
    (SharesTheSequence, "test_a_picker_keeps_the_set_with_which_it_was_made"),
    (OutcomesMustBeNone, "test_every_outcome_may_be_reported"),
    (OutcomesMustBeNone, "test_a_picker_may_be_replaced_many_times_while_calls_are_in_flight"),
    (CountsTheAvailable, "test_what_is_available_is_a_share"),
    (RemembersAddresses, "test_new_tags_of_a_known_address_are_in_the_next_picker"),
    (RemembersAddresses, "test_a_changed_weight_counts_from_the_next_picker_on"),
    (StartsAtZero, "test_now_is_any_instant"),
]


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_suite_catches_a_fault(fault: type[PlainPicker], test: str) -> None:
    class Faulty(PlainBalancer):
        picker_class = fault

    class Suite(BalancerSuite):
        picks = 2_000

        def balancer(self) -> Balancer:
            return Faulty()

    with pytest.raises((AssertionError, TypeError)):
        getattr(Suite(), test)()


def test_what_a_balancer_cannot_offer_is_skipped_with_its_reason() -> None:
    class Suite(BalancerSuite):
        unsupported = {"even spread": "equal calls go to one instance"}  # noqa: RUF012  # as authors write it

    with pytest.raises(pytest.skip.Exception, match="even spread: equal calls go to one instance"):
        Suite().test_equal_weights_share_evenly()
