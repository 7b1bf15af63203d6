"""TLS on a server: it works on every loop, and a handshake that fails is logged with its reason."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import elanus
from elanus.limits import Limits
from elanus.net.tls import handshake_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path


def anonymous(purpose: int) -> ssl.SSLContext:
    """TLS without certificates."""
    context = ssl.SSLContext(purpose)
    if purpose == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:ADH-AES256-GCM-SHA384:@SECLEVEL=0")
    return context


IDL = "service Echo { string echo(1: string text) }"


class Echo:
    async def echo(self, text: str) -> str:
        return text


@pytest.fixture
def echo(tmp_path: Path) -> Any:
    (tmp_path / "echo.thrift").write_text(IDL)
    return elanus.load(tmp_path / "echo.thrift")


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    runner: Callable[[Coroutine[Any, Any, None]], None] = request.param
    return runner


@asynccontextmanager
async def serving(echo: Any, bind: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[elanus.Server]:
    server = elanus.Server(ssl=anonymous(ssl.PROTOCOL_TLS_SERVER), **options)
    server.add_service(echo.Echo, Echo())
    await server.start(bind)
    try:
        yield server
    finally:
        await server.stop()


async def raw(server: elanus.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = server.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def test_many_clients_at_once(run: Any, echo: Any, tmp_path: Path) -> None:
    async def call(address: str, text: str) -> None:
        async with elanus.Client(echo.Echo, address, ssl=anonymous(ssl.PROTOCOL_TLS_CLIENT), timeout=10) as client:
            assert await client.echo(text) == text

    async def scenario() -> None:
        for bind in ("127.0.0.1:0", f"unix:{tmp_path}/s"):
            async with serving(echo, bind) as server:
                await asyncio.gather(*(call(server.address, "x" * size) for size in range(0, 40_000, 1_000)))

    run(scenario())


def test_a_peer_that_does_not_speak_tls_is_logged_with_its_address(
    run: Any, echo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            reader, writer = await raw(server)
            writer.write(b"\x00\x00\x00\x40\x10\x00\x00\x00")
            assert await reader.read() == b""
            host, port = writer.get_extra_info("sockname")
            assert f"closed a connection from {host}:{port}: the TLS handshake failed: the peer does not" in caplog.text
            writer.close()

    run(scenario())


def test_who_only_knocks_is_nothing_to_warn_of(run: Any, echo: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            _, writer = await raw(server)
            writer.close()
            await writer.wait_closed()
            while "the TLS handshake failed" not in caplog.text:  # noqa: ASYNC110  # a log tells nobody
                await asyncio.sleep(0.01)

    caplog.set_level(logging.DEBUG, "elanus.server")
    run(scenario())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_handshake_that_does_not_go_on_is_ended(run: Any, echo: Any) -> None:
    async def scenario() -> None:
        async with serving(echo, limits=Limits(sniff_timeout=0.05)) as server:
            reader, writer = await raw(server)
            writer.write(b"\x16\x03\x01")
            assert await reader.read() == b"", "closed by the server"
            writer.close()

    run(scenario())


@pytest.mark.parametrize(
    ("error", "text", "level"),
    [
        (ConnectionResetError(), "the peer left", logging.DEBUG),
        (ConnectionAbortedError("SSL handshake is taking longer than 10 s"), "SSL handshake is taking", logging.DEBUG),
        (ssl.SSLError(1, "[SSL: STRANGE] what"), "[SSL: STRANGE] what", logging.WARNING),
        (OSError("odd"), "odd", logging.WARNING),
    ],
)
def test_words_and_level_of_a_failure(error: OSError, text: str, level: int) -> None:
    said, at = handshake_failure(error)
    assert text in said
    assert at == level
