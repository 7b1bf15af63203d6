"""thriftpy2's and Apache Thrift's own clients and servers at the other end, on buffered and framed."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import elanus

from .elanus_peers import ElanusServer, elanus_client
from .python_peers import PEERS, Peer
from .service import idl

pytestmark = pytest.mark.interop

ElanusFactory = Callable[..., ElanusServer]

FRAMINGS = ("buffered", "framed")
ALL_TYPES: dict[str, Any] = {
    "flag": True,
    "tiny": -128,
    "small": -(2**15),
    "medium": -(2**31),
    "large": -(2**63),
    "ratio": 1e300,
    "text": "日本",
    "blob": b"\xff\0",
    "color": 4,
    "user": 2**63 - 1,
    "must": "",
    "maybe_flag": False,
    "maybe_text": "",
    "maybe_blob": b"x",
    "maybe_user": 3,
}
NESTED: dict[str, Any] = {
    "numbers": {1, -1},
    "matrix": [[1, 2], [], [3]],
    "deep": {"a": {1: {"x", "y"}}},
    "blobs": [b"\0", b""],
    "flags": [True, False],
    "ratios": {"half": 0.5},
    "colors": [1, 4],
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


@pytest.fixture(params=FRAMINGS)
def framing(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def values_of(struct: Any, names: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in names}


def nested_of(types: Any) -> Any:
    leaf = types.Leaf(id=7, name="leaf", tags=["a", "b"])
    return types.Nested(forest=[{"oak": [leaf]}, {}], leaves={-5: leaf}, **NESTED)


def check_nested(value: Any) -> None:
    for leaf in (value.forest[0]["oak"][0], value.leaves[-5]):
        assert (leaf.id, leaf.name, leaf.tags) == (7, "leaf", ["a", "b"])
    assert value.forest[1] == {}
    found = values_of(value, NESTED)
    # thriftpy2 gives lists for sets.
    sets = {"numbers": set(found["numbers"]), "deep": {"a": {1: set(found["deep"]["a"][1])}}}
    assert found | sets == NESTED


# Their client, our server.


def calls_that_succeed(call: Callable[..., Any], types: Any) -> None:
    for number in range(20):
        reply = call("echo", types.Request(message=f"héllo {number}", payload=b"\0\xff"))
        assert (reply.message, reply.payload) == (f"héllo {number}", b"\0\xff")
    assert values_of(call("all_types", types.AllTypes(**ALL_TYPES)), ALL_TYPES) == ALL_TYPES
    check_nested(call("nested", nested_of(types)))
    triple = call("multi_args", -1, "b", [1, 2**62])
    assert (triple.a, triple.b, triple.c) == (-1, "b", [1, 2**62])
    assert call("ping") is None
    assert call("refuse", "none", "fine").message == "fine"
    large = "x" * 300_000
    assert call("echo", types.Request(message=large, payload=b"")).message == large


def calls_that_fail(call: Callable[..., Any], peer: Peer) -> None:
    types = peer.types
    for method in ("refuse", "check"):
        with pytest.raises(types.NotFound) as missing:
            call(method, "not_found", "t")
        assert missing.value.text == "t"
        with pytest.raises(types.Conflict) as conflict:
            call(method, "conflict", "t")
        assert values_of(conflict.value, ("code", "text", "details")) == {
            "code": 409,
            "text": "t",
            "details": ["a", "b"],
        }
    with pytest.raises(peer.application_error) as failed:
        call("fail", "t")
    assert (failed.value.type, failed.value.message) == (6, "biz error: t")  # type: ignore[attr-defined]
    assert call("ping") is None


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run blocking code in a thread that ends with the test."""
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)


@pytest.fixture
def using(peer: Peer, framing: str) -> Callable[[str, Callable[..., Any]], None]:
    """``using(address, block)``: run *block* with ``call`` of a client of the peer."""

    def run(address: str, block: Callable[..., Any]) -> None:
        with peer.connect(framing, address) as call:
            block(call)

    return run


async def test_their_client_and_elanus_server(
    elanus_server: ElanusFactory, peer: Peer, using: Callable[..., None]
) -> None:
    async with elanus_server() as server:
        await in_thread(using, server.address, lambda call: calls_that_succeed(call, peer.types))
        await in_thread(using, server.address, lambda call: calls_that_fail(call, peer))
        assert server.handler.seen


async def test_their_oneway_calls_arrive(elanus_server: ElanusFactory, using: Callable[..., None]) -> None:
    def fire(call: Callable[..., Any]) -> None:
        for number in range(5):
            assert call("fire", f"t{number}", 5) is None
        # Buffered and framed are answered in order, and so is this after the messages before it.
        assert call("fired", "t") == [f"t{number}" for number in range(5)]

    async with elanus_server() as server:
        await in_thread(using, server.address, fire)


async def test_their_client_and_an_absent_result(
    elanus_server: ElanusFactory, peer: Peer, using: Callable[..., None]
) -> None:
    def ask(call: Callable[..., Any]) -> None:
        if peer is PEERS["thriftpy2"]:
            with pytest.raises(peer.application_error) as missing:
                call("nothing")
            assert missing.value.type == 5  # type: ignore[attr-defined]
        else:
            assert call("nothing") is None
        assert call("ping") is None

    async with elanus_server() as server:
        await in_thread(using, server.address, ask)


async def test_apache_client_and_an_unknown_method(elanus_server: ElanusFactory, framing: str) -> None:
    def ask(address: str) -> None:
        with PEERS["apache"].connect(framing, address) as call:
            with pytest.raises(PEERS["apache"].application_error) as unknown:
                call("no_such_method")
            assert unknown.value.type == 20  # type: ignore[attr-defined]
            assert unknown.value.message == "unknown service , method no_such_method"  # type: ignore[attr-defined]

    async with elanus_server() as server:
        await in_thread(ask, server.address)


async def test_many_of_their_clients_at_once(
    elanus_server: ElanusFactory, peer: Peer, using: Callable[..., None]
) -> None:
    async with elanus_server() as server:
        block: Callable[..., None] = lambda call: calls_that_succeed(call, peer.types)  # noqa: E731
        await asyncio.gather(*(in_thread(using, server.address, block) for _ in range(8)))


# Our client, their server.


@pytest.fixture
def their_server(peer: Peer, framing: str) -> Iterator[str]:
    with peer.serve(framing) as address:
        yield address


async def test_elanus_client_and_their_server(their_server: str, framing: str) -> None:
    async with elanus_client(their_server, framing) as client:
        replies = await asyncio.gather(*(client.echo(idl.Request(message=str(n), payload=b"p")) for n in range(50)))
        assert [reply.message for reply in replies] == [str(n) for n in range(50)]
        assert values_of(await client.all_types(idl.AllTypes(**ALL_TYPES)), ALL_TYPES) == ALL_TYPES
        check_nested(await client.nested(nested_of(idl)))
        assert await client.multi_args(-1, "b", [1, 2**62]) == idl.Triple(a=-1, b="b", c=[1, 2**62])
        assert await client.ping() is None
        assert await client.nothing() is None
        large = "x" * 300_000
        assert (await client.echo(idl.Request(message=large, payload=b""))).message == large


async def test_elanus_client_and_their_exceptions(their_server: str, framing: str) -> None:
    async with elanus_client(their_server, framing) as client:
        for method in ("refuse", "check"):
            with pytest.raises(idl.NotFound) as missing:
                await client.call(method, "not_found", "t")
            assert missing.value == idl.NotFound(text="t")
            with pytest.raises(idl.Conflict) as conflict:
                await client.call(method, "conflict", "t")
            assert conflict.value == idl.Conflict(code=409, text="t", details=["a", "b"])
        assert (await client.refuse("none", "fine")).message == "fine"


async def test_elanus_client_and_a_method_that_they_lack(peer: Peer, framing: str) -> None:
    # who() is of the IDL, so thriftpy2 looks for it in the handler, and hangs up when it is not there.
    with peer.serve(framing) as address:
        async with elanus_client(address, framing) as client:
            kind = elanus.ApplicationError if peer is PEERS["apache"] else elanus.ConnectionLostError
            with pytest.raises(kind) as unknown:
                await client.who()
            assert unknown.value.instance == address
            assert await client.ping() is None


async def test_elanus_client_and_their_oneway(their_server: str, framing: str) -> None:
    async with elanus_client(their_server, framing) as client:
        tokens = [f"t{number}" for number in range(5)]
        for token in tokens:
            await client.fire(token, 0)
        # Each may come over a connection of its own, so nothing says when; the test's own limit ends this loop.
        while sorted(await client.fired("t")) != tokens:
            await client.ping()
