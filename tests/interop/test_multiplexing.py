"""Calls that share a connection, and how a client finds out whether they may.

elanus clients put the flag "replies may come out of order" (0x0001) on TTHeader requests and elanus servers send it
back; Kitex servers ignore it and answer with 0. No Go peer notices any of this: a Kitex server gets one call at a time
on each connection unless the client is told ``mux=True``, and Kitex clients of both kinds get what they expect.
"""

import asyncio
from collections.abc import Callable

import pytest

import elanus

from .conftest import ClientFactory
from .elanus_peers import ElanusServer, elanus_client
from .peer import KitexClient, KitexServer

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

CALLS = 40
#: Replies overtake each other: the first calls take longest.
DELAYS = [40 - number for number in range(CALLS)]


async def calls_at_once(client: elanus.Client) -> None:
    """As many calls at a time, each with its own reply."""
    replies = await asyncio.gather(*(client.sleep(delay, str(delay)) for delay in DELAYS))
    assert replies == [str(delay) for delay in DELAYS]


async def go_calls_at_once(client: KitexClient) -> list[str]:
    """The same by a Kitex client; gives the tokens in the order in which the replies came."""
    order: list[str] = []

    async def call(delay: int) -> None:
        reply = await client.result("sleep", {"milliseconds": 5 * delay, "token": str(delay)})
        assert reply == str(delay)
        order.append(reply)

    await asyncio.gather(*(call(delay) for delay in DELAYS))
    return order


def only(client: elanus.Client) -> int:
    """How many connections the client has to its one server."""
    (count,) = client.connections().values()
    return count


@pytest.mark.parametrize("framed", [True, False], ids=["framed", "unframed"])
@pytest.mark.parametrize("mux_server", [True, False], ids=["mux_server", "ping_pong_server"])
async def test_client_that_learns_takes_turns_with_kitex(
    kitex_server: ServerFactory, mux_server: bool, framed: bool
) -> None:
    framing = "ttheaderframed" if framed else "ttheader"
    async with kitex_server(mux=mux_server) as server, elanus_client(server.address, framing) as client:
        for _ in range(3):
            await calls_at_once(client)
            assert only(client) > 1


async def test_client_that_is_told_shares_a_connection_with_a_kitex_mux_server(kitex_server: ServerFactory) -> None:
    async with kitex_server(mux=True) as server, elanus_client(server.address, "mux") as client:
        await client.ping()
        for _ in range(3):
            await calls_at_once(client)
        assert only(client) == 1
        slow = asyncio.ensure_future(client.sleep(500, "slow"))
        assert await client.sleep(0, "quick") == "quick"
        assert not slow.done()
        assert await slow == "slow"


async def test_a_burst_of_first_calls_waits_for_one_connection(kitex_server: ServerFactory) -> None:
    async with kitex_server(mux=True) as server, elanus_client(server.address, "mux") as client:
        await calls_at_once(client)
        assert client.pool_counters().connected == 1


async def test_calls_take_turns_on_several_shared_connections(kitex_server: ServerFactory) -> None:
    pool = elanus.PoolOptions(connections=3)
    async with kitex_server(mux=True) as server, elanus_client(server.address, "mux", pool=pool) as client:
        await client.ping()
        await client.ping()  # from the second call on there are to be three
        while only(client) < 3:  # noqa: ASYNC110  - the others are made in the background
            await asyncio.sleep(0)
        await calls_at_once(client)
        assert only(client) == 3


async def test_client_that_is_wrongly_told_still_gets_its_own_replies(kitex_server: ServerFactory) -> None:
    # A Kitex server without the mux option takes the requests of a connection one after the other, in order.
    async with kitex_server() as server, elanus_client(server.address, "mux") as client:
        await client.ping()
        await calls_at_once(client)
        assert only(client) == 1


@pytest.mark.parametrize("mux_server", [True, False], ids=["mux_server", "ping_pong_server"])
async def test_client_that_must_not(kitex_server: ServerFactory, mux_server: bool) -> None:
    async with (
        kitex_server(mux=mux_server) as server,
        elanus_client(server.address, transport={"mux": False}) as client,
    ):
        await calls_at_once(client)
        assert only(client) > 1


@pytest.mark.parametrize("transport", ["buffered", "framed", "ttheader-unframed", "ttheader"])
async def test_kitex_client_in_turns(elanus_server: ElanusFactory, kitex_client: ClientFactory, transport: str) -> None:
    async with elanus_server() as server, kitex_client(server.address, transport=transport, long=CALLS) as client:
        for _ in range(3):
            await go_calls_at_once(client)
        assert server.server.connections > 1


@pytest.mark.parametrize("connections", [1, 2])
async def test_kitex_mux_client(elanus_server: ElanusFactory, kitex_client: ClientFactory, connections: int) -> None:
    async with (
        elanus_server() as server,
        kitex_client(server.address, transport="mux", mux_connections=connections) as client,
    ):
        for _ in range(3):
            order = await go_calls_at_once(client)
            assert order != [str(delay) for delay in DELAYS], "no reply overtook another"
        assert server.server.connections == connections


async def test_both_kinds_of_kitex_client_on_one_elanus_server(
    elanus_server: ElanusFactory, kitex_client: ClientFactory
) -> None:
    async with (
        elanus_server() as server,
        kitex_client(server.address, transport="mux") as shared,
        kitex_client(server.address, transport="ttheader") as turns,
        kitex_client(server.address, transport="framed") as plain,
        elanus_client(server.address) as own,
    ):
        for _ in range(3):
            await asyncio.gather(
                go_calls_at_once(shared), go_calls_at_once(turns), go_calls_at_once(plain), calls_at_once(own)
            )


@pytest.mark.parametrize("framing", ["ttheader", "ttheaderframed"])
async def test_elanus_learns_of_elanus(elanus_server: ElanusFactory, framing: str) -> None:
    async with elanus_server() as server, elanus_client(server.address, framing) as client:
        await client.ping()
        for _ in range(3):
            await calls_at_once(client)
        assert only(client) == server.server.connections == 1
        async with elanus_client(server.address, framing, transport={"mux": False}) as unshared:
            await unshared.ping()
            await calls_at_once(unshared)
            assert only(unshared) > 1


async def test_client_unlearns_when_a_kitex_server_takes_the_place_of_an_elanus_server(
    elanus_server: ElanusFactory, kitex_server: ServerFactory
) -> None:
    async with elanus_server() as first:
        address = first.address
        client = elanus_client(address)
        await client.start()
        await client.ping()
        await calls_at_once(client)
        assert only(client) == 1
    try:
        async with kitex_server(listen=address):
            for _ in range(3):
                await calls_at_once(client)
            assert only(client) > 1
        async with elanus_server(listen=address):
            await client.ping()
            for _ in range(3):
                await calls_at_once(client)
    finally:
        await client.aclose()
