"""What both ends note for the timeline of a call, in virtual time, and what a client says of a silent server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from elanus.call import Event
from elanus.errors import ConnectionLostError, RpcCancelledError
from elanus.testing import run_virtual
from elanus_transport_ttheader.protocol.framing import MessageType
from elanus_transport_ttheader.protocol.ttheader import IntKey

PAYLOAD = b"\x0b\0\1\0\0\0\2hi\0"


def at(call: Any, event: str) -> float:
    """The instant of the last *event*."""
    instant: float = dict(call.timeline)[event]
    return instant


def test_a_request_that_waits_for_its_turn_arrived_when_it_was_read(harness: Any) -> None:
    async def slow(call: Any) -> bytes:
        await asyncio.sleep(2.0)
        return bytes(call.argument_payload)

    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(slow)
        began = asyncio.get_running_loop().time()
        budget = {IntKey.RPC_TIMEOUT: "5000"}
        script.wire.write(harness.message("echo", 1, PAYLOAD) + harness.message("echo", 2, PAYLOAD, ints=budget))
        await asyncio.sleep(3.0)
        first, second = handlers.calls
        assert at(first, Event.START) == at(second, Event.START) == began
        assert second.history().total == 3.0
        assert second.deadline == began + 5.0, "the time that it waited is part of its budget"

    run_virtual(scenario())


def test_reading_begins_with_the_first_bytes_of_a_reply(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call = harness.call()
        reply = connection.request(call, PAYLOAD)
        await harness.settle()
        began = asyncio.get_running_loop().time()
        answer = harness.message("echo", call.seq_id, PAYLOAD, kind=MessageType.REPLY)
        for piece in (answer[:9], answer[9:20], answer[20:]):
            await asyncio.sleep(0.5)
            script.wire.write(piece)
        await reply
        assert at(call, Event.ANSWERED) == began + 0.5
        again = harness.call()
        reply = connection.request(again, PAYLOAD)
        await asyncio.sleep(1.0)
        script.wire.write(harness.message("echo", again.seq_id, PAYLOAD, kind=MessageType.REPLY))
        await reply
        assert at(again, Event.ANSWERED) == began + 2.5, "what came before is forgotten"

    run_virtual(scenario())


def test_replies_of_one_read_begin_where_the_one_before_has_ended(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        calls = [harness.call() for _ in range(3)]
        replies = [connection.request(call, PAYLOAD) for call in calls]
        await harness.settle()
        began = asyncio.get_running_loop().time()
        data = b"".join(
            harness.message("echo", call.seq_id, PAYLOAD, kind=MessageType.REPLY, flags=1) for call in calls
        )
        script.wire.write(data[:9])
        await asyncio.sleep(1.0)
        script.wire.write(data[9:])
        await asyncio.gather(*replies)
        assert [at(call, Event.ANSWERED) for call in calls] == [began, began + 1.0, began + 1.0]

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (None, "the peer closed the connection before anything came back on it"),
        (ConnectionResetError(104, "reset"), "the connection broke before anything came back on it: connection reset"),
    ],
)
def test_a_server_that_leaves_without_a_word_may_speak_something_else(harness: Any, failure: Any, text: str) -> None:
    async def scenario() -> None:
        connection, _ = harness.scripted_client()
        reply = connection.request(harness.call(), PAYLOAD)
        connection.connection_lost(failure)
        with pytest.raises(ConnectionLostError) as raised:
            await reply
        assert text in str(raised.value)
        assert "wants TLS (Client(ssl=...)), or speaks another protocol" in str(raised.value)

    run_virtual(scenario())


def test_an_answer_that_comes_when_the_caller_has_gone_is_not_noted(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call = harness.call()
        reply = connection.request(call, PAYLOAD)
        await harness.settle()
        reply.cancel()  # as the end of its task does, which tells the connection a little later
        script.wire.write(harness.message("echo", call.seq_id, PAYLOAD, kind=MessageType.REPLY))
        await harness.settle()
        assert Event.ANSWERED not in dict(call.timeline)

    run_virtual(scenario())


@pytest.mark.parametrize("heard", [False, True])
def test_an_abandoned_call_tells_whether_anything_has_ever_come_back(harness: Any, heard: bool) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        if heard:
            call = harness.call()
            reply = connection.request(call, PAYLOAD)
            script.wire.write(harness.message("echo", call.seq_id, PAYLOAD, kind=MessageType.REPLY, flags=1))
            await reply
        call = harness.call()
        reply = connection.request(call, PAYLOAD)
        connection.abandon(reply, RpcCancelledError("nobody waits"))
        texts = [verdict.text for verdict in call.history().verdicts]
        assert texts == ([] if heard else ["nothing has ever come back on that connection"])

    run_virtual(scenario())
