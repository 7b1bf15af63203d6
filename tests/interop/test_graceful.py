"""Servers that get SIGTERM under load: what was begun is finished, and what was never sent goes elsewhere.

What can be promised depends on the framing. A TTHeader reply can say "no more calls here" (``crrst``), so every
connection in use is left in good time. Framed and buffered have no such word: a request that crosses the
server's end of an idle connection is lost unread, with Kitex as with elanus. And the mux client of Kitex v0.16.3 panics
on the word that it is sent and fails what it has in flight (cloudwego/kitex issue 1897): an elanus server sends it
when nothing that it has begun is in flight, so that only calls fail whose handlers never ran.
"""

import asyncio
from collections.abc import Callable, Sequence

import pytest

import elanus

from .conftest import LoadFactory
from .elanus_peers import FRAMINGS, ElanusProcess, elanus_client
from .load import Load
from .peer import KitexServer
from .rows import TTHEADER

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ProcessFactory = Callable[..., ElanusProcess]

WORKERS = 10


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_go_load_and_elanus_server(elanus_process: ProcessFactory, kitex_load: LoadFactory, framing: str) -> None:
    # Ten workers that are busy four fifths of the time: calls are in flight whenever the stop comes.
    steady = {"rate": 400, "concurrency": WORKERS, "sleep_ms": 20, "seconds": 60}
    async with (
        elanus_process() as server,
        kitex_load(server.address, transport=FRAMINGS[framing], **steady) as load,
    ):
        while (await server.stats())["handled"] < 100:
            pass
        last = await server.stop()
        await asyncio.sleep(0.1)  # the load goes on, against a closed port
        counts = await load.stop()
    assert (server.returncode, counts["wrong"]) == (0, 0)
    # Every call that a handler answered has its reply, those of the shutdown too.
    assert counts["ok"] == last["handled"], server.log()
    kinds = counts["error_kinds"]
    lost = kinds.pop("network", 0)
    assert set(kinds) == {"dial"}
    assert lost <= (0 if framing in ("ttheader", "ttheaderframed") else WORKERS), counts["error_texts"]


PEERS = [
    pytest.param(peer, framing, id=f"{peer}-{framing}")
    for peer, framings in (("go", FRAMINGS), ("py", ("framed", "ttheaderframed", "mux")))
    for framing in framings
]


def may_lose(peer: str, framing: str) -> bool:
    """Whether the server ends connections without a word, or Kitex's mux server: what crosses its control frame on a
    connection without calls in flight is handled, and the reply is dropped (``netpollmux/server_handler.go``).
    """
    return framing not in TTHEADER or (peer, framing) == ("go", "mux")


def check_lost(errors: Sequence[Exception], address: str, *, allowed: bool) -> None:
    """Each worker may lose its call in flight to a server that closes without a word, and is told which one it was."""
    assert len(errors) <= (WORKERS if allowed else 0), errors
    for error in errors:
        assert isinstance(error, elanus.ConnectionLostError)
        assert (error.instance, error.sent) == (address, True)


@pytest.fixture
def server_of(kitex_server: ServerFactory, elanus_process: ProcessFactory) -> Callable[[str, str], KitexServer]:
    """A server process of either language, for a framing."""
    return lambda peer, framing: kitex_server(mux=framing == "mux") if peer == "go" else elanus_process()


@pytest.mark.parametrize(("peer", "framing"), PEERS)
async def test_elanus_load_and_one_server(
    server_of: Callable[[str, str], KitexServer], peer: str, framing: str
) -> None:
    async with (
        server_of(peer, framing) as server,
        elanus_client(server.address, framing) as client,
        Load(client, WORKERS) as load,
    ):
        await load.until(lambda: load.ok > 100)
        last = await server.stop()
        refused = len(load.errors) + 2 * WORKERS
        await load.until(lambda: len(load.errors) > refused)
        await load.stop()
    lost = [error for error in load.errors if not isinstance(error, elanus.NoInstanceError)]
    check_lost(lost, server.address, allowed=may_lose(peer, framing))
    assert (server.returncode, load.wrong) == (0, 0)
    assert load.ok <= last["handled"] <= load.ok + len(lost)
    # From then on the client says which server is gone, and that it was sent nothing.
    last_error = load.errors[-1]
    assert isinstance(last_error, elanus.NoInstanceError)
    (failure,) = last_error.failures
    assert isinstance(failure, elanus.ConnectFailedError)
    assert (failure.instance, failure.sent, last_error.sent) == (server.address, False, False)
    assert server.address in str(last_error)


@pytest.mark.parametrize(("peer", "framing"), PEERS)
async def test_elanus_load_and_one_of_two_servers(
    server_of: Callable[[str, str], KitexServer], peer: str, framing: str
) -> None:
    async with (
        server_of(peer, framing) as leaving,
        server_of(peer, framing) as staying,
        elanus_client([leaving.address, staying.address], framing) as client,
        Load(client, WORKERS) as load,
    ):
        await load.until(lambda: load.by_instance.get(leaving.address, 0) > 50)
        last = await leaving.stop()
        answered = load.ok
        await load.until(lambda: load.ok > answered + 100)
        await load.stop()
        stayed = await staying.stats()
    # Whoever finds the server gone has sent nothing yet, and goes to the other one.
    check_lost(load.errors, leaving.address, allowed=may_lose(peer, framing))
    assert load.wrong == 0
    assert load.by_instance[staying.address] == stayed["handled"]
    assert load.by_instance[leaving.address] <= last["handled"] <= load.by_instance[leaving.address] + len(load.errors)
