"""The kit: what tests of elanus, of its plugins and of applications need. Product code never imports it.

A suite per contract (:class:`BalancerSuite`, ...) which every plugin of that kind runs; an in-memory transport
(:class:`MemoryTransport`, :func:`connected`) and a codec that needs no plugin (:class:`JsonCodec`); a fake clock and a
loop in virtual time (:class:`FakeClock`, :func:`run_virtual`); a proxy that harms connections (:class:`FaultProxy`).

Names are loaded when they are first used. The suites need pytest, which ``elanus[testing]`` brings; the rest does not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.testing.balancer import BalancerSuite as BalancerSuite
    from elanus.testing.breaker import BreakerSuite as BreakerSuite
    from elanus.testing.calls import make_call as make_call
    from elanus.testing.clock import FakeClock as FakeClock
    from elanus.testing.clock import run_virtual as run_virtual
    from elanus.testing.codec import CodecSuite as CodecSuite
    from elanus.testing.config import ConfigSuite as ConfigSuite
    from elanus.testing.config import MemoryConfig as MemoryConfig
    from elanus.testing.fault_proxy import FaultProxy as FaultProxy
    from elanus.testing.json_codec import JsonCodec as JsonCodec
    from elanus.testing.limiter import LimiterSuite as LimiterSuite
    from elanus.testing.memory import InTurn as InTurn
    from elanus.testing.memory import MemoryTransport as MemoryTransport
    from elanus.testing.memory import connected as connected
    from elanus.testing.memory_registry import MemoryDirectory as MemoryDirectory
    from elanus.testing.memory_registry import MemoryRegistry as MemoryRegistry
    from elanus.testing.memory_registry import MemoryResolver as MemoryResolver
    from elanus.testing.registry import RegistrySuite as RegistrySuite
    from elanus.testing.resolver import ResolverSuite as ResolverSuite
    from elanus.testing.retrier import RetrierSuite as RetrierSuite
    from elanus.testing.suite import Suite as Suite
    from elanus.testing.tracer import TracerSuite as TracerSuite
    from elanus.testing.transport import TransportSuite as TransportSuite

_HOMES = {
    "BalancerSuite": "balancer",
    "BreakerSuite": "breaker",
    "CodecSuite": "codec",
    "ConfigSuite": "config",
    "FakeClock": "clock",
    "FaultProxy": "fault_proxy",
    "InTurn": "memory",
    "JsonCodec": "json_codec",
    "MemoryConfig": "config",
    "LimiterSuite": "limiter",
    "MemoryDirectory": "memory_registry",
    "MemoryRegistry": "memory_registry",
    "MemoryResolver": "memory_registry",
    "MemoryTransport": "memory",
    "RegistrySuite": "registry",
    "ResolverSuite": "resolver",
    "RetrierSuite": "retrier",
    "Suite": "suite",
    "TracerSuite": "tracer",
    "TransportSuite": "transport",
    "connected": "memory",
    "make_call": "calls",
    "run_virtual": "clock",
}

__all__ = sorted(_HOMES)

# A failed assert in a suite shall show its values, as it does in a test file. pytest rewrites modules of which it was
# told before their import, and this package is imported before any of them. Without pytest there is nothing to tell.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        *(
            f"{__name__}.{kind}"
            for kind in (
                "balancer",
                "breaker",
                "codec",
                "config",
                "limiter",
                "registry",
                "resolver",
                "retrier",
                "tracer",
                "transport",
                "transport_calls",
            )
        )
    )

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'elanus.testing' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"elanus.testing.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return __all__
