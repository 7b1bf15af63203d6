"""Registry and resolver on etcd, by name: ``registry="etcd"``, ``resolver="etcd"``; or as objects with such options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_registry_etcd.registry import EtcdRegistry as EtcdRegistry
    from elanus_registry_etcd.resolver import EtcdResolver as EtcdResolver
else:

    def __getattr__(name: str) -> object:
        if name == "EtcdRegistry":
            from elanus_registry_etcd.registry import EtcdRegistry

            return EtcdRegistry
        if name == "EtcdResolver":
            from elanus_registry_etcd.resolver import EtcdResolver

            return EtcdResolver
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["EtcdRegistry", "EtcdResolver"]
