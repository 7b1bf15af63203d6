"""What this plugin offers: ``consul``, as a registry and as a resolver. No client is imported before one is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.registry import Registry
    from elanus.contracts.resolver import Resolver


@hookimpl
def elanus_registries() -> Sequence[Provider[Registry]]:
    return [Provider("consul", _build_registry)]


@hookimpl
def elanus_resolvers() -> Sequence[Provider[Resolver]]:
    return [Provider("consul", _build_resolver)]


def _build_registry(options: Mapping[str, object]) -> Registry:
    from elanus_registry_consul.registry import ConsulRegistry

    return ConsulRegistry(**options)


def _build_resolver(options: Mapping[str, object]) -> Resolver:
    from elanus_registry_consul.resolver import ConsulResolver

    return ConsulResolver(**options)
