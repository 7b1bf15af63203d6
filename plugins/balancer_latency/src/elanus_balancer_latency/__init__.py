"""A balancer for elanus that goes by latency and load. By name: ``balancer="latency"``; as an object:
``LatencyBalancer(max_ejected=0.5)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.contracts.balancer import Ejection as Ejection
    from elanus_balancer_latency.balancer import LatencyBalancer as LatencyBalancer
    from elanus_balancer_latency.fleet import InstanceState as InstanceState
    from elanus_balancer_latency.picker import LatencyPicker as LatencyPicker
else:
    _HOMES = {
        "Ejection": "elanus.contracts.balancer",
        "InstanceState": f"{__name__}.fleet",
        "LatencyBalancer": f"{__name__}.balancer",
        "LatencyPicker": f"{__name__}.picker",
    }

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Ejection", "InstanceState", "LatencyBalancer", "LatencyPicker"]
