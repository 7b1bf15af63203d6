"""What this plugin offers: a resolver called ``dns``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.resolver import Resolver


@hookimpl
def elanus_resolvers() -> Sequence[Provider[Resolver]]:
    return [Provider("dns", _resolver)]


def _resolver(options: Mapping[str, object]) -> Resolver:
    from elanus_resolver_dns.resolver import DnsResolver

    return DnsResolver(**options)
