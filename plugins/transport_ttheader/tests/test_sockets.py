"""What only real sockets show: TLS, addresses that are wrong, and what an idle connection costs."""

from __future__ import annotations

import asyncio
import gc
import ssl
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.transport import LinkOptions
from elanus.errors import ConnectFailedError, RemoteProtocolError
from elanus.testing.transport_peers import CopyCodec, loopback, suite_service
from elanus_transport_ttheader.hooks import elanus_transports

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from elanus.contracts.transport import Transport
    from elanus.testing.transport_peers import Peers


def transport() -> Transport:
    return elanus_transports()[0].build({})


def peers(client: LinkOptions, server: LinkOptions, unix: str = "") -> AbstractAsyncContextManager[Peers]:
    return loopback(transport(), suite_service(CopyCodec("thrift-binary")), client=client, server=server, unix=unix)


def anonymous(purpose: int) -> ssl.SSLContext:
    """TLS between two ends without certificates: nothing to keep secret, nothing to expire."""
    context = ssl.SSLContext(purpose)
    if purpose == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:ADH-AES256-GCM-SHA384:@SECLEVEL=0")
    return context


CLIENT = LinkOptions(ssl=anonymous(ssl.PROTOCOL_TLS_CLIENT))
SERVER = LinkOptions(ssl=anonymous(ssl.PROTOCOL_TLS_SERVER))


@pytest.mark.parametrize("unix", [False, True])
async def test_tls(unix: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = f"{tmp_path_factory.mktemp('tls')}/s" if unix else ""
    async with peers(CLIENT, SERVER, path) as both:
        connection = await both.connect()
        for size in (0, 100, 200_000):
            assert await both.ask(connection, "echo", "x" * size) == "x" * size
        assert connection._wire.get_extra_info("cipher") is not None  # type: ignore[attr-defined]
        await connection.aclose(5.0)


async def test_only_the_client_uses_tls() -> None:
    async with peers(CLIENT, LinkOptions()) as both:
        with pytest.raises(ConnectFailedError) as caught:
            await both.connect()
        assert both.address in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)


async def test_only_the_server_uses_tls() -> None:
    async with peers(LinkOptions(), SERVER) as both:
        connection = await both.connect()
        with pytest.raises(Exception, match=r"TLS alert|closed the connection|broke") as caught:
            await both.ask(connection, "echo")
        assert both.address in str(caught.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "connection refused. Check that a server listens there"),
        ("unix:/nowhere/at/all", "no such file or directory. Check that a server listens there"),
        ("127.0.0.1:port", "is no address. Write"),
        ("no-such-host.invalid:1", "the host name cannot be looked up: .*. Check the name"),
    ],
)
async def test_addresses_where_nobody_answers(address: str, words: str) -> None:
    with pytest.raises(ConnectFailedError, match=words) as caught:
        await transport().connect(address, "", LinkOptions())
    assert (caught.value.instance, caught.value.sent) == (address, False)


async def test_a_server_of_another_protocol() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with peers(LinkOptions(), LinkOptions()) as both:
        both.address = address
        connection = await both.connect()
        with pytest.raises(RemoteProtocolError, match=r"an HTTP/1 answer \('HTTP/1\.1 400 Bad'\)") as caught:
            await both.ask(connection, "echo")
        assert address in str(caught.value)
        assert "check the address and the port" in str(caught.value)
    server.close()
    await server.wait_closed()


async def test_new_connections_to_a_known_server_are_shared_from_the_start() -> None:
    async with peers(LinkOptions(), LinkOptions()) as both:
        first = await both.connect()
        assert first.free == 1
        await both.ask(first, "echo")
        assert (await both.connect()).free == LinkOptions().limits.calls_per_connection


async def test_it_says_beforehand_whether_calls_will_share_a_connection() -> None:
    header, *others = elanus_transports()
    assert [header.build({"mux": mux}).shares("a:1", "") for mux in (None, False, True)] == [False, False, True]
    assert not any(provider.build({}).shares("a:1", "") for provider in others)
    async with peers(LinkOptions(), LinkOptions()) as both:
        assert not both.transport.shares(both.address, "")
        await both.ask(await both.connect(), "echo")
        assert both.transport.shares(both.address, ""), "the server has shown that it answers out of order"


async def test_what_an_idle_connection_costs() -> None:
    async with peers(LinkOptions(), LinkOptions()) as both:
        await both.ask(await both.connect(), "echo")
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            await both.ask(await both.connect(), "echo")
        gc.collect()
        cost = (tracemalloc.get_traced_memory()[0] - before) / 50
        tracemalloc.stop()
        # Both ends, asyncio's transports and all that the suite notes of each call; the aim is 25 KiB for one end.
        assert cost < 25 * 1024


async def test_tls_towards_a_server_without_it_says_so() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(ConnectFailedError, match=r"TLS handshake failed: .*Check that the server there speaks TLS"):
        await transport().connect(address, "", LinkOptions(ssl=ssl.create_default_context()))
    server.close()
    await server.wait_closed()
