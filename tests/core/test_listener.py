"""The listening socket: two wire formats on one port, and what becomes of connections that are neither."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import elanus
from elanus.address import split_address
from elanus.contracts.transport import Sniff
from elanus.errors import TransportError
from elanus.testing import InTurn

from .line_transport import LineTransport
from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def serving(
    *transports: LineTransport, bind: str = "127.0.0.1:0", **options: Any
) -> AsyncIterator[elanus.Server]:
    server = elanus.Server(transports=list(transports), **{"drain_delay": 0.0, **options})
    server.add_service(idl.Store, Store())
    await server.start(bind)
    try:
        yield server
    finally:
        await server.stop()


def client(server: elanus.Server, transport: LineTransport, **options: Any) -> elanus.Client:
    return elanus.Client(idl.Store, server.address, transport=transport, balancer=InTurn(), **options)


REQUEST = json.dumps({"id": 1, "service": "Store", "method": "get", "payload": '{"key": "k"}'}).encode() + b"\n"


async def raw(server: elanus.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*split_address(server.address))


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing that would tell
            await asyncio.sleep(0.001)


async def test_two_wire_formats_are_served_on_one_port() -> None:
    one, two = LineTransport(b"ONE"), LineTransport(b"TWOTWO")
    async with serving(one, two) as server, client(server, one) as first, client(server, two) as second:
        assert list(await asyncio.gather(first.get("a"), second.get("b"))) == ["value of a", "value of b"]
        assert server.connections == 2
        assert (len(one.heads), len(two.heads)) == (1, 1)


def test_both_are_served_under_uvloop_too() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_two_wire_formats_are_served_on_one_port())


async def test_a_protocol_is_known_however_its_bytes_are_cut() -> None:
    one, two = LineTransport(b"OXE"), LineTransport(b"OXOTWO")
    async with serving(one, two) as server:
        for transport in (one, two):
            data = transport.mark + REQUEST
            for cut in (*range(1, len(transport.mark) + 2), None):
                reader, writer = await raw(server)
                pieces = [data[i : i + 1] for i in range(len(data))] if cut is None else [data[:cut], data[cut:]]
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                assert json.loads(await reader.readline())["payload"] == '{"result": "value of k"}'
                writer.close()
                await writer.wait_closed()
        assert all(head.startswith(one.mark) for head in one.heads)
        assert all(head.startswith(two.mark) for head in two.heads)


async def test_what_no_transport_knows_is_closed_without_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(LineTransport(b"ONE")) as server:
        reader, writer = await raw(server)
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    assert "it sends an HTTP/1 request ('GET / HTTP/1.1'), which no transport here knows (line_ONE)" in caplog.text


async def test_a_transport_that_asks_for_more_for_ever_is_not_heard_beyond_its_own_bound() -> None:
    class Undecided(LineTransport):
        def sniff(self, head: bytes) -> Sniff:
            return Sniff.MORE

    async with serving(Undecided(b"ABCD")) as server:
        reader, writer = await raw(server)
        writer.write(b"ABC")
        await asyncio.sleep(0.01)
        writer.write(b"D")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_connection_that_stays_silent_in_the_middle_of_its_first_bytes_is_closed() -> None:
    limits = elanus.Limits(sniff_timeout=0.05, idle_timeout=60.0)
    async with serving(LineTransport(b"ONE"), limits=limits) as server:
        silent, silent_writer = await raw(server)
        reader, writer = await raw(server)
        writer.write(b"ON")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert not silent.at_eof(), "one that has sent nothing yet is a pool's, and may be idle"
        for each in (writer, silent_writer):
            each.close()


async def test_an_idle_connection_that_never_spoke_is_closed_in_the_end() -> None:
    async with serving(LineTransport(b"ONE"), limits=elanus.Limits(idle_timeout=0.05)) as server:
        reader, writer = await raw(server)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_connections_over_the_limit_are_closed_and_others_go_on() -> None:
    one = LineTransport(b"ONE")
    async with serving(one, limits=elanus.Limits(connections=2)) as server, client(server, one) as first:
        assert await first.get("a") == "value of a"
        _, newcomer = await raw(server)
        await asyncio.sleep(0.01)
        reader, refused = await raw(server)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert await first.get("b") == "value of b"
        newcomer.close()
        refused.close()
        await asyncio.sleep(0.01)
        async with client(server, one) as second:
            assert await second.get("c") == "value of c"


async def test_an_address_in_use_is_an_error_at_once_and_names_it() -> None:
    one = LineTransport(b"ONE")
    async with serving(one) as server:
        second = elanus.Server(transports=[one])
        second.add_service(idl.Store, Store())
        with pytest.raises(TransportError, match=f"cannot listen on {server.address}: .*in use") as raised:
            await second.start(server.address)
        assert raised.value.phase == "listen"
        assert isinstance(raised.value.__cause__, OSError)


async def test_ipv6_addresses_are_written_in_brackets() -> None:
    one = LineTransport(b"ONE")
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    async with serving(one, bind="[::1]:0") as server, client(server, one) as each:
        assert server.address.startswith("[::1]:")
        assert await each.get("a") == "value of a"


async def test_a_unix_socket_is_served_and_its_file_is_gone_afterwards(tmp_path: Path) -> None:
    one = LineTransport(b"ONE")
    path = tmp_path / "store.sock"
    async with serving(one, bind=f"unix:{path}") as server:
        assert server.address == f"unix:{path}"
        async with client(server, one) as each:
            assert await each.get("a") == "value of a"
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    one = LineTransport(b"ONE")
    path = tmp_path / "store.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(os.fspath(path))
    async with serving(one, bind=f"unix:{path}"):
        with pytest.raises(TransportError, match="cannot listen"):
            async with serving(one, bind=f"unix:{path}"):
                pass
        assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(TransportError, match="cannot listen"):
        async with serving(LineTransport(b"ONE"), bind=f"unix:{path}"):
            pass
    assert path.read_text() == "data"


async def test_a_peer_that_hangs_up_cancels_its_calls() -> None:
    cancelled = asyncio.Event()

    class Waits(Store):
        async def get(self, key: str) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    server = elanus.Server(transports=[LineTransport(b"ONE")], drain_delay=0.0)
    server.add_service(idl.Store, Waits())
    await server.start("127.0.0.1:0")
    _, writer = await raw(server)
    writer.write(b"ONE" + REQUEST)
    await until(lambda: server.calls == 1)
    writer.close()
    async with asyncio.timeout(5):
        await cancelled.wait()
    await until(lambda: server.calls == 0 and server.connections == 0)
    await server.stop()
