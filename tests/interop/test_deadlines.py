"""How long a server's handler has: the five cases of kitex-tests (``normalcall/server_processing_timeout``), with
elanus on either side. Kitex has deadlines off by default and never ends a handler; elanus has them on and ends it.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

import elanus
from elanus.deadline import Deadline

from .conftest import ClientFactory
from .elanus_peers import ElanusServer, elanus_client
from .peer import KitexServer

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

#: TTHeader's integer key for the milliseconds that a call may take.
TIMEOUT_KEY = 12
LONG_MS, AGES_MS = 20, 60_000


# -- 1: nobody says how long ----------------------------------------------------------------------------------


async def test_a_kitex_server_that_is_told_nothing_has_no_deadline(kitex_server: ServerFactory) -> None:
    async with kitex_server() as server, elanus_client(server.address) as client:
        assert not (await client.deadline()).has_deadline
        assert await client.sleep(LONG_MS, "done") == "done"


async def test_an_elanus_server_that_is_told_nothing_has_no_deadline(
    kitex_client: ClientFactory, elanus_server: ElanusFactory
) -> None:
    async with elanus_server() as server, kitex_client(server.address) as client:
        assert not (await client.result("deadline"))["has_deadline"]
        assert await client.result("sleep", {"milliseconds": LONG_MS, "token": "done"}) == "done"


# -- 2: the caller says it, and the server wants to know ------------------------------------------------------


async def test_a_kitex_server_that_wants_to_know_has_the_callers_deadline(kitex_server: ServerFactory) -> None:
    async with kitex_server(context_timeout=True) as server, elanus_client(server.address) as client:
        report = await client.with_options(timeout=20.0).deadline()
        assert report.has_deadline
        assert 0 < report.remaining_ms <= 20_000
        with pytest.raises(elanus.RpcTimeoutError) as raised:
            await client.with_options(timeout=0.01).sleep(AGES_MS // 30, "too late")
        assert (raised.value.limit, raised.value.seconds) == ("timeout", 0.01)


async def test_an_elanus_server_has_the_callers_deadline(
    kitex_client: ClientFactory, elanus_server: ElanusFactory
) -> None:
    async with elanus_server() as server, kitex_client(server.address) as client:
        report = await client.result("deadline", timeout_ms=20_000)
        assert report["has_deadline"]
        assert 0 < report["remaining_ms"] <= 20_000
        answer = await client.call("sleep", {"milliseconds": AGES_MS, "token": "too late"}, timeout_ms=10)
        assert answer["result"] is None
        # Who is first tells: Kitex's own timer, or elanus, which ends the handler.
        late = answer["error"]["kind"] == "timeout"
        assert late or "over its deadline" in answer["error"]["message"]


# -- 3: the caller says it, and the server does not want to know ----------------------------------------------


async def test_a_kitex_server_that_does_not_want_to_know_has_none(kitex_server: ServerFactory) -> None:
    async with kitex_server() as server, elanus_client(server.address) as client:
        seen = await client.with_options(timeout=20.0).metadata(_request())
        assert 0 < int(seen.int_headers[TIMEOUT_KEY]) <= 20_000, "it is on the wire"
        assert not seen.deadline.has_deadline


async def test_an_elanus_server_that_does_not_enforce_knows_and_lets_the_handler_run(
    elanus_server: ElanusFactory,
) -> None:
    """Other than Kitex's, its handler knows the deadline: what is off is only that somebody ends it."""
    async with elanus_server(enforce_deadline=False) as server, elanus_client(server.address) as client:
        assert (await client.with_options(timeout=20.0).deadline()).has_deadline
        assert await _told(client, 1).sleep(LONG_MS, "done") == "done"


# -- 4: the caller writes the header itself, and waits for longer ---------------------------------------------


def _told(client: elanus.Client, milliseconds: int) -> elanus.Client:
    """A client that says it has so long, and waits for ever."""
    return client.with_options(headers={TIMEOUT_KEY: str(milliseconds)})


async def test_a_kitex_server_does_not_end_what_runs_over(kitex_server: ServerFactory) -> None:
    async with kitex_server(context_timeout=True) as server, elanus_client(server.address) as client:
        assert (await _told(client, 20_000).deadline()).has_deadline
        assert await _told(client, 1).sleep(LONG_MS, "done") == "done"


async def test_an_elanus_server_ends_what_runs_over(elanus_server: ElanusFactory) -> None:
    """Kitex answers here, since it never ends a handler. elanus does so by default."""
    async with elanus_server() as server, elanus_client(server.address) as client:
        assert (await _told(client, 20_000).deadline()).has_deadline
        with pytest.raises(elanus.ApplicationError, match="handler of Interop/sleep ran over its deadline"):
            await _told(client, 10).sleep(AGES_MS, "never")


# -- 5: the server's own reader of headers says it ------------------------------------------------------------


class TenSeconds(elanus.MetadataHandler):
    """Gives every handler ten seconds, as Kitex's case does in ``ReadMeta``."""

    def read(self, call: elanus.Call) -> None:
        call.deadline = Deadline(monotonic() + 10.0)


async def test_a_reader_of_headers_sets_the_deadline(kitex_client: ClientFactory, elanus_server: ElanusFactory) -> None:
    options: dict[str, Any] = {"metadata_handlers": [TenSeconds()]}
    async with elanus_server(**options) as server, kitex_client(server.address) as client:
        report = await client.result("deadline")
        assert report["has_deadline"]
        assert 0 < report["remaining_ms"] <= 10_000
        assert await client.result("sleep", {"milliseconds": LONG_MS, "token": "done"}) == "done"


# -- whose word counts ----------------------------------------------------------------------------------------


async def test_what_travels_is_the_calls_word_before_the_methods_before_the_clients(
    kitex_server: ServerFactory,
) -> None:
    options: dict[str, Any] = {"timeout": 500.0, "methods": {"deadline": elanus.MethodOptions(timeout=300.0)}}
    async with kitex_server(context_timeout=True) as server, elanus_client(server.address, **options) as client:
        assert 200_000 < (await client.with_options(timeout=250.0).deadline()).remaining_ms <= 250_000
        assert 250_000 < (await client.deadline()).remaining_ms <= 300_000
        unbounded = client.with_options(timeout=float("inf"))
        assert not (await unbounded.deadline()).has_deadline, "infinity is no limit, and nothing is sent"
        ints = (await client.metadata(_request())).int_headers
        assert 300_000 < int(ints[TIMEOUT_KEY]) <= 500_000


def _request() -> Any:
    from .service import idl

    return idl.MetadataRequest()
