"""The resolver of DNS on a real name server: the suite of its contract, every kind of record, outages, calls."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from tests.interop.build_peers import PeerBuildError

import elanus
from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError
from elanus.plugins import installed_plugins
from elanus.service import Instance
from elanus.testing.resolver import ResolverSuite

from .knot_server import BROKEN_DOMAIN, KnotServer, knot_command
from .servers import free_ports

pytestmark = pytest.mark.integration

KnotFactory = Callable[[], KnotServer]

FAST: dict[str, object] = {"min_refresh": 0.05, "max_refresh": 0.2, "timeout": 0.5}


@pytest.fixture(scope="session")
def knot_binary() -> tuple[str, ...]:
    """What starts Knot. Where it cannot be had the test is skipped with the reason; where ``CI`` is set it fails."""
    try:
        return knot_command()
    except PeerBuildError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"DNS cannot be tested: {error}", pytrace=False)
        pytest.skip(f"DNS IS NOT TESTED: {error}")


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[KnotServer]:
    folder = Path(tempfile.mkdtemp(prefix="elanus-knot-"))
    server = KnotServer(command, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def knot(knot_binary: tuple[str, ...]) -> Iterator[KnotServer]:
    """A name server of the test's own."""
    with _running(knot_binary) as server:
        yield server


@pytest.fixture(scope="class")
def suite_knot(knot_binary: tuple[str, ...], request: pytest.FixtureRequest) -> Iterator[None]:
    """One for all tests of a suite, as its ``server``."""
    with _running(knot_binary) as server:
        request.cls.server = server
        yield


def resolver_at(server: KnotServer, **options: object) -> Resolver:
    wanted = {**FAST, "nameservers": server.address, "search": [], **options}
    resolver: Resolver = installed_plugins().select("resolver", ("dns", wanted))
    return resolver


def rows(instances: Sequence[Instance]) -> list[tuple[str, int, dict[str, str]]]:
    return [(one.address, one.weight, dict(one.tags)) for one in instances]


async def first(resolver: Resolver, name: str) -> Sequence[Instance]:
    async with aclosing(resolver.watch(name)) as watch:
        return await anext(watch)


async def until(watch: AsyncGenerator[Sequence[Instance]], *addresses: str) -> None:
    """Follow *watch* until exactly *addresses* are there."""
    async with asyncio.timeout(15):
        async for instances in watch:
            if [one.address for one in instances] == sorted(addresses):
                return


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


# -- the contract ----------------------------------------------------------------------------------------------------


class DnsSuite(ResolverSuite):
    """The resolver against the server of each subclass."""

    __test__ = False
    server: KnotServer
    settle = 10.0

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None]:
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()


@pytest.mark.usefixtures("suite_knot")
class TestAddresses(DnsSuite):
    __test__ = True
    unsupported = {"weight": "an address has none", "tags": "an address has none"}  # noqa: RUF012

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Resolver]:
        self.server.change({name: {"A": ()} for name in ("echo", "echo2", "nobody")})
        resolver = resolver_at(self.server, port=8888)
        try:
            yield resolver
        finally:
            await resolver.aclose()

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        self.server.set(name, "A", *(one.address.removesuffix(":8888") for one in instances))


@pytest.mark.usefixtures("suite_knot")
class TestServices(DnsSuite):
    __test__ = True
    unsupported = {"tags": "of a record's own DNS has none; the one here says which target it was"}  # noqa: RUF012

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Resolver]:
        self.server.change({name: {"SRV": ()} for name in ("echo", "echo2", "nobody")})
        resolver = resolver_at(self.server, record="srv")
        try:
            yield resolver
        finally:
            await resolver.aclose()

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        changes: dict[str, dict[str, Sequence[str]]] = {name: {"SRV": []}}
        services = []
        for one in instances:
            host, _, port = one.address.rpartition(":")
            target = f"{host.replace('.', '-')}.pods.test"
            changes[target] = {"A": [host]}
            services.append(f"0 {one.weight} {port} {target}.")
        changes[name]["SRV"] = services
        self.server.change(changes)


# -- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("auto", ["10.0.0.1:80", "10.0.0.2:80"]),
        ("ipv4", ["10.0.0.1:80", "10.0.0.2:80"]),
        ("ipv6", ["[fd00::1]:80", "[fd00::2]:80"]),
        ("both", ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80", "[fd00::2]:80"]),
    ],
)
async def test_addresses_of_the_families_that_are_wanted(knot: KnotServer, family: str, expected: list[str]) -> None:
    knot.change({"echo.test": {"A": ["10.0.0.1", "10.0.0.2"], "AAAA": ["fd00::1", "fd00::2"]}})
    found = await first(resolver_at(knot, port=80, family=family), "echo.test")
    assert rows(found) == [(address, 10, {}) for address in expected]


async def test_a_host_without_ipv4_is_found_by_its_ipv6(knot: KnotServer) -> None:
    knot.set("echo.test", "AAAA", "fd00::1")
    assert rows(await first(resolver_at(knot), "echo.test:81")) == [("[fd00::1]:81", 10, {})]


async def test_an_alias_is_followed(knot: KnotServer) -> None:
    knot.change({"echo.test": {"CNAME": ["real.test."]}, "real.test": {"A": ["10.0.0.1"]}})
    assert rows(await first(resolver_at(knot, port=80), "echo.test")) == [("10.0.0.1:80", 10, {})]


async def test_services_of_the_best_priority_with_port_weight_and_target(knot: KnotServer) -> None:
    knot.change(
        {
            "_echo._tcp.test": {
                "SRV": ["5 70 8001 a.test.", "5 0 8002 b.test.", "5 30 8003 gone.test.", "9 50 8004 a.test."]
            },
            "a.test": {"A": ["10.0.0.1"], "AAAA": ["fd00::1"]},
            "b.test": {"AAAA": ["fd00::2"]},
        }
    )
    found = await first(resolver_at(knot), "_echo._tcp.test")
    assert rows(found) == [("10.0.0.1:8001", 70, {"host": "a.test"}), ("[fd00::2]:8002", 1, {"host": "b.test"})]


async def test_targets_that_the_server_does_not_add_are_asked_for(knot: KnotServer) -> None:
    # The alias has to be followed, so its address is not among the additional records.
    knot.change(
        {
            "_echo._tcp.test": {"SRV": ["0 7 8001 alias.test."]},
            "alias.test": {"CNAME": ["a.test."]},
            "a.test": {"A": ["10.0.0.1"]},
        }
    )
    assert rows(await first(resolver_at(knot), "_echo._tcp.test")) == [("10.0.0.1:8001", 7, {"host": "alias.test"})]


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_hundred_addresses_come_over_tcp(knot: KnotServer, tcp: bool) -> None:
    hosts = [f"10.0.0.{number}" for number in range(1, 101)]
    knot.set("echo.test", "A", *hosts)
    found = await first(resolver_at(knot, port=80, tcp=tcp), "echo.test")
    assert sorted(one.address for one in found) == sorted(f"{host}:80" for host in hosts)


async def test_a_hundred_services_are_found_with_their_targets(knot: KnotServer) -> None:
    changes: dict[str, dict[str, Sequence[str]]] = {f"h{n}.test": {"A": [f"10.0.0.{n}"]} for n in range(1, 101)}
    changes["_echo._tcp.test"] = {"SRV": [f"0 {n} {8000 + n} h{n}.test." for n in range(1, 101)]}
    knot.change(changes)
    found = await first(resolver_at(knot), "_echo._tcp.test")
    expected = {(f"10.0.0.{n}:{8000 + n}", n, f"h{n}.test") for n in range(1, 101)}
    assert {(one.address, one.weight, one.tags["host"]) for one in found} == expected


# -- refresh ---------------------------------------------------------------------------------------------------------


async def test_a_change_is_seen_when_the_ttl_is_over(knot: KnotServer) -> None:
    knot.set("echo.test", "A", "10.0.0.1", ttl=1)
    resolver = resolver_at(knot, port=80, max_refresh=3600.0)  # nothing but the TTL can be the reason
    async with aclosing(resolver.watch("echo.test")) as watch:
        await until(watch, "10.0.0.1:80")
        knot.set("echo.test", "A", "10.0.0.1", "10.0.0.2", ttl=1)
        await until(watch, "10.0.0.1:80", "10.0.0.2:80")
        knot.set("echo.test", "A", "10.0.0.2", ttl=3600)
        await until(watch, "10.0.0.2:80")


async def test_a_long_ttl_is_not_waited_for(knot: KnotServer) -> None:
    knot.set("echo.test", "A", "10.0.0.1", ttl=3600)
    async with aclosing(resolver_at(knot, port=80).watch("echo.test")) as watch:
        await until(watch, "10.0.0.1:80")
        knot.set("echo.test", "A", "10.0.0.2", ttl=3600)
        await until(watch, "10.0.0.2:80")


async def test_a_name_that_does_not_exist_is_empty_until_it_does(knot: KnotServer) -> None:
    async with aclosing(resolver_at(knot, port=80, max_refresh=3600.0).watch("echo.test")) as watch:
        assert await anext(watch) == ()
        knot.set("echo.test", "A", "10.0.0.1")  # the SOA says that nothing is cached longer than 1 s
        await until(watch, "10.0.0.1:80")
        knot.set("echo.test", "A")
        await until(watch)


# -- search domains --------------------------------------------------------------------------------------------------


def resolv_conf(folder: Path, text: str) -> str:
    path = folder / "resolv.conf"
    path.write_text(text)
    return str(path)


async def test_search_domains_of_the_system_in_their_order(knot: KnotServer, tmp_path: Path) -> None:
    knot.set("echo.b.test", "A", "10.0.0.2")
    knot.set("echo.c.test", "A", "10.0.0.3")
    knot.set("echo.c", "A", "10.0.0.4")
    system = resolv_conf(tmp_path, "search a.test b.test c.test test\noptions ndots:2\n")
    resolver = resolver_at(knot, port=80, search=None, resolv_conf=system)
    assert rows(await first(resolver, "echo")) == [("10.0.0.2:80", 10, {})]
    assert rows(await first(resolver, "echo.c")) == [("10.0.0.3:80", 10, {})], "one dot is fewer than two"
    assert rows(await first(resolver, "echo.c.")) == [("10.0.0.4:80", 10, {})], "with a dot at the end it is complete"
    resolver = resolver_at(knot, port=80, search=None, resolv_conf=system, ndots=1)
    assert rows(await first(resolver, "echo.c")) == [("10.0.0.4:80", 10, {})], "one dot is enough now"


async def test_a_file_that_changes_is_read_again(knot: KnotServer, tmp_path: Path) -> None:
    knot.set("echo.a.test", "A", "10.0.0.1")
    knot.set("echo.b.test", "A", "10.0.0.2")
    system = resolv_conf(tmp_path, "search a.test\n")
    resolver = resolver_at(knot, port=80, search=None, resolv_conf=system)
    async with aclosing(resolver.watch("echo")) as watch:
        await until(watch, "10.0.0.1:80")
        resolv_conf(tmp_path, "search b.test a.test\n")
        await until(watch, "10.0.0.2:80")


async def test_a_watch_stays_with_the_domain_that_it_has_found(knot: KnotServer) -> None:
    knot.set("echo.b.test", "A", "10.0.0.2")
    resolver = resolver_at(knot, port=80, search=["a.test", "b.test"])
    async with aclosing(resolver.watch("echo")) as watch:
        await until(watch, "10.0.0.2:80")
        knot.set("echo.a.test", "A", "10.0.0.1")
        knot.set("echo.b.test", "A")
        await until(watch)
        assert rows(await first(resolver, "echo")) == [("10.0.0.1:80", 10, {})], "a new one begins at the first"


async def test_a_domain_whose_server_fails_is_passed_over(knot: KnotServer) -> None:
    knot.set("echo.b.test", "A", "10.0.0.2")
    resolver = resolver_at(knot, port=80, search=[BROKEN_DOMAIN, "b.test"])
    assert rows(await first(resolver, "echo")) == [("10.0.0.2:80", 10, {})]
    with pytest.raises(DiscoveryError, match=r"'missing' cannot be looked up in DNS: .*SERVFAIL"):
        await first(resolver, "missing")


# -- outages ---------------------------------------------------------------------------------------------------------


async def test_a_server_that_fails_is_an_error_of_discovery_at_first(knot: KnotServer) -> None:
    with pytest.raises(DiscoveryError, match=rf"'echo\.{BROKEN_DOMAIN}' cannot be looked up.*127\.0\.0\.1.*SERVFAIL"):
        await first(resolver_at(knot, port=80), f"echo.{BROKEN_DOMAIN}")


async def test_a_slow_answer_is_waited_for(knot: KnotServer) -> None:
    knot.set("echo.test", "A", "10.0.0.1")
    knot.pause()
    looking = asyncio.create_task(first(resolver_at(knot, port=80, timeout=20.0), "echo.test"))
    await asyncio.sleep(0.5)
    assert not looking.done()
    knot.resume()
    assert rows(await looking) == [("10.0.0.1:80", 10, {})]


@pytest.mark.parametrize("end", ["stop", "kill", "pause"])
async def test_a_server_that_is_gone_changes_nothing_and_is_believed_again(
    knot: KnotServer, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    knot.set("echo.test", "A", "10.0.0.1")
    async with aclosing(resolver_at(knot, port=80).watch("echo.test")) as watch:
        await until(watch, "10.0.0.1:80")
        getattr(knot, end)()
        following = asyncio.create_task(until(watch, "10.0.0.2:80"))
        await eventually(lambda: "keeping the last 1 instances" in caplog.text)
        assert not following.done()
        if end == "pause":
            knot.resume()
        else:
            knot.start()
        knot.set("echo.test", "A", "10.0.0.2")
        await following


async def test_one_of_two_name_servers_is_dead(knot: KnotServer, dead_address: str) -> None:
    knot.set("echo.test", "A", "10.0.0.1")
    resolver = resolver_at(knot, port=80, timeout=10.0, nameservers=[dead_address, knot.address])
    assert rows(await first(resolver, "echo.test")) == [("10.0.0.1:80", 10, {})]


# -- with a client ---------------------------------------------------------------------------------------------------

_IDL = "service Who { string who() }\n"


class Who:
    """Says which server it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def who(self) -> str:
        return self.name


@asynccontextmanager
async def serving(service: elanus.ServiceInfo, *addresses: str) -> AsyncGenerator[None]:
    async with contextlib.AsyncExitStack() as running:
        for address in addresses:
            server = elanus.Server()
            server.add_service(service, Who(address))
            await server.start(address)
            running.push_async_callback(server.stop)
        yield


async def test_calls_follow_the_records_and_never_fail_because_of_them(knot: KnotServer, tmp_path: Path) -> None:
    (tmp_path / "who.thrift").write_text(_IDL)
    service = elanus.load(tmp_path / "who.thrift").Who
    (port,) = free_ports(1)
    one, two = (f"127.0.0.{number}:{port}" for number in (1, 2))
    knot.set("who.test", "A", "127.0.0.1")
    options = {**FAST, "nameservers": knot.address, "search": [], "port": port}
    async with (
        serving(service, one, two),
        elanus.Client(service, name="who.test", resolver=("dns", options), timeout=5.0) as client,
    ):

        async def call_until(*expected: str) -> None:
            seen: set[str] = set()
            async with asyncio.timeout(15):
                while seen != set(expected):
                    seen = {await client.who() for _ in range(20)}

        await call_until(one)
        knot.set("who.test", "A", "127.0.0.1", "127.0.0.2")
        await call_until(one, two)
        knot.set("who.test", "A", "127.0.0.2")
        await call_until(two)
        knot.kill()
        for _ in range(20):
            assert await client.who() == two
            await asyncio.sleep(0.05)
        knot.start()
        knot.set("who.test", "A", "127.0.0.1")
        await call_until(one)


# -- nothing is left behind ------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_hundred_watches_leave_nothing_behind(knot: KnotServer, run: Callable[..., None]) -> None:
    knot.set("echo.test", "A", *(f"10.0.0.{number}" for number in range(1, 101)))  # too long for UDP
    knot.set("_echo._tcp.test", "SRV", "0 1 80 alias.test.")
    knot.set("alias.test", "CNAME", "echo.test.")

    async def watch(name: str, seconds: float) -> None:
        resolver = resolver_at(knot, port=80)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), aclosing(resolver.watch(name)) as sets:
                async for _ in sets:
                    pass
        await resolver.aclose()

    async def scenario() -> None:
        for name in ("echo.test", "_echo._tcp.test", f"echo.{BROKEN_DOMAIN}"):
            with contextlib.suppress(DiscoveryError):
                await watch(name, 0.3)  # threads and modules come with the first use
        for name in ("echo.test", "_echo._tcp.test"):
            assert len(await first(resolver_at(knot, port=80, timeout=10.0), name)) == 100
        await asyncio.sleep(0.05)
        tasks, before = asyncio.all_tasks(), descriptors()
        for number in range(100):  # ended at every point of a look-up
            await watch(("echo.test", "_echo._tcp.test")[number % 2], number * 0.0005)
        await asyncio.sleep(0.05)  # a transport closes its socket one turn of the loop later
        assert asyncio.all_tasks() == tasks
        assert descriptors() <= before

    run(scenario())
