"""The wrapper keeps the contract, whatever it wraps."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from elanus.contracts.balancer import Balancer, Picker
from elanus.options import CallOptions
from elanus.testing.balancer import BalancerSuite
from elanus.testing.calls import make_call
from elanus_balancer_locality import LocalityBalancer

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from elanus.call import Call
    from elanus.service import Instance


class ChancePicker(Picker):
    """By chance and weight, in the plainest way; it learns, so that the wrapper has to tell it."""

    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        self.instances = [instance for instance in instances if instance.weight > 0]
        self.random = random

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        left = [instance for instance in self.instances if instance not in excluded]
        return self.random.choices(left, [float(instance.weight) for instance in left])[0] if left else None

    def finished(self, instance: Instance, error: BaseException | None, elapsed: float, now: float) -> None:
        assert instance in self.instances


class ChanceBalancer(Balancer):
    name = "chance"

    def __init__(self) -> None:
        self.random = Random()

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        return ChancePicker(instances, self.random)


class _Fewer(BalancerSuite):
    """A picker that looks at all instances for each pick is slow; what is tested here is the wrapper."""

    picks = 8_000


class TestWithoutPreference(_Fewer):
    def balancer(self) -> Balancer:
        return LocalityBalancer(ChanceBalancer())


class TestWithPreference(_Fewer):
    """None of the suite's instances has the tags that are preferred."""

    def balancer(self) -> Balancer:
        return LocalityBalancer(ChanceBalancer(), prefer=[{"zone": "a"}, {"region": "north"}])


class TestWrappedTwice(_Fewer):
    def balancer(self) -> Balancer:
        return LocalityBalancer(LocalityBalancer(ChanceBalancer(), prefer={"rack": "1"}), prefer={"zone": "a"})


class TestWithTags(_Fewer):
    """The calls ask for tags that no instance has, and take any."""

    def balancer(self) -> Balancer:
        return LocalityBalancer(ChanceBalancer(), unmatched="ignore")

    def call(self, number: int) -> Call:
        return make_call(options=CallOptions(tags={"version": "2"}))
