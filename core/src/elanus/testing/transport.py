"""The suite of the transport contract: a plugin's test subclasses it and says how to build its transport."""

from __future__ import annotations

import asyncio
import random
import tempfile
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.transport import LinkOptions, Sniff
from elanus.deadline import after
from elanus.errors import BizStatusError, ConnectionLostError
from elanus.limits import Limits
from elanus.metadata import Metadata
from elanus.testing.transport_calls import TransportCalls
from elanus.testing.transport_case import until
from elanus.testing.transport_peers import CopyCodec, Peers, metadata_of

if TYPE_CHECKING:
    from elanus.contracts.codec import Payload

__all__ = ["TransportSuite"]

#: Beginnings of protocols that no transport of elanus may claim.
FOREIGN = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a/b HTTP/1.1\r\nHost: x\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(20),
    b"\x00" * 40,
    b"\xff" * 40,
)


class TransportSuite(TransportCalls):
    """What every transport does, through real sockets on the loopback interface.

    Subclass as ``TestXxx``, give :meth:`build`, and :attr:`wire` if your payloads are not Thrift. Behaviours that may
    go into :attr:`unsupported`: ``"caller"``, ``"metadata"``, ``"headers"``, ``"log id"``, ``"backward"``,
    ``"deadline"``, ``"biz status"``, ``"retry"``, ``"error codes"``, ``"oneway"``, ``"unix"``, ``"foreign"`` (your
    transport claims one of the other protocols), ``"drain"`` (no way to tell a client to go).
    """

    # What travels beside the payload

    def test_the_server_knows_who_calls(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("caller")
            await peers.ask(await peers.connect(), "echo")
            served = peers.dispatcher.calls[0]
            assert (served.caller, served.caller_method, served.callee) == ("suite", "test", "suite.server")

        self.with_peers(scenario)

    def test_metadata_arrives(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("metadata")
            connection = await peers.connect()
            metadata = Metadata({"ONE": "hop", "WORD": "grüße"}, {"ALL": "hops", "EMPTY": ""})
            await peers.ask(connection, "echo", metadata=metadata)
            await peers.ask(connection, "echo")
            expected = ({"ONE": "hop", "WORD": "grüße"}, {"ALL": "hops"})
            assert [metadata_of(call) for call in peers.dispatcher.calls] == [expected, ({}, {})]

        self.with_peers(scenario)

    def test_headers_arrive(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("headers")
            await peers.ask(await peers.connect(), "echo", headers={"x-key": "value"})
            assert peers.dispatcher.calls[0].headers["x-key"] == "value"

        self.with_peers(scenario)

    def test_the_log_id_arrives(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("log id")
            await peers.ask(await peers.connect(), "echo", log_id="log-1")
            assert peers.dispatcher.calls[0].log_id == "log-1"

        self.with_peers(scenario)

    def test_a_retry_says_that_it_is_one(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("retry")
            connection = await peers.connect()
            await peers.ask(connection, "echo", attempt=2)
            await peers.ask(connection, "echo", attempt=0)
            assert [call.retried for call in peers.dispatcher.calls] == [True, False]

        self.with_peers(scenario)

    def test_the_deadline_arrives(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("deadline")
            connection = await peers.connect()
            for seconds in (0.5, 30.0):
                deadline = after(seconds)
                await peers.ask(connection, "echo", deadline=deadline)
                served = peers.dispatcher.calls[-1].deadline
                assert served is not None
                assert deadline - 0.1 <= served <= monotonic() + seconds
            await peers.ask(connection, "echo", deadline=after(-1.0))
            expired = peers.dispatcher.calls[-1].deadline
            assert expired is not None, "a deadline that has passed is not no deadline"
            await peers.ask(connection, "echo")
            assert peers.dispatcher.calls[-1].deadline is None

        self.with_peers(scenario)

    def test_values_come_back_with_the_reply(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("backward")
            connection = await peers.connect()
            call = peers.call("backward")
            await connection.request(call, CopyCodec(self.wire).encode("x"))
            assert call.reply_metadata["back"] == "value"

        self.with_peers(scenario)

    def test_a_business_status_comes_back(self) -> None:
        async def scenario(peers: Peers) -> None:
            self.requires("biz status")
            connection = await peers.connect()
            call = peers.call("status")
            await connection.request(call, CopyCodec(self.wire).encode("x"))
            status = call.biz_status
            assert isinstance(status, BizStatusError)
            assert (status.code, status.message, status.extra) == (404, "not found", {"key": '<v> & "w"'})
            assert await peers.ask(connection, "echo", "after") == "after"

        self.with_peers(scenario)

    # Ending

    def test_connections_that_are_said_to_be_shared_are(self) -> None:
        async def scenario(peers: Peers) -> None:
            lane = peers.transport.lane(peers.dispatcher.service.methods["echo"])
            for _ in range(2):  # a transport may learn from the first one
                shared = peers.transport.shares(peers.address, lane)
                connection = await peers.connect()
                assert connection.free > 1 or not shared
                await peers.ask(connection, "echo")

        self.with_peers(scenario)

    def test_draining_lets_calls_end(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = asyncio.ensure_future(peers.ask(connection, "wait", "kept"))
            await until(lambda: bool(peers.dispatcher.calls))
            link = peers.links[0]
            assert link.busy == 1
            link.drain()
            link.drain()
            await asyncio.sleep(0.02)
            peers.dispatcher.release.set()
            assert await reply == "kept"
            self.requires("drain")
            await until(lambda: connection.free == 0)
            await asyncio.wait_for(link.closed, 5.0)
            await asyncio.wait_for(connection.closed, 5.0)

        self.with_peers(scenario)

    def test_closing_a_link_twice(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            await peers.ask(connection, "echo")
            peers.links[0].close()
            peers.links[0].close()
            await peers.links[0].closed
            await connection.closed

        self.with_peers(scenario)

    def test_closing_waits_for_calls(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = asyncio.ensure_future(peers.ask(connection, "wait", "kept"))
            await until(lambda: bool(peers.dispatcher.calls))
            closing = asyncio.ensure_future(connection.aclose(5.0))
            await asyncio.sleep(0.01)
            assert connection.free == 0
            assert not closing.done()
            peers.dispatcher.release.set()
            assert await reply == "kept"
            await closing
            assert connection.closed.done()
            await connection.aclose(0.0)

        self.with_peers(scenario)

    def test_closing_does_not_wait_for_ever(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = connection.request(peers.call("wait"), CopyCodec(self.wire).encode("x"))
            await until(lambda: bool(peers.dispatcher.calls))
            await connection.aclose(0.05)
            assert isinstance(reply.exception(), ConnectionLostError)
            assert connection.closed.done()

        self.with_peers(scenario)

    def test_a_server_closes_idle_connections(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            await peers.ask(connection, "echo")
            await asyncio.wait_for(connection.closed, 5.0)
            assert connection.free == 0

        self.with_peers(scenario, server=LinkOptions(limits=Limits(idle_timeout=0.05)))

    def test_an_idle_connection_with_a_call_in_flight_stays(self) -> None:
        async def scenario(peers: Peers) -> None:
            connection = await peers.connect("wait")
            reply = asyncio.ensure_future(peers.ask(connection, "wait", "kept"))
            await asyncio.sleep(0.2)
            peers.dispatcher.release.set()
            assert await reply == "kept"

        self.with_peers(scenario, server=LinkOptions(limits=Limits(idle_timeout=0.05)))

    # Back-pressure

    def test_a_peer_that_does_not_read_stops_its_writer(self) -> None:
        small = Limits(write_buffer_bytes=10_000)

        async def scenario(peers: Peers) -> None:
            connection = await peers.connect()
            await peers.ask(connection, "echo")
            payload = CopyCodec(self.wire).encode("x" * 1_000_000)
            replies: list[asyncio.Future[Payload]] = []
            while connection.writable and connection.free > 0 and len(replies) < 100:
                replies.append(connection.request(peers.call("echo"), payload))
                await asyncio.sleep(0)
            await asyncio.wait_for(connection.drained(), 10.0)
            assert connection.writable
            for reply in replies:
                assert bytes(await reply) == payload

        self.with_peers(scenario, client=LinkOptions(limits=small), server=LinkOptions(limits=small))

    # Sniffing

    def test_the_first_bytes_are_recognised_however_they_are_cut(self) -> None:
        async def scenario(peers: Peers) -> None:
            await peers.ask(await peers.connect(), "echo")
            head = peers.heads[0]
            answers = [peers.transport.sniff(head[:size]) for size in range(len(head) + 1)]
            known = next(size for size, answer in enumerate(answers) if answer is not Sniff.MORE)
            assert known <= peers.transport.sniff_bytes
            assert set(answers[:known]) <= {Sniff.MORE}
            assert set(answers[known:]) == {Sniff.YES}

        self.with_peers(scenario)

    @pytest.mark.parametrize("head", FOREIGN)
    def test_other_protocols_are_left_alone(self, head: bytes) -> None:
        self.requires("foreign")
        transport = self.build()
        answers = [transport.sniff(head[:size]) for size in range(len(head) + 1)]
        assert Sniff.YES not in answers
        assert set(answers[transport.sniff_bytes :]) == {Sniff.NO}

    def test_sniffing_never_takes_an_answer_back(self) -> None:
        transport = self.build()
        chance = random.Random(7)
        for _ in range(2_000):
            head = bytes(chance.choice((0, 0x10, 0x80, 0x90, 1, 2, 0xFF, chance.randrange(256))) for _ in range(32))
            answers = [transport.sniff(head[:size]) for size in range(len(head) + 1)]
            decided = [answer for answer in answers if answer is not Sniff.MORE]
            assert len(set(decided)) == 1
            assert answers[: len(answers) - len(decided)] == [Sniff.MORE] * (len(answers) - len(decided))
            assert len(answers) - len(decided) <= transport.sniff_bytes

    # Addresses

    def test_a_unix_socket(self) -> None:
        self.requires("unix")

        async def scenario(path: str) -> None:
            async with self.peers(unix=path) as peers:
                connection = await peers.connect()
                assert await peers.ask(connection, "echo", "local") == "local"
                assert connection.peer == f"unix:{path}"

        with tempfile.TemporaryDirectory() as folder:
            self.run(scenario(f"{folder}/socket"))
