"""Fixtures of the interop tests: the Go Kitex peer, factories for its server, client and load, and those of elanus."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from .build_peers import PeerBuildError, peer_binary
from .elanus_peers import ElanusProcess, ElanusServer
from .peer import KitexClient, KitexLoad, KitexServer, flags


class ClientFactory(Protocol):
    def __call__(self, address: str, *, concurrent: bool = True, **options: object) -> KitexClient: ...


class LoadFactory(Protocol):
    def __call__(self, address: str, **options: object) -> KitexLoad: ...


@pytest.fixture(scope="session")
def kitexpeer() -> Path:
    """The built ``kitexpeer``. Without Go the test is skipped with the reason; where ``CI`` is set it fails."""
    try:
        return peer_binary()
    except PeerBuildError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"interop cannot be tested: {error}", pytrace=False)
        pytest.skip(f"INTEROP IS NOT TESTED: {error}")


@pytest.fixture
def kitex_server(kitexpeer: Path) -> Callable[..., KitexServer]:
    """``async with kitex_server(mux=True) as server: server.address``; the keywords are the flags of ``server``."""

    def make(**options: object) -> KitexServer:
        return KitexServer(kitexpeer, "server", "--follow-stdin", *flags(options))

    return make


@pytest.fixture
def kitex_client(kitexpeer: Path) -> ClientFactory:
    """``async with kitex_client(address, transport="mux") as client: await client.call("echo", {...})``."""

    def make(address: str, *, concurrent: bool = True, **options: object) -> KitexClient:
        return KitexClient(kitexpeer, "client", *flags({"address": address, "concurrent": concurrent, **options}))

    return make


@pytest.fixture
def kitex_load(kitexpeer: Path) -> LoadFactory:
    """``async with kitex_load(address, rate=200, concurrency=20) as load: ...; counts = await load.stop()``."""

    def make(address: str, **options: object) -> KitexLoad:
        return KitexLoad(kitexpeer, "load", *flags({"address": address, **options}))

    return make


@pytest.fixture
def elanus_server() -> Callable[..., ElanusServer]:
    """``async with elanus_server(drain_timeout=5) as server: server.address``; the keywords are those of the server."""
    return ElanusServer


@pytest.fixture
def elanus_process() -> Callable[..., ElanusProcess]:
    """As ``elanus_server``, in a process that can be sent signals; it has the methods of the Go server's object."""
    return ElanusProcess
