"""A limiter that asks for it: the connection is closed instead of an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from elanus.errors import LimitExceededError
from elanus.testing import run_virtual
from elanus_transport_ttheader.protocol.framing import BUFFERED, FRAMED, TTHEADER_FRAMED

PAYLOAD = b"\x0b\0\1\0\0\0\2hi\0"


async def handle(call: Any) -> bytes:
    if call.seq_id == 2:
        raise LimitExceededError("request too frequent", limit="qps", value=1, cut=True)
    if call.seq_id == 9:
        await asyncio.sleep(60.0)
    return bytes(call.argument_payload)


@pytest.mark.parametrize("framing", [BUFFERED, FRAMED, TTHEADER_FRAMED], ids=lambda framing: framing.name)
def test_the_answers_before_it_are_sent_and_nothing_after(harness: Any, framing: Any) -> None:
    async def scenario() -> None:
        link, handlers, script = harness.scripted_server(handle)
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD, framing=framing) for number in (1, 2, 3)))
        await harness.settle()
        assert [reply.seq_id for reply in script.replies()] == [1]
        assert link.closed.done()
        assert [call.seq_id for call in handlers.calls] == [1, 2]

    run_virtual(scenario())


def test_calls_in_flight_on_a_shared_connection_end_with_it(harness: Any) -> None:
    async def scenario() -> None:
        link, handlers, script = harness.scripted_server(handle)
        script.wire.write(b"".join(harness.message("echo", number, PAYLOAD, flags=1) for number in (9, 2)))
        await harness.settle()
        assert script.replies() == []
        assert link.closed.done()
        assert link.busy == 0
        assert [call.seq_id for call in handlers.calls] == [9, 2]
        await asyncio.sleep(0)

    run_virtual(scenario())
