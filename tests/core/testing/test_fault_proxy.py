"""The fault proxy: every fault does what it says, on live connections too, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from elanus.testing.clock import run_virtual
from elanus.testing.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Recorder:
    """A server that notes what arrives, chunk by chunk, and echoes it."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.address = ""
        self.connections = 0
        self.resets = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65_536):
                self.chunks.append(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            self.resets += 1
        finally:
            self.ended.set()
            writer.close()

    @property
    def received(self) -> bytes:
        return b"".join(self.chunks)


@asynccontextmanager
async def echo_server(path: Path | None = None) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    if path is None:
        server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
        recorder.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(recorder.serve, path)
        recorder.address = f"unix:{path}"
    async with server:
        yield recorder


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reader.readexactly(len(data))


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Client]:
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


@pytest.fixture
async def server() -> AsyncIterator[Recorder]:
    async with echo_server() as recorder:
        yield recorder


@pytest.fixture
async def proxy(server: Recorder) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.address) as proxy:
        yield proxy
    assert proxy.open == 0


async def settle() -> None:
    """Let what is ready happen: loopback needs a few turns of the loop for each hop."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_without_faults_everything_passes(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as client:
        assert await client.ask(b"hello") == b"hello"
        big = bytes(range(256)) * 4_000
        assert await client.ask(big) == big
    assert server.received == b"hello" + big
    assert proxy.accepted == 1
    assert proxy.up.bytes == proxy.down.bytes == 5 + len(big)
    assert proxy.up.chunks >= 2


async def test_the_end_of_one_direction_passes_and_leaves_the_other_open(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        client.writer.write(b"the last words")
        client.writer.write_eof()
        assert await client.reader.read() == b"the last words"


async def test_many_connections_do_not_mix(proxy: FaultProxy) -> None:
    async def one(number: int) -> None:
        async with connected(proxy) as client:
            for step in range(5):
                word = f"{number}-{step}".encode()
                assert await client.ask(word) == word

    await asyncio.gather(*(one(number) for number in range(50)))
    assert proxy.accepted == 50


def test_delay_in_each_direction() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with echo_server() as server, FaultProxy(server.address) as proxy, connected(proxy) as client:
            proxy.up.delay, proxy.down.delay = 10.0, 5.0
            start = loop.time()
            assert await client.ask(b"hello") == b"hello"
            assert loop.time() - start == pytest.approx(15.0, abs=0.01)
            proxy.up.delay = proxy.down.delay = 0.0
            start = loop.time()
            assert await client.ask(b"hello") == b"hello"
            assert loop.time() - start == pytest.approx(0.0, abs=0.01)

    run_virtual(scenario())


def test_delays_of_chunks_overlap_and_order_is_kept() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with echo_server() as server, FaultProxy(server.address) as proxy, connected(proxy) as client:
            proxy.up.delay = 10.0
            start = loop.time()
            for number in range(5):
                client.writer.write(b"%d" % number)
                await asyncio.sleep(1)
            assert await client.reader.readexactly(5) == b"01234"
            assert loop.time() - start == pytest.approx(14.0, abs=0.01)

    run_virtual(scenario())


def test_splitting_makes_small_pieces() -> None:
    async def scenario() -> None:
        async with echo_server() as server, FaultProxy(server.address) as proxy, connected(proxy) as client:
            proxy.up.split, proxy.up.split_pause = 3, 0.01
            assert await client.ask(b"0123456789") == b"0123456789"
            assert server.chunks == [b"012", b"345", b"678", b"9"]

    run_virtual(scenario())


async def test_cutting_after_some_bytes_up(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as client:
        proxy.up.cut_after = 7
        client.writer.write(b"0123456789")
        with pytest.raises(ConnectionResetError):
            await client.reader.read()  # to the end, which an orderly close would be
        await server.ended.wait()
    assert server.received == b"0123456"[: len(server.received)], "RST may overtake what was sent before it"
    assert proxy.up.bytes == 7


async def test_cutting_after_some_bytes_down_with_a_close(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        proxy.down.cut_after, proxy.down.cut_with = 4, "close"
        client.writer.write(b"0123456789")
        assert await client.reader.read() == b"0123"
    assert proxy.down.bytes == 4


async def test_the_cut_counts_over_the_life_of_each_connection(proxy: FaultProxy) -> None:
    proxy.down.cut_after, proxy.down.cut_with = 10, "close"
    for _ in range(3):
        async with connected(proxy) as client:
            assert await client.ask(b"012345") == b"012345"
            client.writer.write(b"012345")
            assert await client.reader.read() == b"0123"


async def test_cutting_at_the_first_byte(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as client:
        proxy.up.cut_after, proxy.up.cut_with = 0, "close"
        client.writer.write(b"hello")
        assert await client.reader.read() == b""
        await server.ended.wait()
    assert server.received == b""


async def test_cutting_all_connections_now(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as one, connected(proxy) as other:
        await one.ask(b"1")
        await other.ask(b"2")
        assert proxy.open == 2
        await proxy.cut()
        assert proxy.open == 0
        for client in (one, other):
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
    async with connected(proxy) as again:
        assert await again.ask(b"3") == b"3"
    assert server.resets == 2


async def test_ending_all_connections_in_good_order(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as client:
        await client.ask(b"1")
        await proxy.cut("close")
        assert await client.reader.read() == b""
        await server.ended.wait()
    assert server.resets == 0


async def test_duplicating_chunks(proxy: FaultProxy, server: Recorder) -> None:
    async with connected(proxy) as client:
        proxy.up.duplicate = True
        client.writer.write(b"ab")
        assert await client.reader.readexactly(4) == b"abab"
        proxy.up.duplicate = False
        assert await client.ask(b"c") == b"c"
    assert server.received == b"ababc"


def test_swallowing_loses_what_is_sent_meanwhile() -> None:
    async def scenario() -> None:
        async with echo_server() as server, FaultProxy(server.address) as proxy, connected(proxy) as client:
            assert await client.ask(b"before") == b"before"
            proxy.down.swallow = True
            client.writer.write(b"lost")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3_600):
                    await client.reader.readexactly(1)
            assert server.received == b"beforelost"
            proxy.down.swallow = False
            assert await client.ask(b"after") == b"after"

    run_virtual(scenario())


def test_stalling_keeps_what_is_sent_meanwhile() -> None:
    async def scenario() -> None:
        async with echo_server() as server, FaultProxy(server.address) as proxy, connected(proxy) as client:
            proxy.up.stall = True
            client.writer.write(b"held back")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3_600):
                    await client.reader.readexactly(1)
            assert server.received == b""
            proxy.up.stall = False
            assert await client.reader.readexactly(9) == b"held back"

    run_virtual(scenario())


def test_half_open_accepts_and_never_answers() -> None:
    async def scenario() -> None:
        async with echo_server() as server, FaultProxy(server.address) as proxy:
            proxy.half_open = True
            async with connected(proxy) as client:
                client.writer.write(b"hello?")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(3_600):
                        await client.reader.read(1)
                assert proxy.accepted == 1
                assert server.connections == 0
            proxy.heal()
            async with connected(proxy) as client:
                assert await client.ask(b"hello") == b"hello"

    run_virtual(scenario())


async def test_refusing_new_connections_keeps_the_old_and_the_address(proxy: FaultProxy) -> None:
    address = proxy.address
    async with connected(proxy) as client:
        await client.ask(b"1")
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
        assert await client.ask(b"2") == b"2"
        await proxy.accept()
        assert proxy.address == address
        async with connected(proxy) as again:
            assert await again.ask(b"3") == b"3"


async def test_a_target_that_is_not_there(proxy: FaultProxy) -> None:
    host, _, port = proxy.address.rpartition(":")
    await proxy.refuse()
    async with FaultProxy(f"{host}:{port}") as nowhere, connected(nowhere) as client:
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
        await settle()
        assert (nowhere.accepted, nowhere.failed, nowhere.open) == (1, 1, 0)


async def test_a_target_on_a_unix_socket(tmp_path: Path) -> None:
    async with (
        echo_server(tmp_path / "echo.sock") as server,
        FaultProxy(server.address) as proxy,
        connected(proxy) as client,
    ):
        assert await client.ask(b"hello") == b"hello"


async def test_a_slow_reader_stops_the_writer(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        proxy.up.stall = True
        for _ in range(2_000):
            client.writer.write(bytes(65_536))
            await settle()
            if client.writer.transport.get_write_buffer_size() > 1_000_000:
                break
        else:
            pytest.fail("the proxy took 131 MB in while it passed nothing on")
        assert proxy.up.bytes == 0
        await proxy.cut()


async def test_healing_ends_every_fault(proxy: FaultProxy) -> None:
    for faults in (proxy.up, proxy.down):
        faults.delay, faults.split, faults.cut_after = 99.0, 1, 1
        faults.duplicate = faults.swallow = faults.stall = True
    proxy.half_open = True
    proxy.heal()
    async with connected(proxy) as client:
        assert await client.ask(b"hello" * 100) == b"hello" * 100


async def test_leaving_ends_connections_and_tasks() -> None:
    before = asyncio.all_tasks()
    async with echo_server() as server, FaultProxy(server.address) as proxy:
        host, _, port = proxy.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"hello")
        await reader.readexactly(5)
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    await server.ended.wait()
    await settle()
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
