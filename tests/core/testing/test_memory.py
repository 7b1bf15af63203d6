"""The in-memory transport shows a test what a wire would, and shares nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.call import Call
from elanus.contracts.transport import LinkOptions, Sniff
from elanus.errors import ApplicationError, ConnectFailedError, ConnectionLostError, LocalProtocolError
from elanus.options import CallOptions
from elanus.testing import InTurn, JsonCodec, MemoryTransport, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

idl = JsonCodec().loads("service Echo {\n  echo(value)\n  oneway tell(value)\n  bidi-stream chat(line)\n}")


class Echo:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.cancelled: list[Any] = []
        self.gate = asyncio.Event()

    async def echo(self, value: Any) -> Any:
        if value == "wait":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.append(value)
                raise
        return value

    async def tell(self, value: Any) -> None:
        self.told.append(value)

    async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for line in lines:
            yield line


@asynccontextmanager
async def running(handler: object, **options: Any) -> AsyncIterator[elanus.Server]:
    server = elanus.Server(drain_delay=0.0, **options)
    server.add_service(idl.Echo, handler)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def call(method: str = "echo") -> Call:
    return Call(idl.Echo, idl.Echo.methods[method], (), CallOptions())


def payload(value: Any, method: str = "echo") -> bytes:
    return JsonCodec().encode_arguments(idl.Echo.methods[method], [value])


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_values_are_copies_and_not_the_same_objects() -> None:
    got: list[Any] = []

    class Keeps(Echo):
        async def echo(self, value: Any) -> Any:
            got.append(value)
            return value

    sent = {"list": [1]}
    async with connected(idl.Echo, Keeps()) as client:
        reply = await client.echo(sent)
    assert got == [sent] == [reply]
    assert got[0] is not sent
    assert reply is not got[0]


async def test_nothing_arrives_before_the_next_turn_of_the_loop() -> None:
    handler = Echo()
    async with running(handler) as server:
        connection = await MemoryTransport(server).connect("m:1", "", LinkOptions())
        connection.request(call("tell"), payload(1, "tell"))
        assert server.calls == 0
        reply = connection.request(call(), payload(2))
        assert not reply.done()
        assert await reply == b'{"result": 2}'
        assert handler.told == [1]
        await connection.aclose(0)


async def test_answers_may_come_in_any_order_and_reach_their_own_call() -> None:
    handler = Echo()
    async with connected(idl.Echo, handler) as client:
        waits = asyncio.create_task(client.echo("wait"))
        await turns()
        assert await client.echo("first") == "first"
        handler.gate.set()
        assert await waits == "wait"
        assert client.connections() == {"memory:1": 1}


async def test_the_connection_counts_its_calls() -> None:
    limits = elanus.Limits(calls_per_connection=2)
    async with running(Echo(), limits=limits) as server:
        connection = await MemoryTransport(server).connect("m:1", "", LinkOptions())
        assert (connection.free, connection.busy) == (2, 0)
        replies = [connection.request(call(), payload(number)) for number in range(2)]
        assert (connection.free, connection.busy) == (0, 2)
        await asyncio.gather(*replies)
        assert (connection.free, connection.busy) == (2, 0)
        stream = await connection.open(call("chat"))
        assert (connection.free, connection.busy) == (1, 1)
        stream.cancel(elanus.RpcCancelledError("enough"))
        assert (connection.free, connection.busy) == (2, 0)
        await connection.aclose(0)
        assert connection.free == 0


async def test_an_abandoned_call_is_cancelled_on_the_server() -> None:
    handler = Echo()
    async with running(handler) as server:
        connection = await MemoryTransport(server).connect("m:1", "", LinkOptions())
        reply = connection.request(call(), payload("wait"))
        await turns()
        assert server.calls == 1
        connection.abandon(reply, elanus.RpcCancelledError("nobody waits"))
        connection.abandon(reply, elanus.RpcCancelledError("twice is no error"))
        await turns()
        assert handler.cancelled == ["wait"]
        assert (server.calls, connection.busy) == (0, 0)
        done = connection.request(call(), payload(1))
        await done
        connection.abandon(done, elanus.RpcCancelledError("it has arrived"))
        await connection.aclose(0)


async def test_closing_fails_calls_in_flight_and_says_that_they_were_sent() -> None:
    handler = Echo()
    async with running(handler) as server:
        transport = MemoryTransport(server)
        connection = await transport.connect("m:1", "", LinkOptions())
        reply = connection.request(call(), payload("wait"))
        await turns()
        await connection.aclose(0)
        with pytest.raises(ConnectionLostError, match="the client closed the connection") as raised:
            await reply
        assert raised.value.sent
        late = connection.request(call(), payload(1))
        with pytest.raises(ConnectionLostError) as refused:
            await late
        assert not refused.value.sent
        with pytest.raises(ConnectionLostError):
            await connection.open(call("chat"))
        with pytest.raises(ConnectionLostError):
            await connection.drained()
        assert isinstance(connection.closed.result(), ConnectionLostError)
        await turns()
        assert handler.cancelled == ["wait"]
        assert server.connections == 0


async def test_closing_waits_for_calls_for_as_long_as_it_is_told() -> None:
    handler = Echo()
    async with running(handler) as server:
        connection = await MemoryTransport(server).connect("m:1", "", LinkOptions())
        reply = connection.request(call(), payload("wait"))
        await turns()
        closing = asyncio.create_task(connection.aclose(10.0))
        await turns()
        assert connection.free == 0
        assert not closing.done()
        handler.gate.set()
        assert await reply == b'{"result": "wait"}'
        await closing


async def test_cutting_is_a_killed_server() -> None:
    handler = Echo()
    async with running(handler) as server:
        transport = MemoryTransport(server)
        one, two = [await transport.connect(address, "", LinkOptions()) for address in ("m:1", "m:2")]
        lost, kept = one.request(call(), payload("wait")), two.request(call(), payload("wait"))
        await turns()
        transport.cut("m:1")
        with pytest.raises(ConnectionLostError, match="the server closed the connection"):
            await lost
        handler.gate.set()
        assert await kept == b'{"result": "wait"}'
        transport.cut()
        await turns()
        assert two.closed.done()


async def test_draining_lets_calls_end_and_takes_no_new_ones() -> None:
    handler = Echo()
    async with running(handler) as server:
        transport = MemoryTransport(server)
        busy, idle = [await transport.connect("m:1", "", LinkOptions()) for _ in range(2)]
        reply = busy.request(call(), payload("wait"))
        await turns()
        stopping = asyncio.create_task(server.stop())
        await turns()
        assert (busy.free, busy.closed.done(), idle.closed.done()) == (0, False, True)
        handler.gate.set()
        assert await reply == b'{"result": "wait"}'
        await stopping
        await turns()
        assert busy.closed.done()
        with pytest.raises(ConnectFailedError, match="connection refused: the server is stopped"):
            await transport.connect("m:1", "", LinkOptions())


async def test_only_a_known_address_can_be_connected_to() -> None:
    async with running(Echo()) as server:
        transport = MemoryTransport({"m:1": server})
        await (await transport.connect("m:1", "", LinkOptions())).aclose(0)
        with pytest.raises(ConnectFailedError, match="no server has this address") as raised:
            await transport.connect("m:2", "", LinkOptions())
        assert raised.value.instance == "m:2"
        assert transport.opened == {"m:1": 1}
        assert transport.sniff(b"anything") is Sniff.NO


async def test_errors_are_codes_and_texts() -> None:
    class Fails(Echo):
        async def echo(self, value: Any) -> Any:
            raise ApplicationError(42, "mine")

    async with running(Fails()) as server:
        connection = await MemoryTransport(server).connect("m:1", "", LinkOptions())
        with pytest.raises(ApplicationError) as raised:
            await connection.request(call(), payload(1))
        assert (raised.value.code, raised.value.message) == (42, "mine [biz error]")
        assert raised.value.__cause__ is None, "a traceback does not travel"
        await connection.aclose(0)


async def test_what_is_too_large_is_not_sent() -> None:
    async with running(Echo()) as server:
        options = LinkOptions(limits=elanus.Limits(frame_bytes=100))
        connection = await MemoryTransport(server).connect("m:1", "", options)
        with pytest.raises(LocalProtocolError, match="over the limit of 100"):
            connection.request(call(), payload("x" * 100))
        stream = await connection.open(call("chat"))
        with pytest.raises(LocalProtocolError, match="over the limit of 100"):
            await stream.send(b"x" * 101)
        await stream.send(b'"fits"')
        assert await stream.receive() == b'"fits"'
        await connection.aclose(0)


async def test_a_client_in_tests_needs_one_line() -> None:
    async with connected(idl.Echo, Echo(), server=elanus.Server(name="mine"), timeout=5.0) as client:
        assert await client.echo(1) == 1
        assert client.options.timeout == 5.0


async def test_instances_take_turns() -> None:
    async with running(Echo()) as server:
        transport = MemoryTransport(server)
        targets = ["m:1", "m:2", "m:3"]
        async with elanus.Client(idl.Echo, targets, transport=transport, balancer=InTurn()) as client:
            assert [(await client.invoke("echo", 1)).peer for _ in range(4)] == ["m:1", "m:2", "m:3", "m:1"]
