"""Calls: intent and state of an attempt, and that they leave nothing to collect."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.call import Call, Event
from elanus.metadata import Metadata
from elanus.service import Instance
from elanus.testing import connected, make_call

from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_every_slot_is_set_from_the_start() -> None:
    call = make_call()
    unset = [name for name in Call.__slots__ if name != "__weakref__" and not hasattr(call, name)]
    assert unset == []
    assert [name for name in Call.__slots__ if name != "__weakref__" and not hasattr(call.fork(1), name)] == []
    assert not hasattr(call, "__dict__")


def test_a_fork_shares_the_intent_and_starts_with_fresh_state() -> None:
    call = make_call("get", ("k",))
    call.metadata = Metadata({"a": "1"})
    call.argument_payload = b"encoded"
    call.instance = Instance("a:1")
    call.seq_id, call.sent_bytes, call.written, call.peer = 7, 10, True, "a:1"
    call.send_back("k", "v")
    attempt = call.fork(2)
    assert attempt.attempt == 2
    assert attempt.arguments is call.arguments
    assert attempt.tried is call.tried
    assert (attempt.metadata, attempt.argument_payload) == (call.metadata, b"encoded")
    assert (attempt.instance, attempt.seq_id, attempt.sent_bytes, attempt.written) == (None, 0, 0, False)
    assert attempt.peer == ""
    assert attempt.reply_metadata == {}
    assert [event for event, _ in attempt.timeline] == [Event.START]


def test_a_call_takes_over_the_state_of_the_attempt_that_decided_it() -> None:
    call = make_call("get", ("k",))
    attempt = call.fork(1)
    attempt.instance = Instance("b:2")
    attempt.peer, attempt.seq_id, attempt.received_bytes = "b:2", 9, 12
    attempt.reply_metadata = {"k": "v"}
    attempt.argument_payload = b"encoded by the attempt"
    call.adopt(attempt)
    assert (call.attempt, call.peer, call.seq_id, call.received_bytes) == (1, "b:2", 9, 12)
    assert call.instance == Instance("b:2")
    assert call.reply_metadata == {"k": "v"}
    assert call.argument_payload == b"encoded by the attempt", "the payload is encoded once for all attempts"


def test_open_callbacks_run_once() -> None:
    call = make_call()
    seen: list[object] = []
    call.on_open = (seen.append, seen.append)
    stream: Any = object()
    call.opened(stream)
    assert seen == [stream, stream]
    assert not call.on_open, "a callback would tie the stream to the call that it belongs to"


def test_current_call_outside_of_a_handler_says_so() -> None:
    with pytest.raises(elanus.StateError, match="outside of a handler"):
        elanus.current_call()


class Moody(Store):
    async def get(self, key: str) -> Any:
        match key:
            case "declared":
                raise idl.NotFound(key)
            case "business":
                raise elanus.BizStatusError(7, "no")
            case "application":
                raise elanus.ApplicationError(42, "no")
            case "slow":
                await asyncio.sleep(60)
        return key


KINDS = ["fine", "declared", "business", "application", "slow", "unsent"]


async def one_call(client: elanus.Client, kind: str) -> None:
    try:
        if kind == "unsent":
            await client.get(key=object())
        elif kind == "slow":
            await client.with_options(timeout=0.001).get(kind)
        else:
            await client.get(kind)
    except Exception:
        pass


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_leave_nothing_for_the_collector(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    calls = 10 if kind == "slow" else 1_000
    caplog.set_level("CRITICAL", "elanus.server")
    async with connected(idl.Store, Moody(), timeout=5.0) as client:
        await one_call(client, kind)
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        try:
            for _ in range(calls):
                await one_call(client, kind)
            for _ in range(5):
                await asyncio.sleep(0)
            left = gc.collect()
        finally:
            gc.enable()
    assert left == 0, f"{left} objects for {calls} calls: something refers to itself"


class Feed(Store):
    async def list(self, prefix: str) -> AsyncIterator[str]:
        yield prefix


async def test_streams_leave_nothing_for_the_collector() -> None:
    async with connected(idl.Store, Feed(), timeout=5.0) as client:
        assert [item async for item in client.list("x")] == ["x"]
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                assert [item async for item in client.list("x")] == ["x"]
            for _ in range(5):
                await asyncio.sleep(0)
            left = gc.collect()
        finally:
            gc.enable()
    assert left == 0


async def test_a_dropped_client_goes_without_the_collector() -> None:
    import weakref

    async with connected(idl.Store, Store()) as client:
        derived = client.with_options(timeout=1)
        await derived.get("k")
        gone = weakref.ref(derived)
        gc.disable()
        try:
            del derived
            assert gone() is None
        finally:
            gc.enable()


def test_values_sent_back_must_be_texts() -> None:
    call = make_call("get", service="Store")
    for send in (call.send_back, call.send_trailer):
        with pytest.raises(TypeError, match="text to text"):
            send("n", 3)  # type: ignore[arg-type]
