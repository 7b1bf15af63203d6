"""Servers over their limits, seen from the other language: what a refused caller reads, and whose connection stays."""

import asyncio
from collections.abc import Callable

import pytest

import elanus
from elanus_limiter_token import TokenLimiter

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusServer, elanus_client
from .peer import KitexServer
from .service import idl

pytestmark = pytest.mark.interop

KitexFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

TOO_FREQUENT = "request over limit: request too frequent"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_go_client_that_calls_too_often_reads_kitexs_words(
    elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str
) -> None:
    limiter = TokenLimiter(qps=0.001)
    async with (
        elanus_server(limiter=limiter) as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        await client.result("ping")
        error = (await client.call("ping"))["error"]
        assert (error["kind"], error["type_id"]) == ("exception", 6)
        assert error["message"] == f"{TOO_FREQUENT} (qps = 0.001)"
        assert error["text"].startswith(f"remote or network error[remote]: {TOO_FREQUENT}")
        assert server.server.refused == {"qps": 1}
        if framing == "mux":  # a Kitex client closes any other connection after an error reply, by itself
            assert server.server.connections == 1
        limiter.update(qps=0)
        await client.result("ping")
        if framing == "mux":
            assert limiter.connections == 1, "one connection for all three calls"


async def test_a_refused_connection_of_its_own_stays_open_here(elanus_server: ElanusFactory) -> None:
    async with (
        elanus_server(limiter=("token", {"qps": 0.001})) as server,
        elanus_client(server.address, "ttheaderframed") as client,
    ):
        await client.ping()
        for _ in range(3):
            with pytest.raises(elanus.ApplicationError, match=TOO_FREQUENT):
                await client.ping()
        assert server.server.connections == 1


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_go_client_is_cut_where_that_was_asked_for(
    elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str
) -> None:
    limiter = TokenLimiter(qps=0.001, cut=True)
    async with (
        elanus_server(limiter=limiter) as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        await client.result("ping")
        assert (await client.call("ping"))["error"]["kind"] == "network"
        limiter.update(qps=0)
        await client.result("ping")


async def test_callers_are_told_apart_before_anything_is_decoded(
    elanus_server: ElanusFactory, kitex_client: ClientFactory
) -> None:
    rules = {"per_caller": {"elanus.interop.client": {"qps": 0.001}}}
    async with (
        elanus_server(limiter=("token", rules)) as server,
        kitex_client(server.address) as named,
        elanus_client(server.address, caller="another") as other,
    ):
        await named.result("ping")
        assert (await named.call("ping"))["error"]["kind"] == "exception"
        for _ in range(5):
            await other.ping()
        assert server.server.refused == {"per_caller[elanus.interop.client].qps": 1}


async def test_a_go_client_over_the_limit_of_connections_finds_it_closed(
    elanus_server: ElanusFactory, kitex_client: ClientFactory
) -> None:
    async with elanus_server(limiter=("token", {"connections": 1})) as server:
        async with kitex_client(server.address) as first, kitex_client(server.address) as second:
            await first.result("ping")
            assert (await second.call("ping"))["error"]["kind"] == "network"
            assert server.server.refused["connections"] >= 1
            await first.result("ping")
        while server.server.connections:  # noqa: ASYNC110 - the clients have ended, which takes a moment to arrive
            await asyncio.sleep(0.001)
        async with kitex_client(server.address) as third:
            await third.result("ping")


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_what_a_go_server_over_its_limit_does_to_an_elanus_client(
    kitex_server: KitexFactory, framing: str
) -> None:
    """Kitex's default limiter closes the connection; on a multiplexed one it answers. Below 10 it refuses all."""
    async with (
        kitex_server(mux=framing == "mux", max_qps=9) as server,
        elanus_client(server.address, framing) as client,
    ):
        for _ in range(3):
            with pytest.raises(elanus.ElanusError) as raised:
                await client.echo(idl.Request(message="m"))
            if framing == "mux":
                assert isinstance(raised.value, elanus.ApplicationError)
                assert (raised.value.code, raised.value.message) == (6, TOO_FREQUENT)
            else:
                assert isinstance(raised.value, elanus.ConnectionLostError)
        assert (await server.stats())["handled"] == 0


async def test_a_go_server_with_too_many_connections_closes_an_elanus_clients(kitex_server: KitexFactory) -> None:
    async with (
        kitex_server(max_connections=1) as server,
        elanus_client(server.address) as first,
        elanus_client(server.address) as second,
    ):
        await first.ping()
        with pytest.raises(elanus.ElanusError) as raised:
            await second.ping()
        assert isinstance(raised.value, elanus.ConnectionLostError | elanus.NoInstanceError)
        await first.ping()
