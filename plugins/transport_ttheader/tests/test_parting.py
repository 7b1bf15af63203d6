"""How connections end when a server goes: what each side is told, and that nothing that was begun is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.errors import ApplicationError, ConnectionLostError
from elanus_transport_ttheader import link as link_module
from elanus_transport_ttheader.protocol import thrift
from elanus_transport_ttheader.protocol.framing import BUFFERED, FRAMED, TTHEADER_FRAMED, MessageType
from elanus_transport_ttheader.protocol.sequence import NOTICE_ID, SequenceIds
from elanus_transport_ttheader.protocol.ttheader import FLAG_OUT_OF_ORDER

if TYPE_CHECKING:
    from elanus.call import Call

FRAMINGS = {"ttheader": TTHEADER_FRAMED, "framed": FRAMED, "buffered": BUFFERED}


class Gates:
    """A handler whose calls end when the test says so."""

    def __init__(self) -> None:
        self.started: list[bytes] = []
        self._open: dict[bytes, asyncio.Event] = {}

    async def handle(self, call: Call) -> bytes:
        payload = bytes(call.argument_payload or b"")
        self.started.append(payload)
        await self._gate(payload).wait()
        return payload

    def open(self, payload: bytes) -> None:
        self._gate(payload).set()

    def _gate(self, payload: bytes) -> asyncio.Event:
        return self._open.setdefault(payload, asyncio.Event())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_IDLE_LINGER", "_MUX_LINGER", "_MUX_SETTLE"):
        monkeypatch.setattr(link_module, name, 0.01)
    monkeypatch.setattr(link_module, "_MUX_LEAD", 0.0)


def payload_of(token: bytes) -> bytes:
    """A struct with one string field."""
    return b"\x0b\0\1" + len(token).to_bytes(4, "big") + token + b"\0"


def seen(script: Any) -> list[tuple[int, bool]]:
    """Sequence ids of what a server sent, and whether it asked to leave."""
    return [(message.seq_id, message.headers.reset) for message in script.replies()]


async def test_control_frame_waits_until_nothing_is_in_flight(harness: Any) -> None:
    gates = Gates()
    link, _, script = harness.scripted_server(gates.handle)
    one, two, three = (payload_of(token) for token in (b"1", b"2", b"3"))
    for number, payload in enumerate((one, two), 1):
        script.wire.write(harness.message(seq_id=number, payload=payload, flags=FLAG_OUT_OF_ORDER))
    await harness.settle()

    link.drain()
    await harness.settle()
    assert seen(script) == [(NOTICE_ID, True)]

    await asyncio.sleep(0.03)  # time to leave by itself has passed: what comes now is not begun
    script.wire.write(harness.message(seq_id=3, payload=three, flags=FLAG_OUT_OF_ORDER))
    gates.open(one)
    await harness.settle()
    assert seen(script) == [(1, True)]
    gates.open(two)
    gates.open(three)
    await asyncio.sleep(0)
    assert gates.started == [one, two]
    await harness.settle()
    assert seen(script) == [(2, True), (0, True)]

    # It is still there, so it understood: the call that crossed the frame is answered, and then it is over.
    await asyncio.sleep(0.05)
    assert seen(script) == [(3, True)]
    assert script.eof
    assert link.closed.done()


async def test_call_that_crosses_the_control_frame_is_not_begun_for_a_client_that_leaves(harness: Any) -> None:
    gates = Gates()
    link, handlers, script = harness.scripted_server(gates.handle)
    one, two = payload_of(b"1"), payload_of(b"2")
    script.wire.write(harness.message(seq_id=1, payload=one, flags=FLAG_OUT_OF_ORDER))
    await harness.settle()
    gates.open(one)
    await harness.settle()
    link.drain()
    script.wire.write(harness.message(seq_id=2, payload=two, flags=FLAG_OUT_OF_ORDER))
    await harness.settle()
    assert seen(script) == [(1, False), (NOTICE_ID, True), (0, True)]
    script.wire.close()
    await asyncio.sleep(0.03)
    assert link.closed.done()
    assert [bytes(call.argument_payload) for call in handlers.calls] == [one]


async def test_connection_in_turns_gets_no_frames_that_it_did_not_ask_for(harness: Any) -> None:
    gates = Gates()
    link, _, script = harness.scripted_server(gates.handle)
    one = payload_of(b"1")
    script.wire.write(harness.message(seq_id=1, payload=one))
    await harness.settle()
    link.drain()
    await asyncio.sleep(0.03)
    assert seen(script) == []
    gates.open(one)
    await harness.settle()
    assert seen(script) == [(1, True)]
    assert script.eof


@pytest.mark.parametrize("seq_id", [0, NOTICE_ID])
@pytest.mark.parametrize("mux", [True, None])
async def test_client_that_is_told_finishes_its_calls_and_makes_no_more(
    harness: Any, seq_id: int, mux: bool | None
) -> None:
    connection, script = harness.scripted_client(mux=mux)
    reply = connection.request(harness.call(), payload_of(b"1"))
    await harness.settle()
    (request,) = script.requests()
    word = harness.message("none", seq_id, kind=MessageType.REPLY, strings={"crrst": "1"})
    script.wire.write(word)
    await harness.settle()
    assert (connection.free, connection.busy, reply.done()) == (0, 1, False)
    script.wire.write(harness.message(seq_id=request.seq_id, payload=payload_of(b"r"), kind=MessageType.REPLY))
    assert await reply == payload_of(b"r")
    await harness.settle()
    assert isinstance(connection.closed.result(), ConnectionLostError)
    assert script.eof


def test_no_call_has_the_id_of_a_word_to_the_connection() -> None:
    ids = SequenceIds(0xFFFFFFFD)
    assert [ids.next((), ()) for _ in range(4)] == [-3, -2, 1, 2]


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize(("code", "kept"), [(6, True), (1234, True), (1, False), (7, False), (9, False), (20, False)])
async def test_client_uses_no_connection_that_its_server_is_about_to_close(
    harness: Any, name: str, code: int, kept: bool
) -> None:
    connection, script = harness.scripted_client(name)
    reply = connection.request(harness.call(), payload_of(b"1"))
    await harness.settle()
    (request,) = script.requests()
    error = thrift.write_exception(code, "no")
    # As a Kitex server without its TTHeader handler, and one that was asked over framed or buffered: without crrst.
    script.wire.write(
        harness.message(seq_id=request.seq_id, payload=error, kind=MessageType.EXCEPTION, framing=FRAMINGS[name])
    )
    with pytest.raises(ApplicationError) as raised:
        await reply
    assert raised.value.code == code
    assert (connection.free > 0) == kept
    await harness.settle()
    assert connection.closed.done() != kept


async def test_shared_connection_outlives_every_error_reply(harness: Any) -> None:
    connection, script = harness.scripted_client(mux=True)
    other = connection.request(harness.call(), payload_of(b"1"))
    reply = connection.request(harness.call(), payload_of(b"2"))
    await harness.settle()
    first, second = script.requests()
    error = thrift.write_exception(ApplicationError.UNKNOWN_METHOD, "no")
    script.wire.write(harness.message(seq_id=second.seq_id, payload=error, kind=MessageType.EXCEPTION))
    with pytest.raises(ApplicationError):
        await reply
    script.wire.write(harness.message(seq_id=first.seq_id, payload=payload_of(b"r"), kind=MessageType.REPLY))
    assert await other == payload_of(b"r")
    assert connection.free > 0


async def test_server_answers_the_requests_that_waited_for_their_turn_before_it_stops(harness: Any) -> None:
    begun = asyncio.Event()

    class Handlers:
        async def echo(self, value: str = "") -> str:
            begun.set()
            await asyncio.sleep(0.02)
            return value

        other = fire = echo

        async def stream(self, items: Any) -> Any:
            async for item in items:
                yield item

    server = elanus.Server(drain_delay=0)
    server.add_service(harness.service, Handlers())
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    requests = [harness.message(seq_id=number, payload=payload_of(b"x"), framing=FRAMED) for number in range(1, 4)]
    writer.write(b"".join(requests))
    await begun.wait()
    await server.stop()
    answers = [
        harness.message(seq_id=number, payload=payload_of(b"x"), framing=FRAMED, kind=MessageType.REPLY)
        for number in range(1, 4)
    ]
    assert await reader.read() == b"".join(answers)
    writer.close()
