"""The options of registry and resolver, checked before anything is opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from elanus.errors import ConfigError
from elanus.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Agent", "ConnectionSettings", "RegistrySettings", "ResolverSettings", "consul_settings"]

DEFAULT_PORT = 8500
#: Consul looks for services to deregister twice a minute, and takes anything below a minute for one.
#: Source: Consul ``agent/config``, ``check_deregister_interval_min``.
LEAST_DEREGISTER_AFTER = 60.0

_ADDRESS = re.compile(r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:/\s]+)(?::(?P<port>\d{1,5}))?/?")
#: The variables that Consul's own client obeys, and so Kitex's registry; an option that is given goes before.
_ENVIRONMENT = {
    "address": "CONSUL_HTTP_ADDR",
    "token": "CONSUL_HTTP_TOKEN",
    "tls": "CONSUL_HTTP_SSL",
    "verify": "CONSUL_HTTP_SSL_VERIFY",
    "ca_file": "CONSUL_CACERT",
    "cert_file": "CONSUL_CLIENT_CERT",
    "key_file": "CONSUL_CLIENT_KEY",
}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

S = TypeVar("S", bound="ConnectionSettings")


class Agent(NamedTuple):
    """Where an agent answers."""

    scheme: str
    #: An IPv6 host keeps its brackets.
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What registry and resolver have in common."""

    #: Where an agent answers: ``"host:port"``, ``"http://host:port"`` or ``"https://host:port"``. Of several, the
    #: first that answers is used until it does not.
    address: tuple[str, ...] = (f"127.0.0.1:{DEFAULT_PORT}",)
    token: str = ""
    #: The resolver looks there; the registry insists that its agent is one of it. Empty: the agent's.
    datacenter: str = ""
    #: Whether to use TLS; ``None`` does when an address is ``https://`` or a file below is given.
    tls: bool | None = None
    #: Whether to check the agent's certificate.
    verify: bool = True
    #: Paths of PEM files: the authorities to trust, our certificate, and its key.
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    #: Seconds for one request, beyond those that it asks the agent to wait.
    timeout: float = 3.0
    #: Seconds for making a connection.
    connect_timeout: float = 1.0

    def __post_init__(self) -> None:
        if not self.address:
            raise ConfigError("option 'address' of consul is empty", hint='Give one or more, such as "127.0.0.1:8500"')
        agents = self.agents
        for name in ("timeout", "connect_timeout"):
            _check_seconds(name, getattr(self, name), above=0.0)
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigError("options 'cert_file' and 'key_file' of consul belong together", hint="Give both or none")
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise ConfigError(f"option {name!r} of consul: there is no file {path!r}", hint="Give a PEM file")
        given = {_parsed(address)["scheme"] for address in self.address} - {None}
        if given - {agents[0].scheme} or (self.tls is False and (self.ca_file or self.cert_file)):
            raise ConfigError(
                "the options of consul want both TLS and no TLS",
                hint="Look at 'tls', at the certificates, and at http:// and https:// in 'address'",
            )

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The addresses, taken apart."""
        found = [_parsed(address) for address in self.address]
        secure = self.tls
        if secure is None:
            secure = bool(self.ca_file or self.cert_file) or any(one["scheme"] == "https" for one in found)
        scheme = "https" if secure else "http"
        return tuple(Agent(scheme, one["host"], int(one["port"] or DEFAULT_PORT)) for one in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(ConnectionSettings):
    """The options of the registry."""

    #: Seconds that the agent waits between two connects to the instance, and for one of them.
    check_interval: float = 5.0
    check_timeout: float = 5.0
    #: Instead of being connected to, tell the agent that we live; seconds without word after which it counts us out.
    ttl_check: float | None = None
    #: Seconds after which the agent forgets an instance that was counted out.
    deregister_critical_after: float = LEAST_DEREGISTER_AFTER
    #: What the check says before it ran for the first time: ``"passing"``, ``"warning"`` or, as with Kitex,
    #: ``"critical"``, which hides the instance for up to ``check_interval``.
    initial_status: str = "passing"

    def __post_init__(self) -> None:
        # `super()` without arguments does not find its class in a dataclass with slots.
        ConnectionSettings.__post_init__(self)
        for name in ("check_interval", "check_timeout"):
            _check_seconds(name, getattr(self, name), above=0.0)
        if self.ttl_check is not None:
            _check_seconds("ttl_check", self.ttl_check, above=1.0)
        if not LEAST_DEREGISTER_AFTER <= self.deregister_critical_after < inf:
            raise ConfigError(
                f"option 'deregister_critical_after' of consul is {self.deregister_critical_after}",
                hint="Give 60 s or more: Consul takes less for a minute",
            )
        if self.initial_status not in ("passing", "warning", "critical"):
            raise ConfigError(
                f"option 'initial_status' of consul is {self.initial_status!r}",
                hint="Give 'passing', 'warning' or 'critical'",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings(ConnectionSettings):
    """The options of the resolver."""

    #: Seconds for which the agent is asked to wait for a change before it answers.
    wait: float = 30.0

    def __post_init__(self) -> None:
        ConnectionSettings.__post_init__(self)
        if not 1.0 <= self.wait <= 600.0:
            raise ConfigError(f"option 'wait' of consul is {self.wait}", hint="Give from 1 to 600 s")


def consul_settings(cls: type[S], owner: str, options: Mapping[str, object]) -> S:
    """*options* as an object of *cls*, with what the environment says where they are silent.

    :raises ConfigError: an unknown option, or a value that makes no sense.
    """
    return read_settings(cls, owner, {**_from_environment(os.environ), **options})


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for option, variable in _ENVIRONMENT.items():
        text = environment.get(variable, "")
        if not text:
            continue
        if option not in ("tls", "verify"):
            found[option] = text
        elif text.lower() in _FLAGS:
            found[option] = _FLAGS[text.lower()]
        else:
            raise ConfigError(f"the environment has {variable}={text!r}", hint="Give true or false")
    return found


def _parsed(address: str) -> re.Match[str]:
    found = _ADDRESS.fullmatch(address.strip())
    if found is None or int(found["port"] or 0) > 65535:
        raise ConfigError(
            f"{address!r} is no address of a Consul agent",
            hint='Give "host:port", "http://host:port" or "https://host:port"',
        )
    return found


def _check_seconds(name: str, seconds: float, *, above: float) -> None:
    if not above < seconds < inf:
        raise ConfigError(f"option {name!r} of consul is {seconds}", hint=f"Give seconds above {above:g}")
