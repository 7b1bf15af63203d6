"""Consistent hashing for elanus. By name: ``balancer=("hash", {"key": "metadata:user"})``; as an object:
``HashBalancer(lambda call: call.arguments[0].user_id)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_balancer_hash.balancer import HashBalancer as HashBalancer
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from elanus_balancer_hash import balancer

            return getattr(balancer, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["HashBalancer"]
