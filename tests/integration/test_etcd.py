"""Registry and resolver on real etcd servers, 3.6 and 3.4: the suites of both contracts, users, TLS, dead members."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from elanus.errors import ConfigError, DiscoveryError, StateError
from elanus.service import Instance
from elanus.testing import FaultProxy
from elanus.testing.registry import RegistrySuite
from elanus.testing.resolver import ResolverSuite
from elanus_registry_etcd import EtcdRegistry, EtcdResolver

from .conftest import EtcdFactory
from .servers import Certificates, EtcdServer, free_ports

pytestmark = pytest.mark.integration

PREFIX = "kitex/registry-etcd"
ONE = Instance("10.0.0.1:8888", 10, {"zone": "a"})
TWO = Instance("10.0.0.2:8888", 20)


def value_of(instance: Instance) -> str:
    """What Kitex would write, made without the plugin."""
    tags = dict(instance.tags) or None
    return json.dumps({"network": "tcp", "address": instance.address, "weight": instance.weight, "tags": tags})


class EtcdRegistryTests(RegistrySuite):
    """The registry against the server of each subclass."""

    __test__ = False
    unsupported = {"unix": "etcd is for networks: a socket's path means nothing on another machine"}  # noqa: RUF012
    server: EtcdServer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EtcdRegistry]:
        registry = EtcdRegistry(endpoints=self.server.address, ttl=2, timeout=1)
        try:
            yield registry
        finally:
            await registry.aclose()
            assert self.server.get(PREFIX) == {}
            assert self.server.leases() == [], "a lease is left behind"

    async def seen(self, name: str) -> Sequence[Instance]:
        values = map(json.loads, self.server.get(f"{PREFIX}/{name}/").values())
        return [Instance(value["address"], value["weight"], value["tags"] or {}) for value in values]

    async def lose(self) -> None:
        for lease in self.server.leases():
            self.server.revoke(lease)
        assert self.server.get(PREFIX) == {}


class EtcdResolverTests(ResolverSuite):
    """The resolver against the server of each subclass."""

    __test__ = False
    server: EtcdServer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EtcdResolver]:
        self.server.delete(PREFIX)
        resolver = EtcdResolver(endpoints=self.server.address, timeout=1)
        try:
            yield resolver
        finally:
            await resolver.aclose()
            self.server.delete(PREFIX)

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        wanted = {f"{PREFIX}/{name}/{instance.address}": value_of(instance) for instance in instances}
        for key in self.server.get(f"{PREFIX}/{name}/").keys() - wanted.keys():
            self.server.delete(key)
        for key, value in wanted.items():
            self.server.put(key, value)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()


class TestRegistryOnEtcd36(EtcdRegistryTests):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, etcd: EtcdServer) -> None:
        self.server = etcd


class TestResolverOnEtcd36(EtcdResolverTests):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, etcd: EtcdServer) -> None:
        self.server = etcd


class TestRegistryOnEtcd34(EtcdRegistryTests):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, etcd_34: EtcdServer) -> None:
        self.server = etcd_34


class TestResolverOnEtcd34(EtcdResolverTests):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, etcd_34: EtcdServer) -> None:
        self.server = etcd_34


@asynccontextmanager
async def opened(kind: type[Any], server: EtcdServer, **options: object) -> AsyncIterator[Any]:
    made = kind(**{"endpoints": server.address, "timeout": 1, **options})
    try:
        yield made
    finally:
        await made.aclose()


async def first_of(resolver: EtcdResolver, name: str = "echo") -> Sequence[Instance]:
    watch = resolver.watch(name)
    try:
        return await anext(watch)
    finally:
        await watch.aclose()


async def until(watch: AsyncIterator[Sequence[Instance]], *expected: Instance) -> None:
    async with asyncio.timeout(10):
        async for instances in watch:
            if set(instances) == set(expected):
                return


# -- the format -----------------------------------------------------------------------------------------------------


async def test_key_value_and_lease_are_those_of_kitex(etcd: EtcdServer) -> None:
    async with opened(EtcdRegistry, etcd) as registry:
        await registry.register("acme.echo", Instance("10.0.0.5:8888"))
        (entry,) = etcd.entries(PREFIX)
        assert base64.b64decode(entry["key"]) == b"kitex/registry-etcd/acme.echo/10.0.0.5:8888"
        assert base64.b64decode(entry["value"]) == (
            b'{"network":"tcp","address":"10.0.0.5:8888","weight":10,"tags":null}'
        )
        assert etcd.lease_ttl(int(entry["lease"])) == 60


async def test_the_environment_of_kitex_is_obeyed(etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITEX_IP_TO_REGISTRY", "192.0.2.7")
    monkeypatch.setenv("KITEX_PORT_TO_REGISTRY", "9999")
    monkeypatch.setenv("KITEX_ETCD_REGISTRY_LEASE_TTL", "33")
    async with opened(EtcdRegistry, etcd) as registry:
        await registry.register("echo", ONE)
        ((key, value),) = etcd.get(PREFIX).items()
        assert key == f"{PREFIX}/echo/192.0.2.7:9999"
        assert json.loads(value)["address"] == "192.0.2.7:9999"
        assert [etcd.lease_ttl(lease) for lease in etcd.leases()] == [33]
        await registry.deregister("echo", ONE)
        assert etcd.get(PREFIX) == {}
    async with opened(EtcdRegistry, etcd, kitex_environment=False, prefix="elsewhere") as registry:
        await registry.register("echo", ONE)
        assert list(etcd.get("elsewhere")) == [f"elsewhere/echo/{ONE.address}"]
        assert [etcd.lease_ttl(lease) for lease in etcd.leases()] == [60]


async def test_what_kitex_could_not_read_is_left_out_and_said_once(
    etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    values = {
        "good": value_of(ONE),
        "text": "no JSON",
        "bare": "[]",
        "weight": '{"network":"tcp","address":"10.0.0.9:1","weight":"many","tags":null}',
        "none": '{"network":"tcp","address":"10.0.0.8:1","weight":0,"tags":null}',
        "v6": '{"network":"tcp","address":"2001:db8::1:8888","weight":7,"tags":null}',
    }
    for key, value in values.items():
        etcd.put(f"{PREFIX}/echo/{key}", value)
    try:
        async with opened(EtcdResolver, etcd, poll_interval=0.5) as resolver:
            watch = resolver.watch("echo")
            expected = {ONE, Instance("10.0.0.8:1", 10), Instance("[2001:db8::1]:8888", 7)}
            assert set(await anext(watch)) == expected
            etcd.put(f"{PREFIX}/echo/text", "still none")
            etcd.put(f"{PREFIX}/echo/last", value_of(TWO))
            await until(watch, *expected, TWO)
            await watch.aclose()
    finally:
        etcd.delete(PREFIX)
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 3, told


async def test_a_service_name_that_reaches_into_another_is_refused(etcd: EtcdServer) -> None:
    async with opened(EtcdRegistry, etcd) as registry, opened(EtcdResolver, etcd) as resolver:
        with pytest.raises(ConfigError, match=r"a/b.*without '/'"):
            await registry.register("a/b", ONE)
        with pytest.raises(ConfigError, match=r"a/b.*without '/'"):
            await first_of(resolver, "a/b")
        with pytest.raises(ConfigError, match=r"unix:/run/x.*advertise"):
            await registry.register("echo", Instance("unix:/run/x"))
        assert registry.status() == []


async def test_a_key_that_a_successor_took_over_is_not_withdrawn(etcd: EtcdServer) -> None:
    async with opened(EtcdRegistry, etcd) as successor:
        async with opened(EtcdRegistry, etcd) as first:
            await first.register("echo", ONE)
            await successor.register("echo", ONE)
        assert list(etcd.get(PREFIX)) == [f"{PREFIX}/echo/{ONE.address}"]
    assert etcd.get(PREFIX) == {}


# -- users and TLS --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["start_etcd", "start_etcd_34"])
async def test_a_user_with_rights_on_the_prefix_is_enough(version: str, request: pytest.FixtureRequest) -> None:
    start: EtcdFactory = request.getfixturevalue(version)
    server = start(token_ttl=1)
    server.add_user("fleet", "secret", prefix=f"{PREFIX}/")
    server.enable_users()
    who = {"user": "fleet", "password": "secret"}
    async with opened(EtcdRegistry, server, ttl=3, **who) as registry, opened(EtcdResolver, server, **who) as resolver:
        await registry.register("echo", ONE)
        watch = resolver.watch("echo")
        await until(watch, ONE)
        await asyncio.sleep(2.5)  # longer than an unused token lives: the next request needs a new one
        await registry.register("echo", TWO)
        await until(watch, ONE, TWO)
        assert [one.lost_since for one in registry.status()] == [None, None]
        await watch.aclose()
    assert server.get(PREFIX) == {}


async def test_wrong_credentials_say_so_and_a_later_look_up_works_when_they_are_right(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    server.add_user("fleet", "old", prefix=f"{PREFIX}/")
    server.add_user("stranger", "secret")
    server.enable_users()
    async with opened(EtcdResolver, server, user="fleet", password="new") as resolver:
        with pytest.raises(DiscoveryError, match=r"echo.*authentication failed.*'user' and 'password'"):
            await first_of(resolver)
        server.change_password("fleet", "new")
        assert list(await first_of(resolver)) == []
        server.change_password("fleet", "newer")  # the token is still good, or a new one is asked for: both are right
    async with opened(EtcdResolver, server) as resolver:
        with pytest.raises(DiscoveryError, match=r"user name is empty.*set the options 'user' and 'password'"):
            await first_of(resolver)
    async with opened(EtcdResolver, server, user="stranger", password="secret") as resolver:
        with pytest.raises(DiscoveryError, match=r"permission denied.*Grant the user's role"):
            await first_of(resolver)
    async with opened(EtcdRegistry, server, user="fleet", password="wrong") as registry:
        with pytest.raises(DiscoveryError, match=r"echo.*authentication failed"):
            await registry.register("echo", ONE)


async def test_users_that_are_introduced_later_are_honoured(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    async with opened(EtcdResolver, server, user="fleet", password="secret", poll_interval=0.5) as resolver:
        watch = resolver.watch("echo")
        assert list(await anext(watch)) == []
        server.add_user("fleet", "secret", prefix=f"{PREFIX}/")
        server.enable_users()
        await asyncio.sleep(1.0)
        server.put(f"{PREFIX}/echo/1", value_of(ONE))
        await until(watch, ONE)
        await watch.aclose()


async def test_tls_with_certificates_on_both_sides(start_etcd: EtcdFactory, certificates: Certificates) -> None:
    server = start_etcd(certificates=certificates)
    files = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.client_cert_file,
        "key_file": certificates.client_key_file,
    }
    options = {"endpoints": f"https://{server.address}", **files}
    async with opened(EtcdRegistry, server, **options) as registry, opened(EtcdResolver, server, **options) as resolver:
        await registry.register("echo", ONE)
        assert list(await first_of(resolver)) == [ONE]
    async with opened(EtcdResolver, server, ca_file=certificates.ca_file) as resolver:
        with pytest.raises(DiscoveryError, match="echo"):
            await first_of(resolver)
    async with opened(EtcdResolver, server, tls=True) as resolver:
        with pytest.raises(DiscoveryError, match=r"(?i)certificate.*'ca_file'"):
            await first_of(resolver)


# -- several members ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(2))
async def test_one_of_two_members_is_dead(
    etcd: EtcdServer, dead_address: str, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.randrange", lambda _: turn)
    members = [dead_address, etcd.address]
    async with opened(EtcdRegistry, etcd, endpoints=members) as registry:
        await registry.register("echo", ONE)
        async with opened(EtcdResolver, etcd, endpoints=members) as resolver:
            assert list(await first_of(resolver)) == [ONE]
            await asyncio.gather(*(first_of(resolver) for _ in range(20)))


@pytest.mark.parametrize("turn", range(2))
async def test_one_of_two_members_takes_connections_and_says_nothing(
    etcd: EtcdServer, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.randrange", lambda _: turn)
    async with FaultProxy(etcd.address) as silent:
        silent.half_open = True
        options = {"endpoints": [silent.address, etcd.address], "connect_timeout": 0.3, "timeout": 3}
        async with opened(EtcdRegistry, etcd, **options) as registry:
            await registry.register("echo", ONE)
            async with opened(EtcdResolver, etcd, **options) as resolver:
                # Had it waited for an answer instead of a connection, this would have taken 3 s.
                async with asyncio.timeout(2):
                    assert list(await first_of(resolver)) == [ONE]


async def test_all_members_are_dead(caplog: pytest.LogCaptureFixture) -> None:
    members = [f"127.0.0.1:{port}" for port in free_ports(2)]
    resolver = EtcdResolver(endpoints=members)
    with pytest.raises(DiscoveryError, match=r"'echo'.*127\.0\.0\.1.*refused.*Check that etcd runs there"):
        await first_of(resolver)
    await resolver.aclose()
    registry = EtcdRegistry(endpoints=members)
    with pytest.raises(DiscoveryError, match=r"'echo' at 10\.0\.0\.1:8888.*refused"):
        await registry.register("echo", ONE)
    await registry.aclose()


# -- following changes ----------------------------------------------------------------------------------------------


async def test_a_burst_of_changes_is_few_sets(etcd: EtcdServer) -> None:
    instances = [Instance(f"10.0.{number // 250}.{number % 250}:80") for number in range(300)]
    async with opened(EtcdResolver, etcd) as resolver, opened(EtcdRegistry, etcd) as registry:
        watch = resolver.watch("echo")
        await anext(watch)
        registering = asyncio.gather(*(registry.register("echo", instance) for instance in instances))
        sets = 0
        async for found in watch:
            sets += 1
            if len(found) == len(instances):
                break
        await registering
        await watch.aclose()
    assert sets <= 30, "each set costs the client a new picker"


async def test_a_change_that_changes_nothing_is_not_told(etcd: EtcdServer) -> None:
    key = f"{PREFIX}/echo/{ONE.address}"
    etcd.put(key, value_of(ONE))
    try:
        async with opened(EtcdResolver, etcd) as resolver:
            watch = resolver.watch("echo")
            assert list(await anext(watch)) == [ONE]
            following = asyncio.ensure_future(anext(watch))
            etcd.put(key, value_of(ONE))
            etcd.delete(key)
            etcd.put(key, value_of(ONE))
            await asyncio.sleep(0.3)
            etcd.put(f"{PREFIX}/echo/{TWO.address}", value_of(TWO))
            assert list(await following) in ([ONE, TWO], []), "at most the deletion in between was caught"
            await watch.aclose()
    finally:
        etcd.delete(PREFIX)


async def test_what_a_watch_missed_the_poll_finds(etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {one: f"{PREFIX}/echo/{one.address}" for one in (ONE, TWO)}
    etcd.put(keys[ONE], value_of(ONE))
    monkeypatch.setattr("elanus_registry_etcd.resolver._Follower._apply", lambda *_: None)  # it misses everything
    try:
        async with opened(EtcdResolver, etcd, poll_interval=0.5) as resolver:
            watch = resolver.watch("echo")
            await until(watch, ONE)
            etcd.put(keys[TWO], value_of(TWO))
            await until(watch, ONE, TWO)
            etcd.delete(keys[ONE])
            await until(watch, TWO)
            etcd.put(keys[TWO], value_of(Instance(TWO.address, 99)))
            await until(watch, Instance(TWO.address, 99))
            await watch.aclose()
    finally:
        etcd.delete(PREFIX)


async def test_closing_the_resolver_ends_its_watches(etcd: EtcdServer) -> None:
    async with opened(EtcdResolver, etcd) as resolver:
        watch = resolver.watch("echo")
        await anext(watch)
        following = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0.05)
        await resolver.aclose()
        assert await following is None
        with pytest.raises(StateError, match="closed"):
            await anext(resolver.watch("echo"))


@pytest.mark.parametrize("seconds", [0.3])
async def test_a_quiet_watch_costs_next_to_nothing(etcd: EtcdServer, seconds: float) -> None:
    async with opened(EtcdResolver, etcd) as resolver:
        watch = resolver.watch("echo")
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.2)
        before = etcd.requests()
        await asyncio.sleep(seconds)
        assert not etcd.requests() - before
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await watch.aclose()


# -- event loops ----------------------------------------------------------------------------------------------------


async def _session(address: str, number: int) -> None:
    registry = EtcdRegistry(endpoints=address, ttl=2)
    resolver = EtcdResolver(endpoints=address)
    name = f"echo{number}"
    await registry.register(name, ONE)
    watch = resolver.watch(name)
    await until(watch, ONE)
    await registry.register(name, TWO)
    await until(watch, ONE, TWO)
    await watch.aclose()
    await resolver.aclose()
    await registry.aclose()


def test_several_loops_at_once_one_after_the_other_and_of_uvloop(etcd: EtcdServer) -> None:
    failures: list[BaseException] = []

    def session(number: int, run: Callable[..., None]) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await _session(etcd.address, number)

        try:
            for _ in range(5):
                run(watched())
            assert not complaints, complaints
        except BaseException as error:
            failures.append(error)

    runs = [asyncio.run, asyncio.run, uvloop.run, uvloop.run]
    threads = [threading.Thread(target=session, args=pair) for pair in enumerate(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert etcd.leases() == []


async def test_closing_does_not_wait_for_the_streams_of_others(etcd: EtcdServer) -> None:
    async with opened(EtcdResolver, etcd) as lasting:
        following = lasting.watch("echo")
        await anext(following)
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(20):
            async with opened(EtcdResolver, etcd) as short:
                await first_of(short)
        assert loop.time() - began < 20 * 0.2, "that is how long it would wait for streams that go on"
        await following.aclose()
