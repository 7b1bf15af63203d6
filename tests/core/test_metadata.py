"""What travels beside a call: one hop, every hop, and back; and the deadline, which shrinks on its way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import Metadata, current_call, shield
from elanus.metadata import EMPTY_METADATA
from elanus.testing import connected, run_virtual

from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


# -- the value -------------------------------------------------------------------------------------------------------


def test_additions_make_copies() -> None:
    first = Metadata({"a": "1"}, {"p": "1"})
    second = first.with_transient({"b": "2"}).with_persistent({"p": "2"})
    assert second == Metadata({"a": "1", "b": "2"}, {"p": "2"})
    assert first == Metadata({"a": "1"}, {"p": "1"})


def test_only_persistent_values_are_forwarded() -> None:
    assert Metadata({"a": "1"}, {"p": "1"}).forwarded() == Metadata({}, {"p": "1"})
    assert Metadata({"a": "1"}).forwarded() is EMPTY_METADATA


def test_when_merged_the_other_wins() -> None:
    merged = Metadata({"a": "1", "b": "1"}, {"p": "1"}).merged(Metadata({"b": "2"}, {"p": "2"}))
    assert merged == Metadata({"a": "1", "b": "2"}, {"p": "2"})


def test_no_metadata_is_false() -> None:
    assert not EMPTY_METADATA
    assert Metadata({}, {"p": "1"})


# -- A calls B calls C -----------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What one server saw of a call."""

    transient: Mapping[str, str] = field(default_factory=dict)
    persistent: Mapping[str, str] = field(default_factory=dict)
    left: float | None = None
    caller: str = ""
    caller_method: str = ""
    callee: str = ""
    log_id: str = ""


def seen(call: elanus.Call) -> Seen:
    return Seen(
        dict(call.metadata.transient),
        dict(call.metadata.persistent),
        call.remaining(),
        call.caller,
        call.caller_method,
        call.callee,
        call.log_id,
    )


class Last(Store):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    async def get(self, key: str) -> Any:
        call = current_call()
        self.seen = seen(call)
        call.send_back("from", "C")
        return key


class Middle(Last):
    """Calls on, after *delay* seconds, in the way that *how* names."""

    def __init__(self, onward: elanus.Client, how: str = "plain", delay: float = 0.0) -> None:
        super().__init__()
        self.onward, self.how, self.delay = onward, how, delay
        self.back: Mapping[str, str] = {}

    async def get(self, key: str) -> Any:
        self.seen = seen(current_call())
        await asyncio.sleep(self.delay)
        match self.how:
            case "shield":
                with shield():
                    result = await self.onward.invoke("get", key)
            case "task":
                result = await asyncio.create_task(self.onward.invoke("get", key))
            case "adds":
                more = Metadata({"hop": "B-C"}, {"b": "2"})
                result = await self.onward.with_options(metadata=more).invoke("get", key)
            case _:
                result = await self.onward.invoke("get", key)
        self.back = result.metadata
        current_call().send_back("from", "B")
        return result.reply


@contextlib.asynccontextmanager
async def chain(**middle: Any) -> AsyncIterator[tuple[elanus.Client, Middle, Last]]:
    last = Last()
    async with connected(idl.Store, last, name="service-c") as onward:
        between = Middle(onward, **middle)
        async with connected(idl.Store, between, name="service-b", caller="service-a") as client:
            yield client, between, last


SENT = Metadata({"hop": "A-B"}, {"user": "42"})


async def test_transient_values_go_one_hop_and_persistent_ones_every_hop() -> None:
    async with chain() as (client, between, last):
        await client.with_options(metadata=SENT).get("k")
    assert (between.seen.transient, between.seen.persistent) == ({"hop": "A-B"}, {"user": "42"})
    assert (last.seen.transient, last.seen.persistent) == ({}, {"user": "42"})


async def test_a_handler_adds_to_what_it_hands_on() -> None:
    async with chain(how="adds") as (client, _, last):
        await client.with_options(metadata=SENT).get("k")
    assert (last.seen.transient, last.seen.persistent) == ({"hop": "B-C"}, {"user": "42", "b": "2"})


async def test_backward_values_go_back_one_hop() -> None:
    async with chain() as (client, between, _):
        result = await client.invoke("get", "k")
    assert between.back == {"from": "C"}
    assert result.metadata == {"from": "B"}


async def test_backward_values_come_with_errors_too() -> None:
    class Fails(Store):
        async def get(self, key: str) -> Any:
            current_call().send_back("why", "because")
            raise elanus.ApplicationError(42, "no")

    seen: list[Mapping[str, str]] = []

    def watch(next_endpoint: Any) -> Any:
        async def endpoint(call: elanus.Call) -> Any:
            try:
                return await next_endpoint(call)
            finally:
                seen.append(call.reply_metadata)

        return endpoint

    async with connected(idl.Store, Fails(), middlewares=[watch]) as client:
        with pytest.raises(elanus.ApplicationError):
            await client.get("k")
    assert seen == [{"why": "because"}]


async def test_nothing_without_a_key_or_without_a_value_travels() -> None:
    async with chain() as (client, between, _):
        await client.with_options(metadata=Metadata({"": "x", "a": ""}, {"": "y", "b": "", "c": "z"})).get("k")
    assert (between.seen.transient, between.seen.persistent) == ({}, {"c": "z"})


async def test_metadata_of_one_call_is_not_that_of_the_next() -> None:
    async with chain() as (client, between, last):
        await client.with_options(metadata=SENT).get("k")
        await client.get("k")
    assert (between.seen.transient, between.seen.persistent, last.seen.persistent) == ({}, {}, {})


async def test_names_tell_who_calls_whom_from_which_method() -> None:
    async with chain() as (client, between, last):
        await client.with_options(log_id="log-1").get("k")
    assert (between.seen.caller, between.seen.caller_method, between.seen.callee) == ("service-a", "", "service-b")
    assert (last.seen.caller, last.seen.caller_method, last.seen.callee) == ("service-b", "get", "service-c")
    assert (between.seen.log_id, last.seen.log_id) == ("log-1", "log-1"), "one log id for the whole chain"


@pytest.mark.parametrize("how", ["plain", "task"])
def test_a_deadline_is_inherited_and_shrinks(how: str) -> None:
    async def scenario() -> None:
        async with chain(how=how, delay=2.0) as (client, between, last):
            await client.with_options(timeout=5.0).get("k")
        assert between.seen.left == pytest.approx(5.0, abs=0.01)
        assert last.seen.left == pytest.approx(3.0, abs=0.01)

    run_virtual(scenario())


def test_no_deadline_no_deadline() -> None:
    async def scenario() -> None:
        async with chain() as (client, between, last):
            await client.get("k")
        assert (between.seen.left, last.seen.left) == (None, None)

    run_virtual(scenario())


def test_inside_of_shield_calls_have_no_inherited_deadline_but_their_metadata() -> None:
    async def scenario() -> None:
        async with chain(how="shield") as (client, between, last):
            result = await client.with_options(timeout=5.0, metadata=SENT).invoke("get", "k")
        assert last.seen.left is None
        assert last.seen.persistent == {"user": "42"}
        assert between.seen.left == pytest.approx(5.0, abs=0.01)
        assert result.metadata == {"from": "B"}

    run_virtual(scenario())


def test_an_inherited_deadline_that_passes_says_so() -> None:
    async def scenario() -> None:
        outcome: list[BaseException] = []

        class Asks(Middle):
            async def note(self, text: str) -> None:
                try:
                    await self.onward.get(text)
                except BaseException as error:
                    outcome.append(error)
                    raise

        class Sleeps(Store):
            async def get(self, key: str) -> Any:
                await asyncio.sleep(60)

        asks = elanus.Server(enforce_deadline=False)
        async with (
            connected(idl.Store, Sleeps()) as onward,
            connected(idl.Store, Asks(onward), server=asks) as client,
        ):
            await client.with_options(timeout=1.0).note("oneway: its caller waits for nothing")
            await asyncio.sleep(2)
        [error] = outcome
        assert isinstance(error, elanus.RpcTimeoutError)
        assert error.limit == "deadline"
        assert error.seconds == pytest.approx(1.0, abs=0.01)

    run_virtual(scenario())


def test_the_callers_own_timeout_may_be_shorter_than_the_inherited_deadline_but_not_longer() -> None:
    async def scenario() -> None:
        for own, expected in [(1.0, 1.0), (60.0, 5.0)]:
            last = Last()
            async with (
                connected(idl.Store, last, timeout=own) as onward,
                connected(idl.Store, Middle(onward)) as client,
            ):
                await client.with_options(timeout=5.0).get("k")
            assert last.seen.left == pytest.approx(expected, abs=0.01)

    run_virtual(scenario())


async def test_streams_carry_all_of_it_too() -> None:
    class Streams(Store):
        async def list(self, prefix: str) -> AsyncIterator[Any]:
            call = current_call()
            yield [dict(call.metadata.transient), dict(call.metadata.persistent), call.caller, call.log_id]
            yield (call.remaining() or 0) > 1

    async with connected(idl.Store, Streams(), caller="service-a") as client:
        derived = client.with_options(metadata=SENT, log_id="log-1", timeout=5.0)
        assert [item async for item in derived.list("x")] == [
            [{"hop": "A-B"}, {"user": "42"}, "service-a", "log-1"],
            True,
        ]
