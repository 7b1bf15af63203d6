"""Breakers against Kitex: a server of Kitex's that fails and comes back, and a client of Kitex's that is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import elanus
from elanus.contracts.breaker import State
from elanus_breaker_window import WindowBreaker

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusServer, elanus_client
from .peer import KitexServer
from .service import idl

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

#: Short pauses: what takes how long is tested in virtual time.
PAUSES: dict[str, Any] = {"cooling": 0.05, "probe_every": 0.02}


async def succeeding(call: Callable[[], Any]) -> None:
    """Call until two calls have succeeded; only the breaker may refuse them."""
    fine = 0
    while fine < 2:
        try:
            await call()
        except elanus.CircuitOpenError:
            await asyncio.sleep(0.005)
        else:
            fine += 1


def changes(client: elanus.Client, name: str = "service_cb") -> list[str]:
    """What the events say, the oldest first."""
    return [one.detail.partition(",")[0] for one in reversed(client.events.recent()) if one.name == name]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_failing_method_of_kitex_is_spared_until_it_works_again(
    kitex_server: ServerFactory, framing: str
) -> None:
    breaker = WindowBreaker(min_samples=10, cooling=60.0, key_of=lambda call: call.callee)
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing, service_breaker=breaker) as client,
    ):
        for _ in range(10):
            with pytest.raises(elanus.ApplicationError, match="biz error: no"):
                await client.fail("no")
        assert breaker.states() == {"Interop": State.OPEN}
        handled = (await server.stats())["handled"]
        with pytest.raises(elanus.CircuitOpenError):
            await client.fail("no")
        assert (await server.stats())["handled"] == handled
        breaker.update(**PAUSES)
        await succeeding(client.ping)
        assert dict(breaker.states()) == {}
        assert changes(client) == [
            "Interop: CLOSED -> OPEN",
            "Interop: OPEN -> HALFOPEN",
            "Interop: HALFOPEN -> CLOSED",
        ]


async def test_a_slow_method_of_kitex_counts_as_timeouts(kitex_server: ServerFactory) -> None:
    breaker = WindowBreaker(min_samples=5, **PAUSES)
    async with (
        kitex_server() as server,
        elanus_client(server.address, service_breaker=breaker, attempt_timeout=0.02) as client,
    ):
        for _ in range(5):
            with pytest.raises(elanus.RpcTimeoutError):
                await client.sleep(10_000, "t")
        (opened,) = client.events.recent()
        assert opened.detail.startswith("/Interop/sleep: CLOSED -> OPEN, (succ: 0, err: 0, timeout: 5,")
        await client.ping()
        await succeeding(lambda: client.with_options(attempt_timeout=5.0).sleep(0, "t"))
        assert dict(breaker.states()) == {}


async def test_what_kitex_declares_or_means_as_business_opens_nothing(kitex_server: ServerFactory) -> None:
    breaker = WindowBreaker(consecutive=1)
    async with (
        kitex_server() as server,
        elanus_client(server.address, service_breaker=breaker, instance_breaker=breaker_of_instances()) as client,
    ):
        with pytest.raises(idl.NotFound):
            await client.refuse("not_found", "no")
        with pytest.raises(elanus.BizStatusError):
            await client.biz_status(7, "no", {})
        assert dict(breaker.states()) == {}
        with pytest.raises(elanus.ApplicationError):
            await client.panic("oh")
        assert dict(breaker.states()) == {"/Interop/panic": State.OPEN}
        assert changes(client, "instance_cb") == []


def breaker_of_instances() -> WindowBreaker:
    return WindowBreaker(consecutive=2, cooling=60.0)


async def test_a_killed_kitex_is_left_alone_and_the_other_serves(kitex_server: ServerFactory) -> None:
    breaker = breaker_of_instances()
    async with (
        kitex_server() as one,
        kitex_server() as other,
        elanus_client([one.address, other.address], instance_breaker=breaker) as client,
    ):
        for _ in range(10):
            await client.ping()
        one.kill()
        await one.wait()
        for _ in range(50):
            try:
                await client.ping()
            except elanus.ConnectionLostError as lost:
                assert lost.instance == one.address  # noqa: PT017 - the connection from before: at most once
        assert breaker.states() == {one.address: State.OPEN}
        assert changes(client, "instance_cb") == [f"{one.address}: CLOSED -> OPEN"]


async def test_kitex_reads_its_own_words_when_a_server_spares_a_method(
    elanus_server: ElanusFactory, kitex_client: ClientFactory
) -> None:
    async with (
        elanus_server(breaker=WindowBreaker(consecutive=3, cooling=60.0)) as server,
        kitex_client(server.address) as client,
    ):
        for _ in range(3):
            answer = await client.call("fail", {"text": "no"})
            assert answer["error"]["message"] == "biz error: no"
        error = (await client.call("fail", {"text": "no"}))["error"]
        assert (error["kind"], error["type_id"]) == ("exception", 6)
        assert error["text"] == "remote or network error[remote]: forbidden by circuitbreaker: service circuitbreak"
        await client.result("ping")
