"""Registry and resolver on Consul: by name ``"consul"``, or as objects with the same options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_registry_consul.registry import ConsulRegistry as ConsulRegistry
    from elanus_registry_consul.resolver import ConsulResolver as ConsulResolver
else:

    def __getattr__(name: str) -> object:
        if name == "ConsulRegistry":
            from elanus_registry_consul.registry import ConsulRegistry

            return ConsulRegistry
        if name == "ConsulResolver":
            from elanus_registry_consul.resolver import ConsulResolver

            return ConsulResolver
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["ConsulRegistry", "ConsulResolver"]
