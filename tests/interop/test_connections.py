"""Connections between elanus and Kitex: unix sockets, one per call, IPv6, and ends that come without a word."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import elanus

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusProcess, ElanusServer, elanus_client
from .peer import KitexServer
from .service import idl

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_unix_socket_go_to_py(
    elanus_server: ElanusFactory, kitex_client: ClientFactory, tmp_path: Path, framing: str
) -> None:
    async with (
        elanus_server(listen=f"unix:{tmp_path}/s") as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        for _ in range(3):
            assert (await client.result("echo", {"req": {"message": "m"}}))["message"] == "m"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_unix_socket_py_to_go(kitex_server: ServerFactory, tmp_path: Path, framing: str) -> None:
    async with (
        kitex_server(listen=f"unix:{tmp_path}/s", mux=framing == "mux") as server,
        elanus_client(server.address, framing) as client,
    ):
        for _ in range(3):
            result = await client.invoke("echo", idl.Request(message="m"))
            assert (result.reply.message, str(result.instance)) == ("m", f"unix:{tmp_path}/s")


async def test_ipv6_both_ways(
    elanus_server: ElanusFactory, kitex_server: ServerFactory, kitex_client: ClientFactory
) -> None:
    async with elanus_server(listen="[::1]:0") as server, kitex_client(server.address) as client:
        await client.result("ping")
    async with kitex_server(listen="[::1]:0") as go_server, elanus_client(go_server.address) as py_client:
        assert await py_client.ping() is None


async def test_connection_per_call_go_to_py(elanus_server: ElanusFactory, kitex_client: ClientFactory) -> None:
    async with elanus_server() as server, kitex_client(server.address, short=True) as client:
        await asyncio.gather(*(client.result("sleep", {"milliseconds": 5, "token": "t"}) for _ in range(20)))
        while server.server.connections:  # noqa: ASYNC110 - the client closes each after its reply
            await asyncio.sleep(0)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_connection_per_call_py_to_go(kitex_server: ServerFactory, framing: str) -> None:
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing, pool=elanus.PoolOptions(keep=False)) as client,
    ):
        replies = await asyncio.gather(*(client.sleep(5, str(number)) for number in range(20)))
        assert replies == [str(number) for number in range(20)]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_killed_server_fails_the_calls_in_flight_py_to_go(kitex_server: ServerFactory, framing: str) -> None:
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing) as client,
    ):
        await client.ping()
        calls = [asyncio.ensure_future(client.sleep(20_000, str(number))) for number in range(5)]
        await asyncio.sleep(0.1)
        server.kill()
        for call in calls:
            with pytest.raises(elanus.ConnectionLostError) as lost:
                await call
            assert (lost.value.instance, lost.value.sent, lost.value.method) == (server.address, True, "sleep")
        await server.wait()  # until then it may still accept
        with pytest.raises(elanus.NoInstanceError, match=server.address):
            await client.ping()


@pytest.mark.parametrize("framing", ["framed", "ttheaderframed", "mux"])
async def test_killed_server_fails_the_calls_in_flight_go_to_py(
    elanus_process: Callable[..., ElanusProcess], kitex_client: ClientFactory, framing: str
) -> None:
    async with (
        elanus_process() as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        await client.result("ping")
        call = asyncio.create_task(client.call("sleep", {"milliseconds": 20_000, "token": "t"}))
        await asyncio.sleep(0.1)
        server.kill()
        assert (await call)["error"]["kind"] == "network"
        assert await server.wait() == -signal.SIGKILL
        assert (await client.call("ping"))["error"]["kind"] == "dial"
