"""The options of registry and resolver, checked before anything is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeVar

from elanus.errors import ConfigError
from elanus.settings import (
    BackendAddress,
    backend_address,
    check_pem_files,
    check_seconds,
    read_settings,
    wants_tls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConnectionSettings", "RegistrySettings", "ResolverSettings", "consul_settings"]

DEFAULT_PORT = 8500
#: Consul looks for services to deregister twice a minute, and takes anything below a minute for one.
#: Source: Consul ``agent/config``, ``check_deregister_interval_min``.
LEAST_DEREGISTER_AFTER = 60.0

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
        check_seconds("consul", "timeout", self.timeout)
        check_seconds("consul", "connect_timeout", self.connect_timeout)
        check_pem_files("consul", self.ca_file, self.cert_file, self.key_file)
        _ = self.agents

    @property
    def agents(self) -> tuple[BackendAddress, ...]:
        """The addresses, taken apart, each with the scheme that it is spoken to with."""
        found = [backend_address("a Consul agent", address, DEFAULT_PORT) for address in self.address]
        secure = wants_tls("consul", self.tls, found, files=bool(self.ca_file or self.cert_file))
        return tuple(agent._replace(scheme="https" if secure else "http") for agent in found)


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
            check_seconds("consul", name, getattr(self, name))
        if self.ttl_check is not None:
            check_seconds("consul", "ttl_check", self.ttl_check, above=1.0)
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
