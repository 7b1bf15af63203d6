"""Options: what is taken, what is refused, and by what name it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elanus.errors import ConfigError
from elanus.plugins import installed_plugins
from elanus_registry_etcd import EtcdRegistry, EtcdResolver
from elanus_registry_etcd.settings import ConnectionSettings, RegistrySettings, ResolverSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_found_by_name() -> None:
    registry = installed_plugins().select("registry", ("etcd", {"endpoints": "10.0.0.1", "ttl": 30}))
    resolver = installed_plugins().select("resolver", ("etcd", {"endpoints": ["10.0.0.1:1", "10.0.0.2:1"]}))
    assert isinstance(registry, EtcdRegistry)
    assert isinstance(resolver, EtcdResolver)
    assert (registry.name, resolver.name) == ("etcd", "etcd")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"endpoint": "x"}, r"no option 'endpoint'.*Did you mean 'endpoints'"),
        ({"endpoints": 7}, r"option 'endpoints' of registry 'etcd' is 7.*list of texts"),
        ({"endpoints": []}, r"'endpoints' of etcd is empty"),
        ({"endpoints": "ftp://x"}, r"'ftp://x' is no address"),
        ({"endpoints": "x:99999"}, r"'x:99999' is no address"),
        ({"endpoints": "2001:db8::1"}, r"is no address"),
        ({"endpoints": ["http://a", "https://b"]}, r"both TLS and no TLS"),
        ({"endpoints": "http://a", "tls": True}, r"both TLS and no TLS"),
        ({"prefix": "a/"}, r"'prefix' of etcd is 'a/'"),
        ({"password": "x"}, r"'password' of etcd is set without 'user'"),
        ({"ca_file": "/no/such/file"}, r"'ca_file' of etcd: there is no file '/no/such/file'"),
        ({"key_file": "x"}, r"'cert_file' and 'key_file' of etcd belong together"),
        ({"timeout": 0}, r"'timeout' of etcd is 0"),
        ({"connect_timeout": float("inf")}, r"'connect_timeout' of etcd is inf"),
        ({"keepalive_time": 1}, r"'keepalive_time' of etcd is 1"),
        ({"ttl": 0}, r"'ttl' of etcd is 0"),
        ({"ttl": 1.5}, r"'ttl' of registry 'etcd' is 1.5.*whole number"),
        ({"poll_interval": 5}, r"registry 'etcd' has no option 'poll_interval'"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        EtcdRegistry(**options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ttl": 9}, r"resolver 'etcd' has no option 'ttl'"),
        ({"poll_interval": 0.1}, r"'poll_interval' of etcd is 0.1"),
        ({"default_weight": 0}, r"'default_weight' of etcd is 0"),
        ({"timeout": float("nan")}, r"'timeout' of etcd is nan"),
    ],
)
def test_what_is_wrong_with_a_resolver_is_said(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        EtcdResolver(**options)


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("10.0.0.1", "10.0.0.1:2379", False),
        ("etcd.local:1", "etcd.local:1", False),
        ("http://10.0.0.1:1/", "10.0.0.1:1", False),
        ("https://etcd.local", "etcd.local:2379", True),
        ("[2001:db8::1]", "[2001:db8::1]:2379", False),
    ],
)
def test_endpoints(endpoint: str, target: str, secure: bool) -> None:
    settings = ConnectionSettings(endpoints=(endpoint,))
    assert settings.targets == (target,)
    assert settings.secure is secure


def test_certificates_mean_tls(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    assert ConnectionSettings(ca_file=str(authority)).secure
    with pytest.raises(ConfigError, match="both TLS and no TLS"):
        ConnectionSettings(ca_file=str(authority), tls=False)


def test_the_ttl_is_the_option_the_environment_or_60() -> None:
    environment = {"KITEX_ETCD_REGISTRY_LEASE_TTL": "90"}
    assert RegistrySettings().lease_ttl({}) == 60
    assert RegistrySettings().lease_ttl(environment) == 90
    assert RegistrySettings(ttl=5).lease_ttl(environment) == 5
    assert RegistrySettings(kitex_environment=False).lease_ttl(environment) == 60
    with pytest.raises(ConfigError, match="KITEX_ETCD_REGISTRY_LEASE_TTL='1m'"):
        RegistrySettings().lease_ttl({"KITEX_ETCD_REGISTRY_LEASE_TTL": "1m"})


def test_the_address_of_the_environment() -> None:
    environment = {"KITEX_IP_TO_REGISTRY": "192.0.2.1", "KITEX_PORT_TO_REGISTRY": "81"}
    assert RegistrySettings().advertised({}) == ("", "")
    assert RegistrySettings().advertised(environment) == ("192.0.2.1", "81")
    assert RegistrySettings(kitex_environment=False).advertised(environment) == ("", "")
    with pytest.raises(ConfigError, match="KITEX_PORT_TO_REGISTRY='http'"):
        RegistrySettings().advertised({"KITEX_PORT_TO_REGISTRY": "http"})


def test_the_defaults_are_those_of_kitex() -> None:
    settings = ResolverSettings()
    assert (settings.prefix, settings.default_weight, settings.timeout) == ("kitex/registry-etcd", 10, 3.0)


def test_nothing_is_opened_before_it_is_used() -> None:
    """No loop runs here, nobody listens there, and building both is no matter."""
    EtcdRegistry(endpoints="127.0.0.1:1")
    EtcdResolver(endpoints="127.0.0.1:1")
