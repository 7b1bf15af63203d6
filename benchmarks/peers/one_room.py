"""What each room costs by itself, and all of them together: chains with one part of elanus's own, and with all.

Of no chain is anything refused, tried again or late, so that what a room costs is what it costs on a good day.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import elanus

__all__ = ["ALL_ON", "METADATA", "NEEDS", "ROOM_CHAINS", "SEND_ONLY", "Chain", "chain_of"]

METADATA = elanus.Metadata(transient={"request-origin": "benchmark"}, persistent={"tenant": "acme"})

#: A client that nobody gave a part: no metadata, no deadline, and an address instead of a balancer's pick.
SEND_ONLY = "send-only"
ALL_ON = "all-on"

#: Every call takes a token; there are always some left.
_LIMITER = ("token", {"qps": 10_000_000, "concurrency": 100_000})


@dataclass(frozen=True)
class Chain:
    """What a chain adds to that of ``send-only``.

    :param balanced: whether instances are picked.
    """

    client: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    metadata: bool = False
    balanced: bool = False

    def call(self, address: str) -> dict[str, Any]:
        """The options of its calls."""
        options: dict[str, Any] = {"metadata": METADATA} if self.metadata else {}
        return options if self.balanced else {**options, "target": address}


ROOM_CHAINS: Mapping[str, Chain] = {
    SEND_ONLY: Chain(),
    "only-metadata": Chain(metadata=True),
    "only-timeout": Chain({"timeout": 1.0}),
    "only-service-breaker": Chain({"service_breaker": "window"}),
    "only-instance-breaker": Chain({"instance_breaker": "window"}),
    "only-retrier": Chain({"retrier": "budget"}),
    "only-limiter": Chain(server={"limiter": _LIMITER}),
    "only-weighted": Chain({"balancer": "weighted"}, balanced=True),
    ALL_ON: Chain(
        {
            "timeout": 1.0,
            "service_breaker": "window",
            "instance_breaker": "window",
            "retrier": "budget",
            "balancer": "weighted",
        },
        {"limiter": _LIMITER},
        metadata=True,
        balanced=True,
    ),
}

#: The parts that must be installed, by chain: kind and name.
NEEDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "only-service-breaker": (("breaker", "window"),),
    "only-instance-breaker": (("breaker", "window"),),
    "only-retrier": (("retrier", "budget"),),
    "only-limiter": (("limiter", "token"),),
    ALL_ON: (("breaker", "window"), ("retrier", "budget"), ("limiter", "token")),
}


def chain_of(name: str) -> Chain:
    """The chain of that name, or what ``bare`` and ``full`` have always been."""
    if name in ROOM_CHAINS:
        return ROOM_CHAINS[name]
    return Chain(balanced=True) if name == "bare" else Chain({"timeout": 1.0}, metadata=True, balanced=True)
