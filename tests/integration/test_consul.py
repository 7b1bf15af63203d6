"""Registry and resolver on a real Consul: the suites of both contracts, users, TLS, dead agents, Kitex's format."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from elanus.errors import ConfigError, DiscoveryError, StateError
from elanus.service import Instance
from elanus.testing import FaultProxy
from elanus.testing.registry import RegistrySuite
from elanus.testing.resolver import ResolverSuite
from elanus_registry_consul import ConsulRegistry, ConsulResolver

from .consul_server import ConsulFactory, ConsulServer
from .outages import eventually
from .servers import Certificates

pytestmark = pytest.mark.integration

ONE = Instance("10.0.0.1:8888", 10, {"zone": "a"})
TWO = Instance("10.0.0.2:8888", 20)


def put(server: ConsulServer, name: str, instance: Instance, **more: Any) -> None:
    """What Kitex would write, made without the plugin; with no check it counts as passing."""
    host, _, port = instance.address.rpartition(":")
    fields = {
        "ID": f"{name}:{instance.address}",
        "Name": name,
        "Address": host,
        "Port": int(port),
        "Tags": [f"{key}:{value}" for key, value in instance.tags.items()],
        "Weights": {"Passing": instance.weight, "Warning": instance.weight},
    }
    server.put("agent/service/register", **{**fields, **more})


class TestRegistryOnConsul(RegistrySuite):
    unsupported = {"unix": "Consul is for networks: a socket's path means nothing on another machine"}  # noqa: RUF012
    options: dict[str, Any] = {}  # noqa: RUF012
    server: ConsulServer

    @pytest.fixture(autouse=True)
    def _server(self, consul: ConsulServer) -> None:
        self.server = consul

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ConsulRegistry]:
        registry = ConsulRegistry(address=self.server.address, timeout=1, **self.options)
        try:
            yield registry
        finally:
            await registry.aclose()
            assert self.server.services() == {}

    async def seen(self, name: str) -> Sequence[Instance]:
        """As the servers show it, passing or not: nobody listens at these addresses."""
        found = []
        for service in (entry["Service"] for entry in self.server.health(name)):
            host = f"[{service['Address']}]" if ":" in service["Address"] else service["Address"]
            tags = dict(tag.split(":", 1) for tag in service["Tags"])
            found.append(Instance(f"{host}:{service['Port']}", service["Weights"]["Passing"], tags))
        return found

    async def lose(self) -> None:
        self.server.deregister_all()
        assert self.server.services() == {}


class TestRegistryWithHeartbeats(TestRegistryOnConsul):
    options = {"ttl_check": 3}  # noqa: RUF012


class TestResolverOnConsul(ResolverSuite):
    server: ConsulServer

    @pytest.fixture(autouse=True)
    def _server(self, consul: ConsulServer) -> None:
        self.server = consul

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ConsulResolver]:
        self.server.deregister_all()
        await eventually(lambda: not self.server.health("echo"), 5)
        resolver = ConsulResolver(address=self.server.address, timeout=1)
        try:
            yield resolver
        finally:
            await resolver.aclose()
            self.server.deregister_all()

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        for instance in instances:
            put(self.server, name, instance)
        wanted = {f"{name}:{instance.address}" for instance in instances}
        for one, service in self.server.services().items():
            if service["Service"] == name and one not in wanted:
                self.server.put(f"agent/service/deregister/{one}")
        expected = {(i.address, i.weight, frozenset(i.tags.items())) for i in instances}
        # The agent tells the servers in its own time.
        await eventually(lambda: shown(self.server, name) == expected, 5)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()


def shown(server: ConsulServer, name: str) -> set[tuple[str, int, frozenset[tuple[str, ...]]]]:
    """Address, weight and tags of every instance that passes."""
    return {
        (
            f"{service['Address']}:{service['Port']}",
            service["Weights"]["Passing"],
            frozenset(tuple(tag.split(":", 1)) for tag in service["Tags"]),
        )
        for service in (entry["Service"] for entry in server.health(name, passing=True))
    }


@asynccontextmanager
async def opened(kind: type[Any], server: ConsulServer, **options: object) -> AsyncIterator[Any]:
    made = kind(**{"address": server.address, "timeout": 1, **options})
    try:
        yield made
    finally:
        await made.aclose()


async def first_of(resolver: ConsulResolver, name: str = "echo") -> Sequence[Instance]:
    watch = resolver.watch(name)
    try:
        return await anext(watch)
    finally:
        await watch.aclose()


async def until(watch: AsyncIterator[Sequence[Instance]], *expected: Instance) -> None:
    async with asyncio.timeout(10):
        async for instances in watch:
            if list(instances) == list(expected):
                return


# -- the format -----------------------------------------------------------------------------------------------------


async def test_a_registration_is_kitexs(consul: ConsulServer) -> None:
    async with opened(ConsulRegistry, consul) as registry:
        await registry.register("acme.echo", ONE)
        (entry,) = consul.health("acme.echo")
        service = entry["Service"]
        assert service["ID"] == "acme.echo:10.0.0.1:8888"
        assert (service["Address"], service["Port"], service["Tags"]) == ("10.0.0.1", 8888, ["zone:a"])
        assert service["Weights"] == {"Passing": 10, "Warning": 10}
        assert not service["Meta"]
        (check,) = [one for one in entry["Checks"] if one["ServiceID"]]
        assert (check["CheckID"], check["Type"], check["Interval"], check["Timeout"]) == (
            "service:acme.echo:10.0.0.1:8888",
            "tcp",
            "5s",
            "5s",
        )
        (own,) = consul.ask("agent/checks").values()
        assert own["Definition"].get("DeregisterCriticalServiceAfter") in ("1m0s", None)
    assert consul.health("acme.echo") == []


async def test_the_agent_connects_to_the_instance(consul: ConsulServer, dead_address: str) -> None:
    async with asyncio_server() as port, opened(ConsulRegistry, consul, check_interval=0.2) as registry:
        there = Instance(f"127.0.0.1:{port}")
        await registry.register("echo", there)
        await registry.register("echo", Instance(dead_address))
        expected = {(there.address, 10, frozenset[tuple[str, ...]]())}
        await eventually(lambda: shown(consul, "echo") == expected, 5)
        async with opened(ConsulResolver, consul) as resolver:
            assert await first_of(resolver) == [there]


@asynccontextmanager
async def asyncio_server() -> AsyncIterator[int]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_with_heartbeats_the_agent_waits_for_them(consul: ConsulServer) -> None:
    async with opened(ConsulRegistry, consul, ttl_check=2) as registry, opened(ConsulResolver, consul) as resolver:
        await registry.register("echo", ONE)
        watch = resolver.watch("echo")
        await until(watch, ONE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 5)  # it stays passing for long
        await watch.aclose()
        registry._task.cancel()  # the process hangs
        watch = resolver.watch("echo")
        await until(watch, ONE)
        await until(watch)
        await watch.aclose()
        registry._task = None


async def test_an_instance_is_seen_from_the_start_unless_told_otherwise(consul: ConsulServer) -> None:
    async with asyncio_server() as port:
        instance = Instance(f"127.0.0.1:{port}")
        async with opened(ConsulRegistry, consul, initial_status="critical", check_interval=3) as registry:
            await registry.register("echo", instance)
            (entry,) = consul.health("echo")
            assert [check["Status"] for check in entry["Checks"] if check["ServiceID"]] == ["critical"]
        async with opened(ConsulRegistry, consul) as registry:
            await registry.register("echo", instance)
            assert shown(consul, "echo")


async def test_what_is_changed_stays_passing(consul: ConsulServer) -> None:
    async with (
        asyncio_server() as port,
        opened(ConsulRegistry, consul) as registry,
        opened(ConsulResolver, consul) as resolver,
    ):
        await registry.register("echo", Instance(f"127.0.0.1:{port}", 10))
        watch = resolver.watch("echo")
        assert [one.weight for one in await anext(watch)] == [10]
        await registry.register("echo", Instance(f"127.0.0.1:{port}", 30, {"lane": "b"}))
        async with asyncio.timeout(5):
            assert [(one.weight, dict(one.tags)) for one in await anext(watch)] == [(30, {"lane": "b"})]
        await watch.aclose()


async def test_entries_that_kitex_passes_over(consul: ConsulServer) -> None:
    put(consul, "echo", ONE, ID="none", Address="")
    put(consul, "echo", TWO, Tags=["bare", "zone:b:c", ":x"])
    await eventually(lambda: len(consul.health("echo")) == 2, 5)
    async with opened(ConsulResolver, consul) as resolver:
        (found,) = await first_of(resolver)
        assert found == Instance(TWO.address, 20, {"zone": "b:c", "": "x"})
    consul.deregister_all()


NOT_ANNOUNCED = [
    ("echo", Instance("10.0.0.1:1", 10, {"a:b": "c"}), "tag 'a:b'"),
    ("echo", Instance("10.0.0.1:1", 0), "weight 0"),
    ("echo", Instance("10.0.0.1:1", 65536), "weight 65536"),
    ("echo", Instance("unix:/x"), "unix:/x"),
    ("echo", Instance("10.0.0.1"), "10.0.0.1"),
    ("", Instance("10.0.0.1:1"), "name"),
]


@pytest.mark.parametrize(("name", "instance", "text"), NOT_ANNOUNCED, ids=[text for *_, text in NOT_ANNOUNCED])
async def test_what_consul_cannot_hold_is_refused_at_once(
    name: str, instance: Instance, text: str, consul: ConsulServer
) -> None:
    async with opened(ConsulRegistry, consul) as registry:
        with pytest.raises(ConfigError, match=text):
            await registry.register(name, instance, insist=True)
        assert registry.status() == []


async def test_somebody_else_at_our_address_is_replaced_again(consul: ConsulServer) -> None:
    async with opened(ConsulRegistry, consul, ttl_check=3) as registry:
        await registry.register("echo", ONE)
        put(consul, "echo", Instance(ONE.address, 77))
        ours = {(ONE.address, 10, frozenset({("zone", "a")}))}
        await eventually(lambda: shown(consul, "echo") == ours, 5)


async def test_what_only_the_servers_forgot_is_told_them_again(consul: ConsulServer) -> None:
    async with opened(ConsulRegistry, consul, ttl_check=3) as registry:
        await registry.register("echo", ONE)
        consul.put("catalog/deregister", Node="tester", ServiceID="echo:10.0.0.1:8888")
        assert consul.health("echo") == []
        await eventually(lambda: len(consul.health("echo")) == 1, 5)


# -- life -----------------------------------------------------------------------------------------------------------


async def test_closing_the_resolver_ends_its_watches(consul: ConsulServer) -> None:
    async with opened(ConsulResolver, consul) as resolver:
        watch = resolver.watch("echo")
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(1):
            await resolver.aclose()
            with pytest.raises(StopAsyncIteration):
                await following
        with pytest.raises(StateError, match="closed"):
            await anext(resolver.watch("echo"))


async def test_an_agent_of_another_datacenter_is_refused(consul: ConsulServer) -> None:
    async with opened(ConsulRegistry, consul, datacenter="dc2") as registry:
        with pytest.raises(DiscoveryError, match=r"in the datacenter 'dc1', not in 'dc2'"):
            await registry.register("echo", ONE)
        assert consul.services() == {}
    async with opened(ConsulRegistry, consul, datacenter="dc1") as registry:
        await registry.register("echo", ONE)
        async with opened(ConsulResolver, consul, datacenter="dc1") as resolver:
            assert await first_of(resolver) == [ONE]
        async with opened(ConsulResolver, consul, datacenter="dc2") as resolver:
            with pytest.raises(DiscoveryError, match=r"No path to datacenter\. Check the option 'datacenter'"):
                await first_of(resolver)


async def test_one_of_several_agents_is_dead(consul: ConsulServer, dead_address: str) -> None:
    async with FaultProxy(consul.address) as silent:
        silent.half_open = True
        addresses = [dead_address, silent.address, consul.address]
        async with (
            opened(ConsulRegistry, consul, address=addresses) as registry,
            opened(ConsulResolver, consul, address=addresses) as resolver,
        ):
            await registry.register("echo", ONE)
            watch = resolver.watch("echo")
            assert await anext(watch) == [ONE]
            await registry.register("echo", TWO)
            await until(watch, ONE, TWO)
            await watch.aclose()


async def test_nobody_there(consul: ConsulServer, dead_address: str) -> None:
    async with opened(ConsulRegistry, consul, address=dead_address) as registry:
        with pytest.raises(DiscoveryError, match=r"Connection refused.* Check the registry's address") as caught:
            await registry.register("echo", ONE)
        assert dead_address in str(caught.value)
    async with opened(ConsulResolver, consul, address=dead_address) as resolver:
        with pytest.raises(DiscoveryError, match=r"'echo'.*Connection refused.* Check that a Consul agent runs there"):
            await first_of(resolver)


# -- users and TLS --------------------------------------------------------------------------------------------------

WRITE = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'
READ = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
LONELY = 'service_prefix "" { policy = "write" }'


async def test_tokens(start_consul: ConsulFactory) -> None:
    server = start_consul(acl=True)
    writer, reader = server.new_token("writer", WRITE), server.new_token("reader", READ)
    async with opened(ConsulRegistry, server, token=writer) as registry:
        await registry.register("echo", ONE)
        async with opened(ConsulResolver, server, token=reader) as resolver:
            assert await first_of(resolver) == [ONE]
        for token in ("5e2d3c1a-0000-4000-8000-00000000dead", server.new_token("stranger", "")):
            # One that nobody knows is refused; one with no rights is shown nobody, and told so in a header.
            async with opened(ConsulResolver, server, token=token) as resolver:
                with pytest.raises(DiscoveryError, match="option 'token'"):
                    await first_of(resolver)
    async with opened(ConsulRegistry, server, token=reader) as registry:
        with pytest.raises(DiscoveryError, match="Permission denied"):
            await registry.register("echo", ONE)


async def test_a_watch_whose_token_loses_its_rights_keeps_what_it_knew(start_consul: ConsulFactory) -> None:
    server = start_consul(acl=True)
    token = server.new_token("reader", READ)
    put(server, "echo", ONE)
    await eventually(lambda: len(server.health("echo")) == 1, 5)
    async with opened(ConsulResolver, server, token=token, wait=2) as resolver:
        watch = resolver.watch("echo")
        await until(watch, ONE)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.2)
        server.set_rules("reader", 'key "none" { policy = "read" }')
        await asyncio.sleep(5)
        assert not following.done()
        server.set_rules("reader", READ)
        put(server, "echo", TWO)
        async with asyncio.timeout(5):
            assert await following == [ONE, TWO]
        await watch.aclose()


async def test_a_token_that_may_not_read_nodes_is_enough_to_register(start_consul: ConsulFactory) -> None:
    server = start_consul(acl=True)
    token = server.new_token("lonely", LONELY)
    async with opened(ConsulRegistry, server, token=token, ttl_check=3) as registry:
        await registry.register("echo", ONE)
        (before,) = server.health("echo")
        await asyncio.sleep(4)  # several checks, none of which may take it for lost
        (after,) = server.health("echo")
        assert before["Service"]["ModifyIndex"] == after["Service"]["ModifyIndex"]
        assert registry.status()[0].lost_since is None


async def test_a_token_is_in_no_error(start_consul: ConsulFactory) -> None:
    server = start_consul(acl=True)
    token = "5e2d3c1a-0000-4000-8000-00000000dead"
    async with opened(ConsulRegistry, server, token=token) as registry:
        with pytest.raises(DiscoveryError) as caught:
            await registry.register("echo", ONE)
        server.kill()
        with pytest.raises(DiscoveryError) as later:
            await registry.register("echo", ONE)
    for error in (caught.value, later.value):
        assert token not in "".join(traceback.format_exception(error))


async def test_tls_with_client_certificates(
    start_consul: ConsulFactory, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_consul(certificates=certificates)
    files = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.client_cert_file,
        "key_file": certificates.client_key_file,
    }
    async with opened(ConsulRegistry, server, **files) as registry, opened(ConsulResolver, server, **files) as resolver:
        await registry.register("echo", ONE)
        watch = resolver.watch("echo")
        assert await anext(watch) == [ONE]
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1):
            await resolver.aclose()
            with pytest.raises(StopAsyncIteration):
                await following
    async with opened(ConsulResolver, server, ca_file=certificates.ca_file) as resolver:
        with pytest.raises(DiscoveryError, match="certificate"):
            await first_of(resolver)
    async with opened(ConsulResolver, server, tls=True) as resolver:
        with pytest.raises(DiscoveryError, match=r"CERTIFICATE_VERIFY_FAILED.* Check the options 'tls'"):
            await first_of(resolver)
    async with opened(ConsulResolver, server) as resolver:
        with pytest.raises(DiscoveryError, match=r"HTTP request to an HTTPS server.* Check the options 'tls'"):
            await first_of(resolver)
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"https://{server.address}")
    monkeypatch.setenv("CONSUL_CACERT", certificates.ca_file)
    monkeypatch.setenv("CONSUL_CLIENT_CERT", certificates.client_cert_file)
    monkeypatch.setenv("CONSUL_CLIENT_KEY", certificates.client_key_file)
    resolver = ConsulResolver()
    assert await first_of(resolver) == []
    await resolver.aclose()
