"""Fixtures of the integration tests: real registries. Each is built or fetched when it is first wanted."""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.interop.build_peers import PeerBuildError

from .build_servers import CONSUL, ETCD, ETCD_34
from .consul_server import ConsulFactory, ConsulServer
from .servers import Certificates, EtcdServer

EtcdFactory = Callable[..., EtcdServer]


def binary_of(build: Callable[[], Path]) -> Path:
    """The executable. Where it cannot be had the test is skipped with the reason; where ``CI`` is set it fails."""
    try:
        return build()
    except PeerBuildError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"integration cannot be tested: {error}", pytrace=False)
        pytest.skip(f"INTEGRATION IS NOT TESTED: {error}")


@pytest.fixture
def dead_address() -> Iterator[str]:
    """An address that refuses connections. Its port is bound and never listens, so that nobody else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def etcd_binary() -> Path:
    """etcd 3.6, built from its module."""
    return binary_of(ETCD.binary)


@pytest.fixture(scope="session")
def etcd_34_binary() -> Path:
    """etcd 3.4, from Debian's package."""
    return binary_of(ETCD_34.binary)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority, and certificates for a server on 127.0.0.1 and for a client."""
    return Certificates.make(tmp_path)


@contextlib.contextmanager
def _factory(binary: Path) -> Iterator[EtcdFactory]:
    with contextlib.ExitStack() as running:

        def start(**options: object) -> EtcdServer:
            folder = Path(tempfile.mkdtemp(prefix="elanus-etcd-"))
            running.callback(shutil.rmtree, folder, ignore_errors=True)
            server = EtcdServer(binary, folder, **options)  # type: ignore[arg-type]  # its own keywords
            running.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
def start_etcd(etcd_binary: Path) -> Iterator[EtcdFactory]:
    """``server = start_etcd()``: an etcd 3.6 of the test's own; the keywords are those of :class:`EtcdServer`."""
    with _factory(etcd_binary) as start:
        yield start


@pytest.fixture
def start_etcd_34(etcd_34_binary: Path) -> Iterator[EtcdFactory]:
    """The same for etcd 3.4."""
    with _factory(etcd_34_binary) as start:
        yield start


@pytest.fixture(scope="module")
def etcd(etcd_binary: Path) -> Iterator[EtcdServer]:
    """One etcd 3.6 for the tests of a module."""
    with _factory(etcd_binary) as start:
        yield start()


@pytest.fixture(scope="module")
def etcd_34(etcd_34_binary: Path) -> Iterator[EtcdServer]:
    """One etcd 3.4 for the tests of a module."""
    with _factory(etcd_34_binary) as start:
        yield start()


@pytest.fixture(scope="session")
def consul_binary() -> Path:
    """Consul, built from its module. That takes minutes on a cold machine."""
    return binary_of(CONSUL.binary)


@contextlib.contextmanager
def _consuls(binary: Path) -> Iterator[ConsulFactory]:
    with contextlib.ExitStack() as running:

        def start(**options: object) -> ConsulServer:
            folder = Path(tempfile.mkdtemp(prefix="elanus-consul-"))
            running.callback(shutil.rmtree, folder, ignore_errors=True)
            server = ConsulServer(binary, folder, **options)  # type: ignore[arg-type]  # its own keywords
            running.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
def start_consul(consul_binary: Path) -> Iterator[ConsulFactory]:
    """``server = start_consul()``: a Consul of the test's own; the keywords are those of :class:`ConsulServer`."""
    with _consuls(consul_binary) as start:
        yield start


@pytest.fixture(scope="module")
def consul(consul_binary: Path) -> Iterator[ConsulServer]:
    """One Consul for the tests of a module."""
    with _consuls(consul_binary) as start:
        yield start()
