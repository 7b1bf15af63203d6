"""The price of a timeline: what is measured is what calls do. Nothing here looks at a speed."""

import asyncio
from itertools import count

import pytest

from elanus.call import Event
from elanus.testing import make_call

from .. import timeline


def test_the_marks_that_are_measured_are_those_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = asyncio.run(timeline._marks())
    call = make_call()
    timeline._server_marks(call)
    assert server == [event for event, _ in call.timeline]
    clock = count()
    monkeypatch.setattr(timeline, "monotonic", lambda: next(clock))
    timeline._client_marks()
    assert next(clock) == len(client), "the clock is read once for each"
    assert (client[0], client[-1]) == (Event.START, Event.DECODED)


def test_the_table_has_both_sides_and_an_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_REPEATS", 2)
    lines = timeline.timeline()
    assert len(lines) == 5
    assert "a client's 8 marks: start, resolved, encoding" in lines[1]
    assert "a server's 8 marks: start, admitted, decoded" in lines[2]
    assert lines[-1].startswith("aim: under 1 us a call on each side: ")
