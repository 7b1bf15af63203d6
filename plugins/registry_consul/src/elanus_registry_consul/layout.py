"""What goes to Consul and comes back, as Kitex's registry-consul writes and reads it. Pure.

An instance is a service of its agent: id ``<service>:<host>:<port>``, tags ``key:value``, its weight as both of
Consul's weights, and a check. Source: kitex-contrib/registry-consul v0.2.0, ``consul_registry.go`` and
``consul_resolver.go``.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError
from elanus.service import Instance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus_registry_consul.settings import RegistrySettings

__all__ = ["check_id", "instances_of", "registration", "same_service", "service_id", "validate"]

#: Consul's own limits. Source: Consul ``agent/structs``, ``ValidateWeights``.
_LEAST_WEIGHT, _GREATEST_WEIGHT = 1, 65535


def validate(name: str, instance: Instance) -> None:
    """Find out now whether Consul can hold this.

    :raises ConfigError: it cannot; says why.
    """
    if not name:
        raise ConfigError("consul cannot hold a service without a name", hint="Give it a name")
    split_address(instance.address)
    if not _LEAST_WEIGHT <= instance.weight <= _GREATEST_WEIGHT:
        raise ConfigError(
            f"consul cannot hold the weight {instance.weight} of {instance}",
            hint=f"Give a weight from {_LEAST_WEIGHT} to {_GREATEST_WEIGHT}; to take no calls, deregister",
        )
    for key in instance.tags:
        if ":" in key:
            raise ConfigError(
                f"consul cannot hold the tag {key!r} of {instance}",
                hint="A tag is kept as 'key:value'; give it a key without ':'. Kitex's registry refuses it, too",
            )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``"host:port"`` or ``"[v6]:port"``; the host without brackets.

    :raises ConfigError: it is not of this form; a Unix socket is none that others could reach.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or address.startswith("unix:"):
        raise ConfigError(
            f"{address!r} cannot be announced in consul",
            hint='Announce "host:port", or "[v6]:port"; with a server on another kind of socket set advertise=',
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def service_id(name: str, address: str) -> str:
    """The id under which the agent keeps an instance. IPv6 hosts stand in it without brackets, as with Kitex."""
    host, port = split_address(address)
    return f"{name}:{host}:{port}"


def check_id(name: str, address: str) -> str:
    """The id that Consul gives to the only check of a service when the registration names none."""
    return f"service:{service_id(name, address)}"


def registration(name: str, instance: Instance, settings: RegistrySettings) -> dict[str, Any]:
    """The body of ``PUT /v1/agent/service/register``."""
    host, port = split_address(instance.address)
    return {
        "ID": service_id(name, instance.address),
        "Name": name,
        "Address": host,
        "Port": port,
        "Tags": _tags(instance),
        "Weights": {"Passing": instance.weight, "Warning": instance.weight},
        "Check": _check(host, port, settings),
    }


def _tags(instance: Instance) -> list[str]:
    return [f"{key}:{value}" for key, value in instance.tags.items()]


def _check(host: str, port: int, settings: RegistrySettings) -> dict[str, str]:
    after = {"DeregisterCriticalServiceAfter": _duration(settings.deregister_critical_after)}
    if settings.ttl_check is not None:
        return {"TTL": _duration(settings.ttl_check), **after}
    return {
        # Kitex leaves out the brackets of an IPv6 host, and its check never passes.
        "TCP": _joined(host, port),
        "Interval": _duration(settings.check_interval),
        "Timeout": _duration(settings.check_timeout),
        "Status": settings.initial_status,
        **after,
    }


def _duration(seconds: float) -> str:
    """In Go's way of writing, as Kitex has it: ``"5s"``, ``"1m"``."""
    milliseconds = round(seconds * 1000)
    for unit, size in (("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def same_service(instance: Instance, service: Mapping[str, Any]) -> bool:
    """Whether *service*, as an agent tells it, has the values of *instance*."""
    weight = instance.weight
    return (
        (service["Address"], service["Port"]) == split_address(instance.address)
        and service["Weights"] == {"Passing": weight, "Warning": weight}
        and sorted(service["Tags"] or ()) == sorted(_tags(instance))
    )


def instances_of(entries: Any) -> list[Instance]:
    """The instances in an answer to ``GET /v1/health/service/<name>``, in the order of their addresses.

    Entries without an address of their own are passed over: the node's is no substitute. So are tags without ``:``.

    :raises ValueError: it is not such an answer.
    """
    if not isinstance(entries, list):
        raise ValueError(f"it is no list but {json.dumps(entries)[:50]}")
    found: dict[str, Instance] = {}
    tags: dict[tuple[str, ...], Mapping[str, str]] = {}
    for entry in entries:
        service = entry["Service"]
        if service["Address"]:
            texts = tuple(service["Tags"] or ())
            if texts not in tags:
                tags[texts] = _tags_of(texts)  # most instances of a service have the same ones
            address = _joined(service["Address"], service["Port"])
            # One that moved to another agent may be known to both for a while.
            found.setdefault(address, Instance(address, service["Weights"]["Passing"], tags[texts]))
    return [found[address] for address in sorted(found)]


def _tags_of(texts: Sequence[str]) -> Mapping[str, str]:
    split = (text.partition(":") for text in texts)
    return MappingProxyType({key: value for key, colon, value in split if colon})
