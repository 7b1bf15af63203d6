"""The registry against agents of a test: what it sends, and what it makes of answers that Consul seldom gives."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from elanus.errors import ConfigError, DiscoveryError
from elanus.plugins import installed_plugins
from elanus.service import Instance
from elanus_registry_consul import ConsulRegistry

from .fake_agent import Asked, FakeAgent, answer, fake_agent

ONE = Instance("10.0.0.1:80", 25, {"zone": "b"})
ID = "echo:10.0.0.1:80"


class Catalog:
    """An agent that does as Consul does, as far as one instance needs it."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        #: Answers to give instead, by what the path begins with.
        self.instead: dict[str, bytes] = {}

    async def answer(self, asked: Asked) -> bytes | None:
        for beginning, given in self.instead.items():
            if asked.path.startswith(beginning):
                return given
        area, _, last = asked.path.removeprefix("/v1/").rpartition("/")
        match area, last:
            case "agent/service", "register":
                self.services[asked.body["ID"]] = {**asked.body, "Service": asked.body["Name"]}
            case "agent/service/deregister", own:
                if self.services.pop(own, None) is None:
                    return answer(f'Unknown service ID "{own}". Ensure that the service ID is passed.', status=404)
            case "agent/check/pass", check:
                if check.removeprefix("service:") not in self.services:
                    return answer(f'Unknown check ID "{check}".', status=404)
            case "agent/service", own:
                if own not in self.services:
                    return answer(f"unknown service ID: {own}", status=404)
                return answer(self.services[own])
            case "health/service", _:
                return answer([{"Service": one} for one in self.services.values()], index=1)
        return answer("")


@asynccontextmanager
async def registry_of(**options: Any) -> AsyncIterator[tuple[ConsulRegistry, Catalog, FakeAgent]]:
    catalog = Catalog()
    async with fake_agent(catalog.answer) as agent:
        registry = ConsulRegistry(**{"address": agent.address, "timeout": 1, **options})
        try:
            yield registry, catalog, agent
        finally:
            catalog.instead.clear()
            await registry.aclose()


async def test_a_registration_with_a_check_by_connecting() -> None:
    async with registry_of(token="secret") as (registry, _, agent):
        await registry.register("echo", ONE)
        first = agent.asked[0]
        assert (first.verb, first.path) == ("PUT", "/v1/agent/service/register")
        assert first.body == {
            "ID": ID,
            "Name": "echo",
            "Address": "10.0.0.1",
            "Port": 80,
            "Tags": ["zone:b"],
            "Weights": {"Passing": 25, "Warning": 25},
            "Check": {
                "TCP": "10.0.0.1:80",
                "Interval": "5s",
                "Timeout": "5s",
                "Status": "passing",
                "DeregisterCriticalServiceAfter": "1m",
            },
        }
        await registry.deregister("echo", ONE)
        assert agent.asked[-1].path == f"/v1/agent/service/deregister/{ID}"
        assert all(one.headers["x-consul-token"] == "secret" and "token" not in one.params for one in agent.asked)


async def test_a_registration_with_heartbeats() -> None:
    async with registry_of(ttl_check=1.5, deregister_critical_after=90) as (registry, _, agent):
        await registry.register("echo", ONE)
        assert agent.asked[0].body["Check"] == {"TTL": "1500ms", "DeregisterCriticalServiceAfter": "90s"}
        beat = f"/v1/agent/check/pass/service:{ID}"
        assert (agent.asked[1].path, agent.asked[1].params) == (beat, {"note": "online"})
        async with asyncio.timeout(5):
            while sum(one.path == beat for one in agent.asked) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_ipv6() -> None:
    async with registry_of() as (registry, _, agent):
        await registry.register("echo", Instance("[2001:db8::1]:80"))
        body = agent.asked[0].body
        assert (body["ID"], body["Address"]) == ("echo:2001:db8::1:80", "2001:db8::1")
        assert body["Check"]["TCP"] == "[2001:db8::1]:80", "or Consul could not connect"


@pytest.mark.parametrize("status", [404, 500])
async def test_a_heartbeat_for_a_check_that_nobody_knows_leads_to_a_new_announcement(status: int) -> None:
    async with registry_of(ttl_check=1.5) as (registry, catalog, agent):
        await registry.register("echo", ONE)
        catalog.services.clear()
        catalog.instead["/v1/agent/check"] = answer(f'Unknown check ID "service:{ID}".', status=status)
        before = len(agent.asked)
        async with asyncio.timeout(5):
            while ID not in catalog.services:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        catalog.instead.clear()
        assert "/v1/agent/service/register" in [one.path for one in agent.asked[before:]]


async def test_withdrawing_what_is_gone_is_no_error() -> None:
    async with registry_of() as (registry, catalog, _):
        await registry.register("echo", ONE)
        catalog.services.clear()
        await registry.deregister("echo", ONE)


async def test_an_agent_that_keeps_something_else_is_an_error() -> None:
    async with registry_of() as (registry, catalog, _):
        other = {"Address": "10.0.0.1", "Port": 80, "Tags": [], "Weights": {"Passing": 1, "Warning": 1}}
        catalog.instead["/v1/agent/service/echo"] = answer(other)
        with pytest.raises(DiscoveryError, match="what was just written reads otherwise"):
            await registry.register("echo", ONE)


async def test_servers_without_a_leader_do_not_keep_a_server_from_starting() -> None:
    async with registry_of() as (registry, catalog, _):
        catalog.instead["/v1/health"] = answer("No cluster leader", status=500)
        await registry.register("echo", ONE)
        assert registry.status()[0].registered_since is not None


async def test_an_agent_that_hangs_holds_up_neither_the_registry_nor_its_end() -> None:
    async def hang(asked: Asked) -> bytes | None:
        await asyncio.sleep(3600)
        return None

    async with fake_agent(hang) as agent:
        registry = ConsulRegistry(address=agent.address, timeout=0.2)
        with pytest.raises(DiscoveryError, match=r"consul at 127.0.0.1:\d+: timed out"):
            await registry.register("echo", ONE)
        await registry.register("echo", ONE, insist=True)
        async with asyncio.timeout(5):
            await registry.aclose()


CHOICES: list[dict[str, object]] = [
    {"address": "nonsense address"},
    {"address": []},
    {"address": "127.0.0.1:99999"},
    {"timeout": 0},
    {"ttl_check": 1},
    {"deregister_critical_after": 59},
    {"initial_status": "good"},
    {"check_interval": float("inf")},
    {"cert_file": "/none"},
    {"ca_file": "/none/ca.pem"},
    {"address": "http://a:1", "tls": True},
    {"address": ["http://a:1", "https://b:1"]},
    {"wait": 5},
]


@pytest.mark.parametrize("options", CHOICES, ids=json.dumps)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_plugins().select("registry", ("consul", options))
    assert caught.value.hint


@pytest.mark.parametrize("options", [{"wait": 0.5}, {"wait": 601}, {"ttl_check": 3}], ids=json.dumps)
def test_so_are_those_of_the_resolver(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        installed_plugins().select("resolver", ("consul", options))


async def test_the_environment_is_asked_where_options_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with registry_of() as (_, _, agent):
        monkeypatch.setenv("CONSUL_HTTP_ADDR", f"http://{agent.address}")
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from the environment")
        monkeypatch.setenv("CONSUL_HTTP_SSL", "false")
        for options, token in (({}, "from the environment"), ({"token": "given"}, "given")):
            registry = ConsulRegistry(**options)
            await registry.register("echo", ONE)
            assert agent.asked[-1].headers["x-consul-token"] == token
            await registry.aclose()
        monkeypatch.setenv("CONSUL_HTTP_SSL", "perhaps")
        with pytest.raises(ConfigError, match="CONSUL_HTTP_SSL='perhaps'"):
            ConsulRegistry()
