"""The part of the transport suite that calls: replies, errors, oneway requests, and calls that nobody waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.transport import LinkOptions
from elanus.errors import (
    ApplicationError,
    ConnectFailedError,
    ConnectionLostError,
    ElanusError,
    LocalProtocolError,
    ProtocolError,
    RpcCancelledError,
)
from elanus.limits import Limits
from elanus.testing.transport_case import TransportCase, cancel, until, wait_for
from elanus.testing.transport_peers import CopyCodec, Peers

if TYPE_CHECKING:
    from elanus.contracts.transport import Connection

__all__ = ["TransportCalls"]


class TransportCalls(TransportCase):
    """Calls, one at a time and many at once."""

    # Unary calls

    def test_a_reply_comes_back(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            assert connection.free >= 1
            assert connection.busy == 0
            assert connection.writable
            assert await peers.ask(connection, "echo", "one") == "one"
            assert await peers.ask(connection, "echo", "two") == "two"
            assert connection.busy == 0

        self.with_peers(scenario)

    def test_messages_of_every_size(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            for size in (0, 1, 7, 100, 65_535, 65_536, 1_000_000):
                assert await peers.ask(connection, "echo", "x" * size) == "x" * size
            assert await peers.ask(connection, "large") == "x" * 1_000_000

        self.with_peers(scenario)

    def test_a_call_knows_how_it_was_sent(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            call = peers.call("echo")
            assert not call.written
            codec = CopyCodec(self.wire)
            await connection.request(call, codec.encode("hello"))
            assert call.written
            assert call.transport
            assert call.peer == connection.peer
            assert call.sent_bytes >= len(codec.encode("hello"))
            assert call.received_bytes >= len(codec.encode("hello"))
            served = peers.dispatcher.calls[0]
            assert served.method.name == "echo"
            assert served.seq_id == call.seq_id
            assert served.transport == call.transport
            assert served.received_bytes == call.sent_bytes
            assert served.sent_bytes == call.received_bytes
            assert served.peer

        self.with_peers(scenario)

    def test_the_peer_of_a_connection_is_its_address(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            assert connection.peer == peers.address

        self.with_peers(scenario)

    def test_many_calls_at_once_each_get_their_own_reply(self) -> None:
        async def scenario(peers: Peers) -> None:
            pool: list[Connection] = []

            async def one(number: int) -> None:
                connection = next((each for each in pool if each.free > 0), None)
                if connection is None:
                    connection = await peers.connect()
                    pool.append(connection)
                free = connection
                for turn in range(5):
                    await until(lambda: free.free >= 1)
                    text = f"{number}/{turn}"
                    assert await peers.ask(connection, "echo", text) == text

            await asyncio.gather(*(one(number) for number in range(100)))

        self.with_peers(scenario)

    def test_a_request_too_large_is_not_sent(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            call = peers.call("echo")
            with pytest.raises(LocalProtocolError) as caught:
                connection.request(call, CopyCodec(self.wire).encode("x" * 20_000))
            assert not caught.value.sent
            assert not call.written
            assert await peers.ask(connection, "echo", "small") == "small"

        self.with_peers(scenario, client=LinkOptions(limits=Limits(frame_bytes=10_000)))

    def test_a_frame_over_the_servers_limit_ends_the_connection(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            with pytest.raises(ElanusError):
                await peers.ask(connection, "echo", "x" * 20_000)
            assert not peers.dispatcher.calls
            other = await peers.connect()
            assert await peers.ask(other, "echo", "small") == "small"

        self.with_peers(scenario, server=LinkOptions(limits=Limits(frame_bytes=10_000)))

    def test_a_reply_over_the_clients_limit_fails_its_call(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("large")
            with pytest.raises(ProtocolError):
                await peers.ask(connection, "large")

        self.with_peers(scenario, client=LinkOptions(limits=Limits(frame_bytes=10_000)))

    # Errors

    def test_an_error_reply_carries_code_and_text(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            with pytest.raises(ApplicationError, match="no such luck") as caught:
                await peers.ask(connection, "fail")
            assert caught.value.sent
            self.requires("error codes")
            assert caught.value.code == 77

        self.with_peers(scenario)

    def test_an_error_that_is_no_reply_is_answered_as_an_internal_one(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            with pytest.raises(ApplicationError, match="broken inside") as caught:
                await peers.ask(connection, "broken")
            self.requires("error codes")
            assert caught.value.code == ApplicationError.INTERNAL_ERROR

        self.with_peers(scenario)

    def test_calls_go_on_after_an_error_reply(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            with pytest.raises(ApplicationError):
                await peers.ask(connection, "fail")
            await asyncio.sleep(0.01)
            if connection.free == 0:
                connection = await peers.connect()
            assert await peers.ask(connection, "echo", "after") == "after"

        self.with_peers(scenario)

    def test_an_unknown_method_is_an_error_reply(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            with pytest.raises(ApplicationError, match="unknown method nothing"):
                await peers.ask(connection, "nothing")
            assert not peers.dispatcher.calls

        self.with_peers(scenario)

    def test_nobody_listens(self) -> None:
        async def scenario(peers: Peers) -> None:
            async with self.peers() as gone:
                address = gone.address
            with pytest.raises(ConnectFailedError) as caught:
                await peers.transport.connect(address, "", LinkOptions())
            assert address in str(caught.value)
            assert not caught.value.sent

        self.with_peers(scenario)

    def test_a_server_that_goes_away_fails_its_calls(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = asyncio.ensure_future(peers.ask(connection, "wait"))
            await until(lambda: bool(peers.dispatcher.calls))
            peers.links[0].close()
            with pytest.raises(ConnectionLostError) as caught:
                await reply
            assert caught.value.sent
            assert peers.address in str(caught.value)
            assert isinstance(await connection.closed, ElanusError)
            assert connection.free == 0
            assert connection.busy == 0
            assert peers.dispatcher.cancelled == 1

        self.with_peers(scenario)

    def test_a_request_on_a_closed_connection_was_not_sent(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            await connection.aclose(1.0)
            with pytest.raises(ConnectionLostError) as caught:
                await peers.ask(connection, "echo")
            assert not caught.value.sent

        self.with_peers(scenario)

    def test_a_client_that_goes_away_ends_its_handlers(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = connection.request(peers.call("wait"), CopyCodec(self.wire).encode("x"))
            await until(lambda: bool(peers.dispatcher.calls))
            await connection.aclose(0.0)
            assert isinstance(reply.exception(), ConnectionLostError)
            await peers.links[0].closed
            await until(lambda: peers.dispatcher.cancelled == 1)
            assert peers.links[0].busy == 0

        self.with_peers(scenario)

    # Oneway

    def test_a_oneway_request_arrives(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("oneway")
            connection = await peers.connect("fire")
            reply = await connection.request(peers.call("fire"), CopyCodec(self.wire).encode("a"))
            assert len(reply) == 0
            assert connection.busy == 0
            await until(lambda: peers.dispatcher.fired == ["a"])
            if connection.free == 0:
                connection = await peers.connect()
            assert await peers.ask(connection, "echo", "after") == "after"

        self.with_peers(scenario)

    def test_no_oneway_request_is_lost_when_the_client_closes(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("oneway")
            connection = await peers.connect("fire")
            sent = [str(number) for number in range(50)]
            replies = [connection.request(peers.call("fire"), CopyCodec(self.wire).encode(text)) for text in sent]
            await connection.aclose(5.0)
            assert all(reply.done() and reply.exception() is None for reply in replies)
            await until(lambda: len(peers.dispatcher.fired) == len(sent))
            assert sorted(peers.dispatcher.fired, key=int) == sent

        self.with_peers(scenario)

    # Abandoning

    def test_an_abandoned_reply_reaches_no_other_call(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            await peers.ask(connection, "echo")  # let it learn what there is to learn
            codec = CopyCodec(self.wire)
            task = asyncio.ensure_future(wait_for(connection.request(peers.call("wait"), codec.encode("late"))))
            await until(lambda: len(peers.dispatcher.calls) == 2)
            reply = await cancel(task)
            connection.abandon(reply, RpcCancelledError("the caller waits no longer"))
            connection.abandon(reply, RpcCancelledError("twice is no harm"))
            assert connection.busy == 0
            if connection.free == 0:
                connection = await peers.connect()
            later = [asyncio.ensure_future(peers.ask(connection, "echo", "0"))]
            peers.dispatcher.release.set()
            assert await later[0] == "0"
            for number in range(1, 10):
                assert await peers.ask(connection, "echo", str(number)) == str(number)

        self.with_peers(scenario)

    def test_abandoning_after_the_reply_does_nothing(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            reply = connection.request(peers.call("echo"), CopyCodec(self.wire).encode("x"))
            await reply
            free = connection.free
            connection.abandon(reply, RpcCancelledError("too late"))
            assert connection.free == free >= 1
            assert await peers.ask(connection, "echo", "y") == "y"

        self.with_peers(scenario)
