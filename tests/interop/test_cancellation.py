"""Calls between elanus and Kitex that end early: the last table of docs/cancellation.md."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import elanus

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, elanus_client
from .peer import KitexClient, KitexServer
from .rows import TTHEADER
from .service import InteropHandler, make_server

pytestmark = pytest.mark.interop

#: Longer than any test waits: a handler that works for so long ends because somebody stops it.
FOR_EVER_MS = 600_000


class Watched(InteropHandler):
    """Notes how each ``sleep`` ended for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def sleep(self, milliseconds: int, token: str) -> str:
        self.begun.put_nowait(token)
        how = "finished"
        try:
            return await super().sleep(milliseconds, token)
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        finally:
            self.ended.put_nowait(f"{token} {how}")


@asynccontextmanager
async def go_calls(
    kitex_client: ClientFactory, framing: str, **options: Any
) -> AsyncIterator[tuple[KitexClient, Watched, elanus.Server]]:
    """A Go client of a watched handler, and the handler's server."""
    handler = Watched()
    server = make_server(handler, drain_delay=0, drain_timeout=0.5, **options)
    address = await server.start("127.0.0.1:0")
    try:
        async with kitex_client(address, transport=FRAMINGS[framing]) as client:
            yield client, handler, server
    finally:
        await server.stop()
        await handler.aclose()


async def nothing_is_left(client: KitexClient, server: elanus.Server) -> None:
    for number in range(3):
        assert (await client.result("echo", {"req": {"message": str(number)}}))["message"] == str(number)
    assert server.calls == 0


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_the_time_of_a_go_client_is_up(kitex_client: ClientFactory, framing: str) -> None:
    async with go_calls(kitex_client, framing) as (client, handler, server):
        answer = await client.call("sleep", {"milliseconds": FOR_EVER_MS, "token": "t"}, timeout_ms=100)
        late = answer["error"]["kind"] == "exception"  # the server saw the deadline pass first, and its answer arrived
        assert (answer["error"]["kind"] == "timeout") or (late and framing in TTHEADER)
        assert await handler.ended.get() == "t cancelled"
        await nothing_is_left(client, server)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_go_client_is_gone(kitex_client: ClientFactory, framing: str) -> None:
    async with go_calls(kitex_client, framing) as (client, handler, server):
        call = asyncio.create_task(client.try_call("sleep", {"milliseconds": FOR_EVER_MS, "token": "t"}))
        await handler.begun.get()
        client.kill()
        assert await handler.ended.get() == "t cancelled"
        await asyncio.wait([call])
        await client.wait()
    assert server.calls == 0


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_go_client_cancels(kitex_client: ClientFactory, framing: str) -> None:
    async with go_calls(kitex_client, framing) as (client, handler, server):
        answer = await client.call("sleep", {"milliseconds": 400, "token": "t"}, cancel_after_ms=50)
        assert answer["error"]["kind"] == "canceled"
        # Kitex returns to its caller and goes on waiting for the reply, so that nobody tells the server.
        assert await handler.ended.get() == "t finished"
        await nothing_is_left(client, server)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("what", ["cancel", "timeout"])
async def test_an_elanus_caller_gives_up_on_a_go_handler(
    kitex_server: Callable[..., KitexServer], framing: str, what: str
) -> None:
    async with kitex_server(mux=framing == "mux") as server, elanus_client(server.address, framing) as client:
        await client.ping()
        before = (await server.stats())["handled"]
        calls = [asyncio.ensure_future(_sleep(client, what, str(number))) for number in range(5)]
        await asyncio.sleep(0.1)
        if what == "cancel":
            for call in calls:
                call.cancel()
        await asyncio.wait(calls)
        for call in calls:
            error = None if call.cancelled() else call.exception()
            assert (error is None) == (what == "cancel")
            if error is not None:
                assert isinstance(error, elanus.RpcTimeoutError)
                assert (error.sent, error.limit, error.instance) == (True, "attempt_timeout", server.address)
        while (await server.stats())["handled"] < before + 5:  # noqa: ASYNC110  - Go's handlers run on
            await asyncio.sleep(0.02)
        assert [await client.sleep(1, str(number)) for number in range(3)] == ["0", "1", "2"]
        (report,) = client.pool_report()
        assert (report.connecting, report.waiting) == (0, 0)
        assert all(one.busy == 0 and one.idle is not None for one in report.connections)
        counters = client.pool_counters()
        assert counters.failed == 0
        if framing == "mux":
            assert counters.connected == 1, "a connection that calls share is kept"
        else:
            assert counters.evicted == {"spent": 5}, "one on which calls take turns cannot be used again"


def _sleep(client: elanus.Client, what: str, token: str) -> Any:
    chosen = client.with_options(attempt_timeout=0.1) if what == "timeout" else client
    return chosen.sleep(300, token)
