"""What is known of the instances of one client: latency, load and failures of each, and who is ejected.

It outlives the pickers: a new one goes on with what is known of those who stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import TYPE_CHECKING, TypeAlias

from elanus.contracts.balancer import Ejection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.service import Instance
    from elanus_balancer_latency.settings import LatencySettings

__all__ = ["Fleet", "InstanceState", "Node", "OnEjection"]

#: The least share of its weight that an instance has in its slow start.
_LEAST_SHARE = 0.05
_PLURALS = {"failure": "failures", "failure or slow call": "failures or slow calls"}


OnEjection: TypeAlias = "Callable[[Ejection], None]"


@dataclass(frozen=True, slots=True)
class InstanceState:
    """What is known of one instance at one instant."""

    instance: Instance
    #: Seconds that a call to it is expected to take; ``None`` before anything is known of any instance.
    latency: float | None
    in_flight: int
    #: Failures in a row, and the share of failures among its last calls.
    failures: int
    failure_share: float
    #: Until when it is ejected, on the monotonic clock; ``None`` when it is not.
    ejected_until: float | None
    #: The share of its weight that it has: less than 1 in its slow start, 0 while it is ejected.
    share: float


class Node:
    """One instance. Of its latency, see :meth:`Fleet.record`."""

    __slots__ = (
        "calls",
        "ejected_until",
        "ejections",
        "failure_share",
        "failures",
        "in_flight",
        "instance",
        "latency",
        "special_until",
        "stamp",
        "started",
        "unit",
    )

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        #: How much one call in flight counts: more at an instance of little weight.
        self.unit = 1.0
        self.in_flight = 0
        self.latency = 0.0
        #: When the latency was measured; so long ago that it does not count.
        self.stamp = -inf
        #: Failures in a row; calls since it came, or came back; the share of failures among the last of them.
        self.failures = 0
        self.calls = 0
        self.failure_share = 0.0
        self.ejections = 0
        self.ejected_until = -inf
        #: When its slow start began, or begins: at the end of an ejection.
        self.started = -inf
        #: Until then it is ejected or starts slowly: what a pick asks first.
        self.special_until = -inf


class Fleet:
    """All instances of one client.

    :param settings: the balancer's options.
    :param on_ejection: called for each ejection.
    """

    def __init__(self, settings: LatencySettings, on_ejection: OnEjection) -> None:
        self._settings = settings
        self._on_ejection = on_ejection
        self.nodes: dict[str, Node] = {}
        #: The latency that is expected of an instance of which nothing is known: the mean of what is expected of those
        #: that answer. While nothing is known of any it is 1.0, so that load alone counts.
        self.typical = 1.0
        #: The mean latency of successful calls. It is lower, since what is expected follows the peaks.
        self.usual = 1.0
        self.samples = 0
        self._stamp = -inf
        self._failure_share = 0.0
        self._most_ejected = 0
        self._ejected: list[Node] = []
        self._weight = 1
        #: Those that came with the last set, until the first pick tells the time.
        self.unstarted: list[Node] = []

    def update(self, instances: Sequence[Instance]) -> list[Node]:
        """The nodes of *instances*, which have weights above 0: known ones go on, new ones start slowly."""
        first = not self.nodes
        known = self.nodes
        self.nodes = {instance.address: known.get(instance.address) or Node(instance) for instance in instances}
        self._weight = sum(instance.weight for instance in instances) or 1
        mean = self._weight / (len(instances) or 1)
        for instance in instances:
            node = self.nodes[instance.address]
            node.instance = instance
            node.unit = mean / instance.weight
            if instance.address not in known and not first and self._settings.slow_start:
                node.special_until = inf
                self.unstarted.append(node)
        self._limit_ejections()
        return list(self.nodes.values())

    def _limit_ejections(self) -> None:
        """Let go of who is gone, and of those who are too many for the set, the ones that would return first."""
        count = len(self.nodes)
        share = int(self._settings.max_ejected * count)
        self._most_ejected = min(max(share, 1), max(count - 1, 0)) if self._settings.max_ejected else 0
        self._ejected = [node for node in self._ejected if self.nodes.get(node.instance.address) is node]
        self._ejected.sort(key=lambda node: node.ejected_until)
        while len(self._ejected) > self._most_ejected:
            node = self._ejected.pop(0)
            node.ejected_until = node.special_until = -inf

    def start(self, now: float) -> None:
        """Begin the slow start of new instances."""
        for node in self.unstarted:
            node.started = now
            node.special_until = now + self._settings.slow_start
        self.unstarted = []

    # -- measuring ----------------------------------------------------------------------------------------------

    def record(self, node: Node, failed: bool, elapsed: float, now: float) -> None:
        """A call to *node* has ended after *elapsed* seconds.

        The latency of an instance rises to any higher value at once, and falls slowly: an average that weighs what is
        *decay* seconds old by 1/e (Finagle's peak EWMA). Where nothing is measured it draws near to what is expected
        of the others, since a value of long ago says little.
        """
        typical, decay = self.typical, self._settings.decay
        sample = max(elapsed, self._settings.penalty * typical) if failed and self.samples else elapsed
        kept = exp((node.stamp - now) / decay) if node.stamp < now else 1.0
        expected = typical + (node.latency - typical) * kept
        if sample > expected or not self.samples:
            node.latency = sample
        else:
            node.latency = node.latency * kept + sample * (1.0 - kept)
        node.stamp = now
        factor = self._settings.slow_factor
        slow = bool(factor and self.samples) and elapsed > factor * self.usual  # as it was without this call
        if not failed:
            self._learn_typical(node, elapsed, now)
        self._judge(node, failed, slow, now)

    def record_at_least(self, node: Node, elapsed: float, now: float) -> None:
        """A call to *node* was cancelled after *elapsed* seconds: one that lost against a hedge, for instance."""
        if self.samples and elapsed > self.expected(node, now):
            node.latency, node.stamp = elapsed, now

    def record_refused(self, node: Node, elapsed: float, now: float) -> None:
        """*node* has refused a call, after *elapsed* seconds, since it has too much to do: it is loaded, and well.

        It answered fast and is not: what is expected of it rises by one usual call, to what a failure costs at most.
        """
        if self.samples:
            expected = self.expected(node, now)
            loaded = min(expected + self.usual, self._settings.penalty * self.usual)
            node.latency, node.stamp = max(expected, loaded, elapsed), now

    def _learn_typical(self, node: Node, elapsed: float, now: float) -> None:
        """Plain means at first, then ones that forget as the instances' own do."""
        self.samples += 1
        new = 1.0 - exp((self._stamp - now) / self._settings.decay) if self._stamp < now else 0.0
        share = max(new, 1.0 / self.samples)
        self.usual += (elapsed - self.usual) * share
        self.typical += (node.latency - self.typical) * share
        self._stamp = max(now, self._stamp)

    def expected(self, node: Node, now: float) -> float:
        """Seconds that a call to *node* is expected to take."""
        kept = exp((node.stamp - now) / self._settings.decay) if node.stamp < now else 1.0
        return self.typical + (node.latency - self.typical) * kept

    # -- ejecting -----------------------------------------------------------------------------------------------

    def _judge(self, node: Node, failed: bool, slow: bool, now: float) -> None:
        settings = self._settings
        bad = failed or slow
        node.calls += 1
        fresh = 2.0 / (settings.min_calls + 1)
        node.failure_share += (bad - node.failure_share) * max(fresh, 1.0 / node.calls)
        self._failure_share += (bad - self._failure_share) * fresh / (len(self.nodes) or 1)
        if not bad:
            node.failures = 0
            return
        node.failures += 1
        if settings.failures and node.failures >= settings.failures:
            word = "failure" if failed else "failure or slow call"
            self._eject(node, f"{node.failures} {word if node.failures == 1 else _PLURALS[word]} in a row", now)
        elif node.calls >= settings.min_calls and self._fails_more_than_others(node):
            self._eject(node, f"{node.failure_share:.0%} of its last calls failed", now)

    def _fails_more_than_others(self, node: Node) -> bool:
        return node.failure_share > max(self._settings.failure_share, 2 * self._failure_share)

    def _eject(self, node: Node, reason: str, now: float) -> None:
        if now < node.ejected_until or self.nodes.get(node.instance.address) is not node:
            return  # a call that was in flight when it was ejected, or when it left
        if len(self.ejected(now)) >= self._most_ejected:
            return  # its latency, penalties included, keeps most calls away
        settings = self._settings
        forgotten = now - node.ejected_until > settings.longest_ejection
        node.ejections = 1 if forgotten else node.ejections + 1
        seconds = min(settings.ejection * node.ejections, settings.longest_ejection)
        node.ejected_until = node.started = now + seconds
        node.special_until = node.ejected_until + settings.slow_start
        # It comes back as a stranger.
        node.stamp = -inf
        node.failures = node.calls = 0
        node.failure_share = 0.0
        self._ejected.append(node)
        self._on_ejection(Ejection(node.instance, reason, seconds, node.ejected_until, node.ejections))

    def ejected(self, now: float) -> Sequence[Node]:
        """Those who are ejected at *now*."""
        if self._ejected and any(node.ejected_until <= now for node in self._ejected):
            self._ejected = [node for node in self._ejected if node.ejected_until > now]
        return self._ejected

    def available(self, now: float) -> float:
        """The part of all weight that is not ejected."""
        if not self._ejected:
            return 1.0
        return 1.0 - sum(node.instance.weight for node in self.ejected(now)) / self._weight

    def share(self, node: Node, now: float) -> float:
        """The part of its weight that *node* has: 0 while ejected, then growing to 1."""
        if now >= node.special_until:
            return 1.0
        if now < node.ejected_until:
            return 0.0
        return max(_LEAST_SHARE, (now - node.started) / self._settings.slow_start)

    def states(self, now: float) -> Mapping[str, InstanceState]:
        """What is known of each instance, by address."""
        return {
            address: InstanceState(
                instance=node.instance,
                latency=self.expected(node, now) if self.samples else None,
                in_flight=node.in_flight,
                failures=node.failures,
                failure_share=node.failure_share,
                ejected_until=node.ejected_until if now < node.ejected_until else None,
                share=self.share(node, now),
            )
            for address, node in self.nodes.items()
        }
