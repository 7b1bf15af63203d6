"""Locality and tags for any balancer of elanus. By name: ``balancer=("locality", {"inner": "latency", "prefer":
{"zone": "a"}})``; as an object: ``LocalityBalancer(LatencyBalancer(), prefer={"zone": "a"})``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_balancer_locality.balancer import LocalityBalancer as LocalityBalancer
    from elanus_balancer_locality.picker import LocalityPicker as LocalityPicker
else:
    _HOMES = {"LocalityBalancer": "balancer", "LocalityPicker": "picker"}

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["LocalityBalancer", "LocalityPicker"]
