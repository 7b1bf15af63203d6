"""The options of registry and resolver, checked before anything is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elanus.errors import ConfigError
from elanus.service import DEFAULT_WEIGHT
from elanus.settings import BackendAddress, backend_address, check_pem_files, check_seconds, wants_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConnectionSettings", "RegistrySettings", "ResolverSettings"]

#: Kitex's: its registry-etcd writes keys without a leading slash.
DEFAULT_PREFIX = "kitex/registry-etcd"
DEFAULT_PORT = 2379
DEFAULT_TTL = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What registry and resolver have in common."""

    #: Where the members of the cluster answer: ``"host:port"``, ``"http://host:port"`` or ``"https://host:port"``.
    endpoints: tuple[str, ...] = (f"127.0.0.1:{DEFAULT_PORT}",)
    prefix: str = DEFAULT_PREFIX
    user: str = ""
    password: str = ""
    #: Whether to use TLS; ``None`` does when an endpoint is ``https://`` or a file below is given.
    tls: bool | None = None
    #: Paths of PEM files: the authorities to trust (the system's by default), our certificate, and its key.
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    #: The name that the server's certificate must bear, where that is not the endpoint's host.
    server_name: str = ""
    #: Seconds for one request.
    timeout: float = 3.0
    #: Seconds for making a connection.
    connect_timeout: float = 1.0
    #: Seconds between pings on a connection on which nothing arrives. etcd closes connections that ping within 5 s.
    keepalive_time: float = 10.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ConfigError("option 'endpoints' of etcd is empty", hint='Give one or more, such as "10.0.0.1:2379"')
        if self.prefix.endswith("/"):
            raise ConfigError(f"option 'prefix' of etcd is {self.prefix!r}", hint="Leave out the '/' at its end")
        self._check_credentials()
        check_seconds("etcd", "timeout", self.timeout)
        check_seconds("etcd", "connect_timeout", self.connect_timeout)
        if self.keepalive_time < 5.0:
            raise ConfigError(
                f"option 'keepalive_time' of etcd is {self.keepalive_time}", hint="Give 5 or more: etcd refuses less"
            )

    def _check_credentials(self) -> None:
        if self.password and not self.user:
            raise ConfigError("option 'password' of etcd is set without 'user'", hint="Give the user, too")
        check_pem_files("etcd", self.ca_file, self.cert_file, self.key_file)
        wants_tls("etcd", self.tls, self._members(), files=bool(self.ca_file or self.cert_file))

    def _members(self) -> list[BackendAddress]:
        return [backend_address("etcd", endpoint, DEFAULT_PORT) for endpoint in self.endpoints]

    @property
    def targets(self) -> tuple[str, ...]:
        """The endpoints as ``"host:port"``."""
        return tuple(str(member) for member in self._members())

    @property
    def secure(self) -> bool:
        """Whether to use TLS."""
        return wants_tls("etcd", self.tls, self._members(), files=bool(self.ca_file or self.cert_file))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(ConnectionSettings):
    """The options of the registry."""

    #: Seconds for which an announcement outlives its server; ``None``: what the environment says, or Kitex's 60.
    ttl: int | None = None
    #: Whether the environment variables that Kitex's registry obeys count here, too.
    kitex_environment: bool = True

    def __post_init__(self) -> None:
        # `super()` without arguments does not find its class in a dataclass with slots.
        ConnectionSettings.__post_init__(self)
        if self.ttl is not None and self.ttl < 1:
            raise ConfigError(f"option 'ttl' of etcd is {self.ttl}", hint="Give whole seconds above 0")

    def lease_ttl(self, environment: Mapping[str, str] = os.environ) -> int:
        """Seconds of the lease: the option, else ``KITEX_ETCD_REGISTRY_LEASE_TTL``, else 60.

        :raises ConfigError: the variable is no number.
        """
        if self.ttl is not None:
            return self.ttl
        name = "KITEX_ETCD_REGISTRY_LEASE_TTL"
        text = environment.get(name, "") if self.kitex_environment else ""
        if not text:
            return DEFAULT_TTL
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"the environment has {name}={text!r}", hint="Give whole seconds, or set option 'ttl'")
        return int(text)

    def advertised(self, environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
        """Host and port that replace those of what is announced (``KITEX_IP_TO_REGISTRY``, ``KITEX_PORT_TO_REGISTRY``).

        Each is empty where nothing is replaced.

        :raises ConfigError: the port is no number.
        """
        if not self.kitex_environment:
            return "", ""
        host, port = environment.get("KITEX_IP_TO_REGISTRY", ""), environment.get("KITEX_PORT_TO_REGISTRY", "")
        if port and not port.isdecimal():
            raise ConfigError(f"the environment has KITEX_PORT_TO_REGISTRY={port!r}", hint="Give a number")
        return host, port


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings(ConnectionSettings):
    """The options of the resolver."""

    #: Seconds between asking whether a watch missed something.
    poll_interval: float = 30.0
    #: The weight of instances that were announced with none, or with one below 1.
    default_weight: int = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        ConnectionSettings.__post_init__(self)
        if not self.poll_interval >= 0.5:
            raise ConfigError(f"option 'poll_interval' of etcd is {self.poll_interval}", hint="Give 0.5 s or more")
        if self.default_weight < 1:
            raise ConfigError(f"option 'default_weight' of etcd is {self.default_weight}", hint="Give 1 or more")
