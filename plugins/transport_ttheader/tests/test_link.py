"""The server's end against a scripted client, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from elanus.errors import AclError, ApplicationError, BizStatusError, CodecError, ElanusError
from elanus.limits import Limits
from elanus.testing import run_virtual
from elanus_transport_ttheader.protocol.framing import (
    BUFFERED,
    FRAMED,
    FRAMED_PROTOBUF,
    TTHEADER,
    TTHEADER_FRAMED,
    TTHEADER_FRAMED_PROTOBUF,
    MessageType,
)
from elanus_transport_ttheader.protocol.kitex_protobuf import read_error
from elanus_transport_ttheader.protocol.replies import NOTICE_FRAME
from elanus_transport_ttheader.protocol.thrift import read_exception
from elanus_transport_ttheader.protocol.ttheader import IntKey

PAYLOAD = b"\x0b\0\1\0\0\0\2hi\0"
REPLY, EXCEPTION = MessageType.REPLY, MessageType.EXCEPTION
FRAMINGS = (BUFFERED, FRAMED, FRAMED_PROTOBUF, TTHEADER, TTHEADER_FRAMED, TTHEADER_FRAMED_PROTOBUF)


def virtual(scenario: Any) -> None:
    run_virtual(scenario())


def echo(call: Any) -> bytes:
    return bytes(call.argument_payload)


def failing(error: Exception) -> Any:
    def handle(call: Any) -> bytes:
        raise error

    return handle


async def after(seconds: float, call: Any) -> bytes:
    await asyncio.sleep(seconds)
    return echo(call)


def in_phase(error: ElanusError, phase: str) -> ElanusError:
    error.phase = phase
    return error


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: f"{framing.name}-{framing.wire}")
def test_a_reply_mirrors_its_request(harness: Any, framing: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        for flags in (0, 1) if framing.header else (0,):
            script.wire.write(harness.message("echo", -7, PAYLOAD, framing=framing, flags=flags))
            await harness.settle()
            (reply,) = script.replies()
            assert reply.framing is framing
            assert reply.flags == flags
            assert (reply.kind, reply.method, reply.seq_id, reply.frame_id) == (REPLY, "echo", -7, -7)
            assert reply.payload == PAYLOAD
            assert reply.headers.backward == {}
        assert handlers.routed == [(None, "echo", framing.wire)], "a route is asked for once"
        assert handlers.calls[0].transport == framing.name

    virtual(scenario)


def test_framings_may_change_from_message_to_message(harness: Any) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(echo)
        script.wire.write(
            b"".join(harness.message("echo", number, PAYLOAD, framing=each) for number, each in enumerate(FRAMINGS))
        )
        await harness.settle()
        replies = script.replies()
        assert [reply.framing for reply in replies] == list(FRAMINGS)
        assert [reply.seq_id for reply in replies] == list(range(6))

    virtual(scenario)


def test_a_mesh_header_is_read_and_not_sent_back(harness: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        strings = b"\0\x01" + b"\0\x0e" + b"RPC_TRANSIT_tk" + b"\0\x02tv"
        header = b"\xff\xaf" + len(strings).to_bytes(2, "big") + strings
        for framing in (BUFFERED, FRAMED, FRAMED_PROTOBUF):
            script.wire.write(header + harness.message("echo", 3, PAYLOAD, framing=framing))
            await harness.settle()
            (reply,) = script.replies()
            assert reply.framing is framing
        assert [dict(call.metadata.transient) for call in handlers.calls] == [{"tk": "tv"}] * 3

    virtual(scenario)


def test_what_a_call_knows(harness: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        strings = {
            "isn": "Echo",
            "RPC_TRANSIT_tk": "tv",
            "RPC_TRANSIT_UPSTREAM_uk": "uv",
            "RPC_PERSIST_pk": "pv",
            "RPC_PERSIST_RetryReq": "2",
            "RPC_TRANSIT_gdpr-token": "secret",
            "RPC_TRANSIT_": "no key",
            "RPC_PERSIST_none": "",
            "rip": "10.0.0.9:80",
            "x": "y",
        }
        ints = {
            IntKey.FROM_SERVICE: "cli.svc",
            IntKey.FROM_METHOD: "up",
            IntKey.TO_SERVICE: "dst.echo",
            IntKey.LOG_ID: "log",
            IntKey.RPC_TIMEOUT: "1500",
            99: "z",
        }
        data = harness.message("echo", 9, PAYLOAD, strings=strings, ints=ints)
        script.wire.write(data)
        await harness.settle()
        (call,) = handlers.calls
        assert handlers.routed == [("Echo", "echo", "thrift-binary")]
        assert (call.caller, call.caller_method, call.callee, call.log_id) == ("cli.svc", "up", "dst.echo", "log")
        assert call.metadata.transient == {"tk": "tv", "uk": "uv", "gdpr-token": "secret"}
        assert call.metadata.persistent == {"pk": "pv", "RetryReq": "2"}
        assert (call.retried, call.attempt) == (True, 2)
        assert set(call.headers.items()) == {*strings.items(), *ints.items()}
        assert call.peer == "10.0.0.9:80"
        assert call.seq_id == 9
        assert call.received_bytes == len(data)
        assert call.deadline == pytest.approx(asyncio.get_running_loop().time() + 1.5)
        assert call.limit == ("deadline", 1.5)
        assert call.sent_bytes == len(script.take())

    virtual(scenario)


def test_requests_take_turns(harness: Any) -> None:
    async def scenario() -> None:
        running: list[int] = []

        async def handle(call: Any) -> bytes:
            running.append(call.seq_id)
            assert len(running) == 1
            await asyncio.sleep(0.1 if call.seq_id % 2 else 0.01)
            running.remove(call.seq_id)
            return PAYLOAD

        link, _, script = harness.scripted_server(handle)
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD) for number in range(10)))
        await harness.settle()
        assert link.busy == 10
        await asyncio.sleep(2.0)
        assert [reply.seq_id for reply in script.replies()] == list(range(10))
        assert link.busy == 0

    virtual(scenario)


def test_a_thousand_requests_that_are_answered_at_once(harness: Any) -> None:
    async def scenario() -> None:
        first = asyncio.Event()

        async def wait(call: Any) -> bytes:
            await first.wait()
            return PAYLOAD

        _, _, script = harness.scripted_server(lambda call: wait(call) if call.seq_id == 0 else PAYLOAD)
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD) for number in range(3000)))
        await harness.settle()
        first.set()
        await asyncio.sleep(1.0)
        assert [reply.seq_id for reply in script.replies()] == list(range(3000))

    virtual(scenario)


def test_flagged_requests_are_answered_as_they_finish(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(lambda call: after(1.0 - call.seq_id / 10, call))
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD, flags=1) for number in range(1, 6)))
        await harness.settle()
        assert link.busy == 5
        await asyncio.sleep(2.0)
        replies = script.replies()
        assert [reply.seq_id for reply in replies] == [5, 4, 3, 2, 1]
        assert {reply.flags for reply in replies} == {1}

    virtual(scenario)


def test_requests_with_and_without_the_flag(harness: Any) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(lambda call: after(0.1, call))
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD, flags=number % 2) for number in range(9)))
        await asyncio.sleep(5.0)
        replies = script.replies()
        assert sorted(reply.seq_id for reply in replies) == list(range(9))
        assert [reply.flags for reply in sorted(replies, key=lambda reply: reply.seq_id)] == [n % 2 for n in range(9)]

    virtual(scenario)


@pytest.mark.parametrize("flags", [0, 1])
def test_reading_pauses_while_too_many_requests_wait(harness: Any, flags: int) -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def handle(call: Any) -> bytes:
            await release.wait()
            return PAYLOAD

        link, handlers, script = harness.scripted_server(handle, limits=Limits(calls_per_connection=8))
        for number in range(40):
            script.wire.write(harness.message("echo", number, PAYLOAD, flags=flags))
        await harness.settle()
        script.wire.cut = lambda size: len(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        assert link.busy <= 40
        assert not script.wire.other.reading
        assert len(handlers.calls) == (8 if flags else 1)
        release.set()
        await asyncio.sleep(1.0)
        assert sorted(reply.seq_id for reply in script.replies()) == list(range(40))
        assert script.wire.other.reading

    virtual(scenario)


def test_reading_pauses_while_too_many_bytes_wait(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(lambda call: after(1.0, call), limits=Limits(frame_bytes=100_000))
        big = b"\x0b\0\1\0\0\xea\x60" + bytes(60_000) + b"\0"
        script.wire.cut = lambda size: 60_100
        for number in range(10):
            script.wire.write(harness.message("echo", number, big, flags=1))
        await harness.settle()
        assert link.busy <= 3
        assert not script.wire.other.reading
        await asyncio.sleep(30.0)
        assert sorted(reply.seq_id for reply in script.replies()) == list(range(10))

    virtual(scenario)


def test_reading_pauses_while_the_client_does_not_take_its_replies(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(echo, limits=Limits(write_buffer_bytes=20_000))
        big = b"\x0b\0\1\0\0\x75\x30" + bytes(30_000) + b"\0"
        script.wire.other.stuck = True
        script.wire.write(harness.message("echo", 1, big))
        await harness.settle()
        assert not link.writable
        assert not script.wire.other.reading
        script.wire.write(harness.message("echo", 2, PAYLOAD))
        await harness.settle()
        assert link.busy == 0
        script.wire.other.unstick()
        await harness.settle()
        assert [reply.seq_id for reply in script.replies()] == [1, 2]

    virtual(scenario)


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: f"{framing.name}-{framing.wire}")
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ApplicationError(6, "biz error: no"), 6, "biz error: no"),
        (ApplicationError(1, "a handler's own"), 1, "a handler's own"),
        (ApplicationError(-5, ""), -5, "error -5"),
        (ElanusError("broken", phase="handler", hint="do this"), 6, "broken"),
        (AclError("not you"), 6, "request forbidden: not you"),
        (CodecError("in a handler's own call"), 6, "in a handler's own call"),
    ],
)
def test_errors_of_handlers_keep_the_connection(
    harness: Any, framing: Any, error: ElanusError, code: int, text: str
) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(failing(error))
        script.wire.write(harness.message("echo", 4, PAYLOAD, framing=framing))
        await harness.settle()
        (reply,) = script.replies()
        assert (reply.kind, reply.method, reply.seq_id, reply.framing) == (EXCEPTION, "echo", 4, framing)
        read = read_exception(reply.payload) if framing.wire == "thrift-binary" else read_error(reply.payload)
        assert (read.code, read.message) == (code, text)
        assert not reply.headers.reset
        assert not script.eof

    virtual(scenario)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (in_phase(CodecError("bad struct"), "decode"), 7),
        (in_phase(ApplicationError(9, "decode failed"), "route"), 9),
        (in_phase(ApplicationError(7, "bad struct"), "decode"), 7),
    ],
)
@pytest.mark.parametrize("flags", [0, 1])
def test_errors_of_decoding_close_the_connection(harness: Any, error: ElanusError, code: int, flags: int) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(failing(error))
        script.wire.write(harness.message("echo", 4, PAYLOAD, flags=flags) * 2)
        await harness.settle()
        replies = script.replies()
        assert read_exception(replies[0].payload).code == code
        # A shared connection goes on, as with Kitex's mux server: the others' calls are not to blame.
        assert len(replies) == (2 if flags else 1)
        assert replies[0].headers.reset == (not flags)
        assert script.eof == (not flags)

    virtual(scenario)


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: f"{framing.name}-{framing.wire}")
def test_an_unknown_method(harness: Any, framing: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        script.wire.write(harness.message("zzz", 9, PAYLOAD, framing=framing))
        await harness.settle()
        (reply,) = script.replies()
        assert (reply.kind, reply.method, reply.seq_id) == (EXCEPTION, "zzz", 9)
        read = read_exception(reply.payload) if framing.wire == "thrift-binary" else read_error(reply.payload)
        assert (read.code, read.message) == (20, "unknown service , method zzz")
        assert reply.headers.reset == framing.header
        assert script.eof
        assert not handlers.calls

    virtual(scenario)


def test_a_stream_method(harness: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        script.wire.write(harness.message("stream", 9, PAYLOAD))
        await harness.settle()
        (reply,) = script.replies()
        assert "is a stream" in read_exception(reply.payload).message
        assert not handlers.calls

    virtual(scenario)


@pytest.mark.parametrize("kind", [0, 2, 3, 6, 7])
def test_what_is_no_request_is_not_answered(harness: Any, kind: int) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(lambda call: after(0.5, call))
        script.wire.write(harness.message("echo", 1, PAYLOAD) + harness.message("echo", 2, PAYLOAD, kind=kind))
        await harness.settle()
        assert not script.eof, "the request before it is answered first"
        await asyncio.sleep(1.0)
        assert [reply.seq_id for reply in script.replies()] == [1]
        assert len(handlers.calls) == 1
        assert script.eof

    virtual(scenario)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x20\x10\0\0\0\0\0\0\1\0\1\x02\0\0\0" + bytes(20),
        b"\0\0\0\x0d\x80\x01\0\x01\0\0\0\0\0\0\0\1\0",
    ],
    ids=["unknown", "compact protocol id", "empty method name"],
)
def test_what_makes_no_sense_is_not_answered(harness: Any, data: bytes) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(echo)
        script.wire.write(harness.message("echo", 1, PAYLOAD) + data)
        await harness.settle()
        assert [reply.seq_id for reply in script.replies()] == [1]
        assert len(handlers.calls) == 1
        assert script.eof

    virtual(scenario)


@pytest.mark.parametrize("kind", [MessageType.CALL, MessageType.ONEWAY])
@pytest.mark.parametrize("handle", [echo, failing(ElanusError("no")), failing(in_phase(CodecError("no"), "decode"))])
def test_a_oneway_method_is_never_answered(harness: Any, kind: int, handle: Any) -> None:
    async def scenario() -> None:
        _, handlers, script = harness.scripted_server(handle)
        script.wire.write(harness.message("fire", 1, PAYLOAD, kind=kind))
        await harness.settle()
        assert len(handlers.calls) == 1
        assert script.take() == b""

    virtual(scenario)


@pytest.mark.parametrize("kind", [MessageType.ONEWAY, MessageType.STREAM])
def test_a_two_way_method_is_answered_whatever_the_message_type(harness: Any, kind: int) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(echo)
        script.wire.write(harness.message("echo", 1, PAYLOAD, kind=kind))
        await harness.settle()
        assert [reply.kind for reply in script.replies()] == [REPLY]

    virtual(scenario)


def test_a_business_status(harness: Any) -> None:
    async def scenario() -> None:
        def handle(call: Any) -> None:
            call.biz_status = BizStatusError(404, "not found", {"k": "<v>"})
            call.send_back("back", "value")

        _, _, script = harness.scripted_server(handle)
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        (reply,) = script.replies()
        assert (reply.kind, reply.payload) == (REPLY, b"\0")
        assert reply.headers.backward == {
            "back": "value",
            "biz-status": "404",
            "biz-message": "not found",
            "biz-extra": '{"k":"\\u003cv\\u003e"}',
        }
        script.wire.write(harness.message("echo", 2, PAYLOAD, framing=FRAMED))
        await harness.settle()
        (reply,) = script.replies()
        assert (reply.kind, reply.payload, reply.framing) == (REPLY, b"\0", FRAMED)

    virtual(scenario)


def test_a_business_status_given_as_the_error(harness: Any) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(failing(BizStatusError(7)))
        script.wire.write(harness.message("echo", 1, b"", framing=TTHEADER_FRAMED_PROTOBUF))
        await harness.settle()
        (reply,) = script.replies()
        assert (reply.kind, reply.payload) == (REPLY, b"")
        assert reply.headers.backward == {"biz-status": "7", "biz-message": ""}

    virtual(scenario)


def test_a_reply_that_cannot_be_sent_becomes_an_error(harness: Any) -> None:
    async def scenario() -> None:
        def handle(call: Any) -> bytes:
            if call.seq_id == 1:
                call.send_back("big", "v" * 70_000)
            if call.seq_id == 3:
                call.send_back("half", "\ud800")
            return bytes(200_000 if call.seq_id == 2 else 10)

        _, _, script = harness.scripted_server(handle, limits=Limits(frame_bytes=100_000))
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD) for number in (1, 2, 3)))
        await harness.settle()
        errors = [read_exception(reply.payload) for reply in script.replies()]
        assert [error.code for error in errors] == [6, 6, 6]
        for error, text in zip(errors, ("over 65535", "over the limit of 100000", "that is no text"), strict=True):
            assert text in error.message
        assert not script.eof

    virtual(scenario)


def test_checksums_are_sent_when_asked_for(harness: Any) -> None:
    async def scenario() -> None:
        _, _, script = harness.scripted_server(echo, crc32c=True)
        for framing in (TTHEADER, TTHEADER_FRAMED, FRAMED):
            script.wire.write(harness.message("echo", 1, PAYLOAD, framing=framing))
        await harness.settle()
        assert [len(reply.headers.checksum) for reply in script.replies()] == [8, 8, 0]

    virtual(scenario)


def test_a_client_that_leaves_ends_its_handlers_except_oneway_ones(harness: Any) -> None:
    async def scenario() -> None:
        link, handlers, script = harness.scripted_server(lambda call: after(1.0, call))
        script.wire.write(harness.message("echo", 1, PAYLOAD, flags=1) + harness.message("fire", 2, PAYLOAD, flags=1))
        await harness.settle()
        script.wire.lose()
        await asyncio.sleep(2.0)
        assert [call.seq_id for call in handlers.cancelled] == [1]
        assert link.closed.done()
        assert link.busy == 0

    virtual(scenario)


def test_oneway_requests_that_wait_for_their_turn_are_not_lost(harness: Any) -> None:
    async def scenario() -> None:
        done: list[int] = []

        async def handle(call: Any) -> bytes:
            await asyncio.sleep(1.0)
            done.append(call.seq_id)
            return PAYLOAD

        _, _, script = harness.scripted_server(handle)
        methods = ("echo", "fire", "echo", "fire", "zzz")
        script.wire.write(b"".join(harness.message(name, number, PAYLOAD) for number, name in enumerate(methods)))
        await harness.settle()
        script.wire.close()
        await asyncio.sleep(5.0)
        assert sorted(done) == [1, 3]

    virtual(scenario)


def test_draining_in_turns(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(lambda call: after(1.0, call))
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        link.drain()
        await asyncio.sleep(2.0)
        (reply,) = script.replies()
        assert reply.headers.reset
        assert reply.headers.backward == {"crrst": "1"}
        assert script.eof

    virtual(scenario)


def test_draining_a_shared_connection(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(lambda call: after(0.5, call))
        script.wire.write(harness.message("echo", 1, PAYLOAD, flags=1))
        await harness.settle()
        link.drain()
        await harness.settle()
        assert script.take() == NOTICE_FRAME, "an elanus client learns it at once"
        script.wire.write(harness.message("echo", 2, PAYLOAD, flags=1))
        await asyncio.sleep(0.61)
        replies = script.replies()
        assert [reply.seq_id for reply in replies] == [1, 2, 0], "a Kitex client when nothing is in flight"
        assert all(reply.headers.reset for reply in replies)
        assert not script.eof, "the client leaves by itself"
        await asyncio.sleep(1.1)
        assert script.eof, "or after a while it is made to"

    virtual(scenario)


def test_draining_an_idle_connection(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(echo)
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        script.take()
        link.drain()
        script.wire.write(harness.message("echo", 2, PAYLOAD))
        await harness.settle()
        (reply,) = script.replies()
        assert reply.headers.reset, "a request that crossed the wish to drain is answered, with the wish"
        link.drain()
        await asyncio.sleep(1.0)
        assert link.closed.done()

    virtual(scenario)


def test_closing_cancels_what_runs(harness: Any) -> None:
    async def scenario() -> None:
        link, handlers, script = harness.scripted_server(lambda call: after(1.0, call))
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        link.close()
        await harness.settle()
        assert len(handlers.cancelled) == 1
        assert script.eof
        assert script.take() == b""

    virtual(scenario)


def test_closing_lets_what_was_written_leave(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(echo)
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        while not script.wire.other.writes:  # noqa: ASYNC110  - until just before it would leave
            await asyncio.sleep(0)
        link.close()
        await harness.settle()
        assert len(script.replies()) == 1
        assert script.eof

    virtual(scenario)


def test_closing_a_connection_that_takes_nothing_ends_too(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(echo)
        script.wire.other.stuck = True
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        link.close()
        await asyncio.wait_for(link.closed, 30.0)
        assert script.wire.other.aborted

    virtual(scenario)


def test_idle_connections_are_closed(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(lambda call: after(20.0, call), limits=Limits(idle_timeout=10.0))
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(9.0)
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await asyncio.sleep(15.0)
        assert not link.closed.done(), "a call in flight is not idleness"
        await link.closed
        assert 35.0 <= asyncio.get_running_loop().time() - started <= 50.0

    virtual(scenario)


def test_a_client_that_stops_within_a_frame_is_given_up(harness: Any) -> None:
    async def scenario() -> None:
        link, _, script = harness.scripted_server(echo)
        started = asyncio.get_running_loop().time()
        script.wire.write(harness.message("echo", 1, PAYLOAD)[:-1])
        await link.closed
        assert 5.0 <= asyncio.get_running_loop().time() - started <= 10.1

    virtual(scenario)


def test_answering_twice_or_too_late_does_nothing(harness: Any) -> None:
    async def scenario() -> None:
        link, handlers, script = harness.scripted_server(echo)
        script.wire.write(harness.message("echo", 1, PAYLOAD))
        await harness.settle()
        link.answer(handlers.calls[0], PAYLOAD, None)
        await harness.settle()
        assert len(script.replies()) == 1
        assert link.busy == 0

    virtual(scenario)
