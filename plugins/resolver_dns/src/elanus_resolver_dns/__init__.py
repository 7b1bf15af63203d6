"""Discovery in DNS: addresses with a fixed port, or SRV records with ports and weights."""

from __future__ import annotations

from elanus_resolver_dns.resolver import DnsResolver
from elanus_resolver_dns.settings import DnsSettings

__all__ = ["DnsResolver", "DnsSettings"]
