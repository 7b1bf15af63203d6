"""Keys and values as Kitex's registry-etcd writes and reads them. Pure: text and bytes in and out.

The key is ``<prefix>/<service>/<host>:<port>``, the value the JSON object
``{"network":"tcp","address":"10.0.0.5:8888","weight":10,"tags":null}``. A reader goes by the value, never by the
address in the key. Source: kitex-contrib/registry-etcd v0.3.0, ``etcd_registry.go`` and ``etcd_resolver.go``.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError
from elanus.service import Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "TagPool",
    "decode_value",
    "encode_value",
    "instance_key",
    "service_key",
    "split_address",
    "with_host_and_port",
]

#: What Go's ``encoding/json`` writes as an escape although JSON would not ask for it.
_GO_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def service_key(prefix: str, service: str) -> str:
    """What the keys of all instances of *service* begin with.

    :raises ConfigError: the name is empty or contains ``/``, so that it would name another service's keys.
    """
    if not service or "/" in service:
        raise ConfigError(
            f"etcd cannot hold a service of the name {service!r}",
            hint="Give it a name without '/'; Kitex's registry refuses it, too" if service else "Give it a name",
        )
    return f"{prefix}/{service}/"


def instance_key(prefix: str, service: str, address: str) -> str:
    """The key of one instance. IPv6 hosts stand in it without brackets, as Kitex writes them.

    :raises ConfigError: a name or an address that cannot be announced.
    """
    host, port = split_address(address)
    return f"{service_key(prefix, service)}{host}:{port}"


def split_address(address: str) -> tuple[str, str]:
    """Host and port of ``"host:port"`` or ``"[v6]:port"``; the host without brackets.

    :raises ConfigError: it is not of this form; a Unix socket is none that others could reach through etcd.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or address.startswith("unix:"):
        raise ConfigError(
            f"{address!r} cannot be announced in etcd",
            hint='Announce "host:port", or "[v6]:port"; with a server on another kind of socket set advertise=',
        )
    return host.removeprefix("[").removesuffix("]"), port


def with_host_and_port(address: str, host: str, port: str) -> str:
    """*address* with another host, another port or both, where they are not empty."""
    old_host, old_port = split_address(address)
    host, port = host.strip("[]") or old_host, port or old_port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def encode_value(instance: Instance) -> bytes:
    """The value that announces *instance*, byte for byte as Go writes it.

    An IPv6 host keeps its brackets. Kitex writes it without them, and then cannot connect to what it reads; with them
    both sides can.
    """
    value = {
        "network": "tcp",
        "address": instance.address,
        "weight": instance.weight,
        "tags": dict(sorted(instance.tags.items())) or None,
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES).encode()


class TagPool:
    """Equal tags as one object: most instances of a service have the same ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}

    def shared(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """*tags*, or the equal mapping that was here first; read-only."""
        key = tuple(sorted(tags.items()))
        known = self._known.get(key)
        if known is None:
            fresh = {sys.intern(name): value for name, value in key}
            known = self._known[key] = MappingProxyType(fresh)
        return known

    def keep(self, instances: Sequence[Instance]) -> None:
        """Forget the tags of all but *instances*."""
        self._known = {tuple(one.tags.items()): one.tags for one in instances}


def decode_value(data: bytes, default_weight: int, tags: TagPool) -> Instance:
    """The instance that a value announces. A weight of 0 or below is *default_weight*, as Kitex's resolver has it.

    :raises ValueError: it is not what Kitex could read either; says what is wrong.
    """
    value = _as_object(data)
    weight, given_tags = value.get("weight"), value.get("tags")
    if weight is not None and (not isinstance(weight, int) or isinstance(weight, bool)):
        raise ValueError(f"its weight is {weight!r}, not a whole number")
    if given_tags is not None and not _is_text_to_text(given_tags):
        raise ValueError("its tags are not text to text")
    return Instance(
        _address(value.get("network"), value.get("address")),
        weight if weight is not None and weight > 0 else default_weight,
        tags.shared(given_tags or {}),
    )


def _as_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _is_text_to_text(tags: object) -> bool:
    # The keys of a JSON object are text already.
    return isinstance(tags, Mapping) and all(isinstance(value, str) for value in tags.values())


def _address(network: object, address: object) -> str:
    if not isinstance(address, str) or not address:
        raise ValueError("it has no address")
    if network == "unix":
        return f"unix:{address}"
    if network not in ("tcp", "tcp4", "tcp6", "", None):
        raise ValueError(f"its network is {network!r}")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"its address {address!r} has no port")
    if ":" in host and not host.startswith("["):
        return _bracketed(host, port)
    return address


def _bracketed(host: str, port: str) -> str:
    """An IPv6 address as Kitex writes it: without brackets."""
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"its address {host}:{port} is none") from None
    return f"[{host}]:{port}"
