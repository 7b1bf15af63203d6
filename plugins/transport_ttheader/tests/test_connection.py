"""The client's end against a scripted server, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from elanus.deadline import Deadline
from elanus.errors import (
    ApplicationError,
    ConnectionLostError,
    LocalProtocolError,
    RemoteProtocolError,
    RpcCancelledError,
)
from elanus.limits import Limits
from elanus.testing import run_virtual
from elanus_transport_ttheader.protocol.framing import BUFFERED, FRAMED, TTHEADER, TTHEADER_FRAMED, MessageType
from elanus_transport_ttheader.protocol.replies import CONTROL_FRAME
from elanus_transport_ttheader.protocol.thrift import write_exception
from elanus_transport_ttheader.protocol.ttheader import IntKey

PAYLOAD = b"\x0b\0\1\0\0\0\2hi\0"
REPLY, EXCEPTION = MessageType.REPLY, MessageType.EXCEPTION
CANCELLED = RpcCancelledError("the caller waits no longer")


def virtual(scenario: Any) -> None:
    run_virtual(scenario())


async def ask(harness: Any, connection: Any, script: Any, method: str = "echo", **values: Any) -> tuple[Any, Any, Any]:
    """Send a request; gives the call, the future, and the message as the server sees it."""
    call = harness.call(method, **values)
    future = connection.request(call, PAYLOAD)
    await harness.settle()
    (message,) = script.requests()
    return call, future, message


async def answer(harness: Any, script: Any, seq_id: int, payload: bytes = PAYLOAD, **how: Any) -> None:
    how.setdefault("kind", REPLY)
    script.wire.write(harness.message(how.pop("method", "echo"), seq_id, payload, **how))
    await harness.settle()


def test_what_a_request_carries(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        deadline = Deadline(asyncio.get_running_loop().time() + 1.5)
        call, _, message = await ask(harness, connection, script, deadline=deadline, log_id="l1", caller_method="up")
        assert message.framing is TTHEADER_FRAMED
        assert message.kind == MessageType.CALL
        assert message.flags == 1
        assert message.seq_id == message.frame_id == call.seq_id
        assert message.payload == PAYLOAD
        assert message.headers.values == {
            "isn": "Echo",
            IntKey.TO_SERVICE: "dst.echo",
            IntKey.TO_METHOD: "echo",
            IntKey.MESSAGE_TYPE: "1",
            IntKey.TRANSPORT_TYPE: "framed",
            IntKey.FROM_SERVICE: "cli.svc",
            IntKey.FROM_METHOD: "up",
            IntKey.LOG_ID: "l1",
            IntKey.RPC_TIMEOUT: "1500",
        }
        assert call.sent_bytes == message.size
        assert (call.transport, call.peer, call.written) == ("TTHeaderFramed", "192.0.2.1:4711", True)

    virtual(scenario)


@pytest.mark.parametrize(
    ("name", "options", "framing"),
    [
        ("ttheader", {"framed": False}, TTHEADER),
        ("framed", {}, FRAMED),
        ("buffered", {}, BUFFERED),
    ],
)
def test_the_framing_is_what_was_asked_for(harness: Any, name: str, options: dict[str, Any], framing: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(name, **options)
        call, future, message = await ask(harness, connection, script)
        assert message.framing is framing
        assert call.transport == framing.name
        await answer(harness, script, call.seq_id, framing=framing)
        assert future.result() == PAYLOAD

    virtual(scenario)


def test_replies_of_any_framing_are_taken(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        for framing in (BUFFERED, FRAMED, TTHEADER, TTHEADER_FRAMED):
            call, future, _ = await ask(harness, connection, script)
            await answer(harness, script, call.seq_id, framing=framing)
            assert future.result() == PAYLOAD

    virtual(scenario)


def test_calls_take_turns_until_the_server_shows_that_it_answers_out_of_order(harness: Any) -> None:
    async def scenario() -> None:
        learned: dict[str, bool] = {}
        connection, script = harness.scripted_client(learned=learned)
        call, _, _ = await ask(harness, connection, script)
        assert connection.free == 0
        await answer(harness, script, call.seq_id)
        assert connection.free == 1
        assert learned == {}
        call, _, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, flags=1)
        assert connection.free == harness.limits.calls_per_connection
        assert learned == {"192.0.2.1:4711": True}
        calls = [(await ask(harness, connection, script))[:2] for _ in range(3)]
        assert connection.busy == 3
        for number, (call, _) in reversed(list(enumerate(calls))):
            await answer(harness, script, call.seq_id, b"\x08\0\1" + bytes([0, 0, 0, number]) + b"\0", flags=1)
        assert [future.result()[6] for _, future in calls] == [0, 1, 2]
        assert connection.free == harness.limits.calls_per_connection

    virtual(scenario)


def test_another_server_behind_the_same_address_takes_turns_again(harness: Any) -> None:
    async def scenario() -> None:
        learned: dict[str, bool] = {}
        connection, script = harness.scripted_client(learned=learned, known=True)
        first = await ask(harness, connection, script)
        second = await ask(harness, connection, script)
        await answer(harness, script, first[0].seq_id)
        assert learned == {"192.0.2.1:4711": False}
        assert connection.free == 0, "one call is still in flight"
        await answer(harness, script, second[0].seq_id)
        assert connection.free == 1
        assert first[1].result() == second[1].result() == PAYLOAD

    virtual(scenario)


def test_what_the_user_decided_is_not_learned_otherwise(harness: Any) -> None:
    async def scenario() -> None:
        turns, script = harness.scripted_client(mux=False)
        call, _, message = await ask(harness, turns, script)
        assert message.flags == 0
        await answer(harness, script, call.seq_id, flags=1)
        assert turns.free == 1
        shared, script = harness.scripted_client(mux=True)
        call, _, message = await ask(harness, shared, script)
        assert message.flags == 1
        await answer(harness, script, call.seq_id)
        assert shared.free == harness.limits.calls_per_connection

    virtual(scenario)


def test_an_error_reply(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, write_exception(6, "biz error: no"), kind=EXCEPTION)
        error = future.exception()
        assert isinstance(error, ApplicationError)
        assert (error.code, error.message) == (6, "biz error: no")
        assert call.received_bytes > 0
        assert connection.free == 1, "a Kitex server keeps the connection, and so does this side"

    virtual(scenario)


def test_an_error_reply_is_matched_by_nothing_but_its_turn(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client("framed")
        _, future, _ = await ask(harness, connection, script)
        await answer(harness, script, 0, write_exception(1, "no"), kind=EXCEPTION, method="", framing=FRAMED)
        assert isinstance(future.exception(), ApplicationError)

    virtual(scenario)


def test_an_error_reply_to_another_call_is_no_answer(harness: Any) -> None:
    async def scenario() -> None:
        for name, framing in (("framed", FRAMED), ("buffered", BUFFERED), ("ttheader", TTHEADER_FRAMED)):
            connection, script = harness.scripted_client(name)
            call, future, _ = await ask(harness, connection, script)
            await answer(harness, script, call.seq_id - 1, write_exception(6, "late"), kind=EXCEPTION, framing=framing)
            assert "bad sequence ID" in str(future.exception())
            assert connection.free == 0

    virtual(scenario)


def test_an_error_reply_on_a_shared_connection_needs_its_id(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        one = await ask(harness, connection, script)
        other = await ask(harness, connection, script)
        await answer(harness, script, other[0].seq_id, write_exception(6, "no"), kind=EXCEPTION, method="")
        assert isinstance(other[1].exception(), ApplicationError)
        assert not one[1].done()
        await answer(harness, script, other[0].seq_id + 1000, write_exception(6, "no"), kind=EXCEPTION)
        assert isinstance(one[1].exception(), RemoteProtocolError), "an answer to nobody ends the connection"

    virtual(scenario)


def test_a_broken_error_reply(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, b"\x0b\0\1\0\0\0\x09no", kind=EXCEPTION)
        assert isinstance(future.exception(), RemoteProtocolError)
        assert connection.free == 0

    virtual(scenario)


@pytest.mark.parametrize("mux", [False, True])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"method": "other"}, "wrong method name, expect=echo, actual=other"),
        ({"kind": 1}, "invalid message type 1"),
        ({"kind": 6}, "invalid message type 6"),
    ],
)
def test_a_reply_that_is_not_for_this_call(harness: Any, mux: bool, how: dict[str, Any], words: str) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=mux)
        call, future, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, **how)
        error = future.exception()
        assert isinstance(error, RemoteProtocolError)
        assert words in str(error)
        assert "192.0.2.1:4711" in str(error)
        assert connection.free == 0
        await harness.settle()
        assert str(connection.closed.result()) == str(error)

    virtual(scenario)


def test_nothing_is_given_out_behind_a_broken_message(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        one = await ask(harness, connection, script)
        other = await ask(harness, connection, script)
        broken = harness.message("another", one[0].seq_id, PAYLOAD, kind=REPLY)
        script.wire.write(broken + harness.message("echo", other[0].seq_id, PAYLOAD, kind=REPLY) * 2)
        await harness.settle()
        assert isinstance(one[1].exception(), RemoteProtocolError)
        assert isinstance(other[1].exception(), RemoteProtocolError)
        assert (connection.busy, connection.free) == (0, 0)

    virtual(scenario)


def test_a_reply_with_another_sequence_id(harness: Any) -> None:
    async def scenario() -> None:
        for name, framing in (("framed", FRAMED), ("buffered", BUFFERED), ("ttheader", TTHEADER_FRAMED)):
            connection, script = harness.scripted_client(name)
            call, future, _ = await ask(harness, connection, script)
            await answer(harness, script, call.seq_id - 1, framing=framing)
            assert "bad sequence ID" in str(future.exception())
            assert connection.free == 0

    virtual(scenario)


def test_only_the_message_is_believed_when_its_header_has_another_id(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=False)
        call, future, _ = await ask(harness, connection, script)
        data = bytearray(harness.message("echo", call.seq_id, PAYLOAD, kind=REPLY))
        data[8:12] = b"\x7f\xff\xff\xff"
        script.wire.write(bytes(data))
        await harness.settle()
        assert future.result() == PAYLOAD

    virtual(scenario)


def test_a_message_that_nobody_asked_for(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        await answer(harness, script, 12)
        assert connection.free == 0
        assert "which no call has" in str(connection.closed.result())

    virtual(scenario)


def test_type_5_is_tolerated(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, kind=MessageType.STREAM)
        assert future.result() == PAYLOAD

    virtual(scenario)


def test_headers_of_a_reply(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        strings = {
            "back": "1",
            "biz-status": "404",
            "biz-message": "gone",
            "biz-extra": '{"a":"b"}',
            "rip": "10.9.8.7:1",
        }
        await answer(harness, script, call.seq_id, strings=strings)
        assert future.result() == PAYLOAD
        assert call.reply_metadata == strings
        assert (call.biz_status.code, call.biz_status.message, call.biz_status.extra) == (404, "gone", {"a": "b"})
        assert call.peer == "10.9.8.7:1"

    virtual(scenario)


@pytest.mark.parametrize("kind", [REPLY, EXCEPTION])
def test_crrst_means_no_more_calls(harness: Any, kind: int) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        payload = PAYLOAD if kind == REPLY else write_exception(6, "x")
        await answer(harness, script, call.seq_id, payload, kind=kind, strings={"crrst": ""})
        assert future.done()
        assert connection.free == 0
        await harness.settle()
        assert script.eof
        refused = connection.request(harness.call(), PAYLOAD).exception()
        assert isinstance(refused, ConnectionLostError)
        assert not refused.sent

    virtual(scenario)


def test_the_control_frame_lets_calls_in_flight_end(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        calls = [(await ask(harness, connection, script))[:2] for _ in range(3)]
        script.wire.write(CONTROL_FRAME)
        await harness.settle()
        assert connection.free == 0
        assert not script.eof
        for call, _ in calls:
            await answer(harness, script, call.seq_id)
        assert [future.result() for _, future in calls] == [PAYLOAD] * 3
        await harness.settle()
        assert script.eof

    virtual(scenario)


def test_an_abandoned_call_in_turns_closes_the_connection(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        _, future, _ = await ask(harness, connection, script)
        future.cancel()
        connection.abandon(future, CANCELLED)
        assert (connection.free, connection.busy) == (0, 0)
        await harness.settle()
        assert script.eof
        assert "abandoned" in str(connection.closed.result())

    virtual(scenario)


def test_an_abandoned_call_on_a_shared_connection_keeps_its_id(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        places = connection.free
        call, future, _ = await ask(harness, connection, script)
        other = await ask(harness, connection, script)
        future.cancel()
        connection.abandon(future, CANCELLED)
        assert (connection.free, connection.busy) == (places - 1, 1)
        await answer(harness, script, call.seq_id)
        assert not other[1].done()
        await answer(harness, script, other[0].seq_id)
        assert other[1].result() == PAYLOAD
        assert connection.free == places

    virtual(scenario)


def test_a_server_that_never_answers_does_not_fill_the_memory(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True, limits=Limits(calls_per_connection=4))
        for _ in range(5):
            assert connection.free > 0
            _, future, _ = await ask(harness, connection, script)
            connection.abandon(future, CANCELLED)
        assert connection.free == 0
        await harness.settle()

    virtual(scenario)


def test_a_oneway_request(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call = harness.call("fire")
        future = connection.request(call, PAYLOAD)
        assert future.result() == b"", "the bytes are on their way"
        await harness.settle()
        (message,) = script.requests()
        assert message.kind == MessageType.ONEWAY
        assert message.headers.values[IntKey.MESSAGE_TYPE] == "4"
        assert (connection.free, connection.busy) == (1, 0)
        second, answered, _ = await ask(harness, connection, script)
        await answer(harness, script, call.seq_id, method="fire")
        await answer(harness, script, second.seq_id)
        assert answered.result() == PAYLOAD, "an answer to the oneway request is nobody's"

    virtual(scenario)


def test_closing_right_after_a_oneway_request_lets_the_server_read_it(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        connection.request(harness.call("fire"), PAYLOAD)
        started = asyncio.get_running_loop().time()
        await connection.aclose(1.0)
        assert asyncio.get_running_loop().time() - started >= 0.02
        assert len(script.requests()) == 1

    virtual(scenario)


def test_frames_of_one_turn_are_written_together_behind_the_first(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        connection.request(harness.call(), PAYLOAD)
        assert len(script.wire.other.writes) == 1, "a call alone waits for nothing"
        for _ in range(20):
            connection.request(harness.call(), PAYLOAD)
        await harness.settle()
        assert len(script.wire.other.writes) == 2
        assert len(script.requests()) == 21
        for _ in range(3):
            connection.request(harness.call(), bytes(20_000))
        assert len(script.wire.other.writes) == 3, "32 KiB do not wait for the end of the turn"
        await harness.settle()
        assert len(script.requests()) == 3

    virtual(scenario)


def test_back_pressure(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True, limits=Limits(write_buffer_bytes=50_000))
        script.wire.other.stuck = True
        connection.request(harness.call(), bytes(60_000))
        await harness.settle()
        assert not connection.writable
        waiting = asyncio.ensure_future(connection.drained())
        await harness.settle()
        assert not waiting.done()
        script.wire.other.unstick()
        await waiting
        assert connection.writable

    virtual(scenario)


def test_waiting_to_write_ends_with_the_connection(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True, limits=Limits(write_buffer_bytes=50_000))
        script.wire.other.stuck = True
        connection.request(harness.call(), bytes(60_000))
        await harness.settle()
        waiting = asyncio.ensure_future(connection.drained())
        await harness.settle()
        script.wire.other.lose(OSError("reset"))
        with pytest.raises(ConnectionLostError):
            await waiting

    virtual(scenario)


def test_a_peer_that_takes_nothing_is_given_up(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True, limits=Limits(write_buffer_bytes=50_000))
        script.wire.other.stuck = True
        future = connection.request(harness.call(), bytes(60_000))
        with pytest.raises(ConnectionLostError, match="took nothing of"):
            await future
        await harness.settle()
        assert connection.closed.done()

    virtual(scenario)


def test_a_peer_that_stops_within_a_frame_is_given_up(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        script.wire.write(harness.message("echo", call.seq_id, PAYLOAD, kind=REPLY)[:-3])
        with pytest.raises(ConnectionLostError, match="and then nothing for 5 s") as caught:
            await future
        assert caught.value.sent
        assert "read_write_timeout" in str(caught.value)

    virtual(scenario)


def test_a_slow_peer_is_not_given_up(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        call, future, _ = await ask(harness, connection, script)
        for byte in harness.message("echo", call.seq_id, PAYLOAD, kind=REPLY):
            await asyncio.sleep(3.0)
            script.wire.write(bytes([byte]))
        assert await future == PAYLOAD

    virtual(scenario)


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1"),
        (b"\0\0\x12\x04\0\0\0\0\0" + bytes(18), "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"\x15\x03\x03\0\x02\x02\x46\0", "TLS"),
        (b"\0\0\0\x01\xde\xad\xbe\xef", "de ad be ef"),
    ],
)
def test_a_peer_that_speaks_something_else(harness: Any, answered: bytes, words: str) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        _, future, _ = await ask(harness, connection, script)
        script.wire.write(answered)
        await harness.settle()
        error = future.exception()
        assert isinstance(error, RemoteProtocolError)
        assert words in str(error)
        assert "192.0.2.1:4711" in str(error)

    virtual(scenario)


@pytest.mark.parametrize(
    ("answered", "error", "words"),
    [
        (b"", ConnectionLostError, "the peer closed the connection"),
        (b"HTT", RemoteProtocolError, "the peer closed after"),
        (b"\0\0\0\x30\x80\x01\0\x02\0", RemoteProtocolError, "within a message"),
    ],
)
def test_a_peer_that_closes(harness: Any, answered: bytes, error: Any, words: str) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client()
        _, future, _ = await ask(harness, connection, script)
        if answered:
            script.wire.write(answered)
        await harness.settle()
        script.wire.close()
        await harness.settle()
        assert isinstance(future.exception(), error)
        assert words in str(future.exception())
        assert future.exception().sent

    virtual(scenario)


def test_every_call_in_flight_gets_an_error_of_its_own(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        futures = [(await ask(harness, connection, script))[1] for _ in range(3)]
        script.wire.lose()
        await harness.settle()
        errors = [future.exception() for future in futures]
        assert len({id(error) for error in errors}) == 3
        assert {str(error) for error in errors} == {str(errors[0])}

    virtual(scenario)


def test_what_cannot_be_sent(harness: Any) -> None:
    async def scenario() -> None:
        connection, script = harness.scripted_client(limits=Limits(frame_bytes=10_000))
        for values, payload, words in (
            ({}, bytes(10_000), "limit of 10000"),
            ({"headers": {"k": "v" * 70_000}}, PAYLOAD, "over 65535"),
            ({"headers": {f"k{number}": "v" * 1000 for number in range(66)}}, PAYLOAD, "over 65536"),
            ({"headers": {70_000: "v"}}, PAYLOAD, "out of 0..65535"),
        ):
            call = harness.call(**values)
            with pytest.raises(LocalProtocolError, match=words):
                connection.request(call, payload)
            assert not call.written
        with pytest.raises(LocalProtocolError, match="is a stream"):
            connection.request(harness.call("stream"), PAYLOAD)
        with pytest.raises(LocalProtocolError, match="is a stream"):
            await connection.open(harness.call("stream"))
        assert connection.free == 1
        await harness.settle()
        assert script.take() == b""

    virtual(scenario)


def test_sequence_ids_of_calls_in_flight_are_not_used_again(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from elanus_transport_ttheader import connection as module
    from elanus_transport_ttheader.protocol.sequence import SequenceIds

    async def scenario() -> None:
        connection, script = harness.scripted_client(mux=True)
        monkeypatch.setattr(module, "_SEQ_IDS", SequenceIds(0x7FFFFFFF))
        first = await ask(harness, connection, script)
        second = await ask(harness, connection, script)
        assert [first[2].seq_id, second[2].seq_id] == [0x7FFFFFFF, -0x80000000]
        monkeypatch.setattr(module, "_SEQ_IDS", SequenceIds(0x7FFFFFFF))
        third = await ask(harness, connection, script)
        assert third[2].seq_id == -0x7FFFFFFF
        monkeypatch.setattr(module, "_SEQ_IDS", SequenceIds(0xFFFFFFFF))
        assert [(await ask(harness, connection, script))[2].seq_id for _ in range(2)] == [1, 2]

    virtual(scenario)
