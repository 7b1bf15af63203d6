"""Go Kitex and elanus find each other in etcd and in Consul, with Kitex's own registries on the Go side.

Both directions: registered by one, seen with its weight and tags by the other, called, and no longer seen once it has
stopped.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.build_servers import CONSUL, ETCD, GoServer
from tests.integration.consul_server import ConsulServer
from tests.integration.servers import EtcdServer

import elanus
from elanus.plugins import installed_plugins
from elanus.service import Instance

from .build_peers import PeerBuildError
from .peer import JsonObject, KitexClient, KitexServer, PeerProcess, flags
from .service import InteropHandler, idl

pytestmark = [pytest.mark.interop, pytest.mark.integration]

NAME = "acme.interop"
TAGS = {"zone": "b", "key with a space": "väl/ue=1:2", "empty": ""}
#: Seconds. A Kitex client looks again every five; what Kitex registers in Consul passes after up to five.
PATIENCE = 20.0
REGISTRIES: dict[str, tuple[GoServer, type[Any], str]] = {
    "etcd": (ETCD, EtcdServer, "endpoints"),
    "consul": (CONSUL, ConsulServer, "address"),
}


class Registry:
    """A real registry, and how each side is told of it."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self.address = address
        self.choice = kind, {REGISTRIES[kind][2]: address}

    def go(self, role: str, **options: object) -> list[str]:
        """The flags of a Go peer; *role* is ``"registry"`` or ``"resolver"``."""
        return flags({role: self.kind, "registry_address": self.address, **options})


@pytest.fixture(scope="module", params=sorted(REGISTRIES))
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """Each of the registries in turn, started for this module."""
    build, kind, _ = REGISTRIES[request.param]
    try:
        binary = build.binary()
    except PeerBuildError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"registries cannot be tested: {error}", pytrace=False)
        pytest.skip(f"REGISTRIES ARE NOT TESTED: {error}")
    folder = Path(tempfile.mkdtemp(prefix=f"elanus-{request.param}-"))
    server = kind(binary, folder)
    try:
        server.start()
        yield Registry(request.param, server.address)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def python_server(registry: Registry, **options: Any) -> AsyncIterator[tuple[elanus.Server, InteropHandler]]:
    handler = InteropHandler("python")
    server = elanus.Server(name=NAME, registry=registry.choice, drain_delay=0, drain_timeout=1.0, **options)
    server.add_service(idl.Interop, handler)
    await server.start("127.0.0.1:0")
    try:
        yield server, handler
    finally:
        await server.stop()
        await handler.aclose()


def go_server(binary: Path, registry: Registry, **options: object) -> KitexServer:
    return KitexServer(binary, "server", "--follow-stdin", *registry.go("registry", name=NAME, **options))


def go_client(binary: Path, registry: Registry) -> KitexClient:
    return KitexClient(binary, "client", *registry.go("resolver", dest_name=NAME, short=True))


class GoResolver(PeerProcess):
    """Kitex's resolver, asked directly."""

    async def resolve(self) -> JsonObject:
        """``instances``, and ``error`` when there are none."""
        self.write_line(NAME)
        return await self.event("resolved")

    async def sees(self, expected: Sequence[Instance]) -> JsonObject:
        """Wait until exactly *expected* are seen; the answer that showed them."""
        wanted = sorted((one.address, one.weight, sorted(one.tags.items())) for one in expected)
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.resolve()
                found = [
                    (one["address"], one["weight"], sorted((one["tags"] or {}).items())) for one in answer["instances"]
                ]
                assert all(one["network"] == "tcp" for one in answer["instances"])
                if sorted(found) == wanted:
                    return answer
                await asyncio.sleep(0.1)


async def sees(watch: AsyncIterator[Sequence[Instance]], *expected: Instance) -> None:
    """Follow an elanus resolver until it shows exactly *expected*."""
    wanted = sorted(expected, key=str)
    seen: Sequence[Instance] = ()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for seen in watch:
                if sorted(seen, key=str) == wanted:
                    return
    raise AssertionError(f"elanus sees {seen}, not {wanted}")


@asynccontextmanager
async def watching(registry: Registry) -> AsyncIterator[AsyncIterator[Sequence[Instance]]]:
    resolver = installed_plugins().select("resolver", registry.choice)
    async with aclosing(resolver.watch(NAME)) as watch:
        yield watch
    await resolver.aclose()


async def test_go_finds_and_calls_python(registry: Registry, kitexpeer: Path) -> None:
    async with GoResolver(kitexpeer, "resolve", *registry.go("resolver")) as resolver:
        async with python_server(registry, weight=25, tags=TAGS) as (server, handler):
            await resolver.sees([Instance(server.address, 25, TAGS)])
            async with go_client(kitexpeer, registry) as client:
                reply = await client.result("echo", {"req": {"message": "found", "payload": b""}})
                assert reply["message"] == "found"
            assert [one.message for one in handler.seen] == ["found"]
        gone = await resolver.sees([])
        assert gone["error"] in ("no service found", f"no instance remains for {NAME}")


async def test_python_finds_and_calls_go(registry: Registry, kitexpeer: Path) -> None:
    async with watching(registry) as watch:
        async with go_server(kitexpeer, registry, weight=25, tags=json.dumps(TAGS)) as server:
            await sees(watch, Instance(server.address, 25, TAGS))
            async with elanus.Client(idl.Interop, name=NAME, resolver=registry.choice) as client:
                assert (await client.echo(idl.Request(message="found", payload=b""))).message == "found"
            assert (await server.stop())["handled"] == 1
        await sees(watch)


async def test_kitexs_defaults_are_read(registry: Registry, kitexpeer: Path) -> None:
    async with go_server(kitexpeer, registry) as server, watching(registry) as watch:
        await sees(watch, Instance(server.address, 10, {}))


async def test_a_fleet_of_both_serves_clients_of_both(registry: Registry, kitexpeer: Path) -> None:
    async with (
        GoResolver(kitexpeer, "resolve", *registry.go("resolver")) as resolver,
        go_server(kitexpeer, registry, tags=json.dumps(TAGS)) as one,
        python_server(registry, weight=30) as (two, handler),
        watching(registry) as watch,
    ):
        fleet = [Instance(one.address, 10, TAGS), Instance(two.address, 30)]
        await sees(watch, *fleet)
        await resolver.sees(fleet)

        async def python_calls() -> Callable[[], Any]:
            client = await stack.enter_async_context(elanus.Client(idl.Interop, name=NAME, resolver=registry.choice))
            return lambda: client.echo(idl.Request(message="hi", payload=b""))

        async def go_calls() -> Callable[[], Any]:
            client = await stack.enter_async_context(go_client(kitexpeer, registry))
            return lambda: client.result("echo", {"req": {"message": "hi", "payload": b""}})

        for calls in (python_calls, go_calls):
            async with contextlib.AsyncExitStack() as stack:
                call = await calls()
                before, python_before = (await one.stats())["handled"], len(handler.seen)
                for _ in range(100):
                    await call()
                go, python = (await one.stats())["handled"] - before, len(handler.seen) - python_before
                assert go + python == 100
                # Three in four, by their weights; Kitex picks by chance.
                assert 50 <= python <= 95, f"{python} of 100 calls went to Python"


async def test_a_server_that_stops_costs_no_call_of_the_other_language(registry: Registry, kitexpeer: Path) -> None:
    async with (
        go_server(kitexpeer, registry) as stays,
        go_client(kitexpeer, registry) as go,
        elanus.Client(idl.Interop, name=NAME, resolver=registry.choice) as python,
        watching(registry) as watch,
    ):
        await sees(watch, Instance(stays.address))
        async with python_server(registry) as (leaves, _):
            await sees(watch, Instance(stays.address), Instance(leaves.address))
            await go.result("ping")
        async with go_server(kitexpeer, registry) as leaves_too:
            await sees(watch, Instance(stays.address), Instance(leaves_too.address))
            await leaves_too.stop()
        await sees(watch, Instance(stays.address))
        for _ in range(20):
            await python.ping()
            await go.result("ping")
