"""What this plugin offers: a registry and a resolver, both called ``file``."""

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
    return [Provider("file", _registry)]


@hookimpl
def elanus_resolvers() -> Sequence[Provider[Resolver]]:
    return [Provider("file", _resolver)]


def _registry(options: Mapping[str, object]) -> Registry:
    from elanus.settings import read_settings
    from elanus_registry_file.announcer import file_registry
    from elanus_registry_file.settings import FileSettings

    return file_registry(read_settings(FileSettings, "registry 'file'", options))


def _resolver(options: Mapping[str, object]) -> Resolver:
    from elanus.settings import read_settings
    from elanus_registry_file.resolver import FileResolver
    from elanus_registry_file.settings import FileSettings

    return FileResolver(read_settings(FileSettings, "resolver 'file'", options))
