"""Fallback: who gets which reply or error, and what tracers see. Kitex's acceptance cases for it, in virtual time."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.core.policies import Always, OpenBreaker

import elanus
from elanus.contracts.tracer import Tracer
from elanus.errors import NoInstanceError
from elanus.testing import JsonCodec, connected, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from elanus.call import Call

idl = JsonCodec().loads(
    """
    exception Declared(text)

    service Service {
      do(what) throws Declared
      nothing(what)
      server-stream list(what)
    }
    """
)


class Handler:
    """Does what it is told."""

    def __init__(self) -> None:
        self.calls = 0

    async def do(self, what: str) -> Any:
        self.calls += 1
        match what:
            case "fail":
                raise ValueError("boom")
            case "declared":
                raise idl.Declared("as agreed")
            case "status":
                raise elanus.BizStatusError(404, "not there")
            case "sleep":
                await asyncio.sleep(60)
            case "base response":
                return {"code": 503, "text": "try later"}
        return what

    async def nothing(self, what: str) -> None:
        await self.do(what)

    async def list(self, what: str) -> Any:
        await self.do(what)
        yield what


class Seen(Tracer):
    """What a tracer gets to see of each call."""

    name = "seen"

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.statuses: list[int | None] = []

    def start(self, call: Call) -> None:
        """Nothing yet."""

    def finish(self, call: Call, error: BaseException | None) -> None:
        self.errors.append(type(error).__name__)
        self.statuses.append(None if call.biz_status is None else call.biz_status.code)


async def replaced(call: Call, reply: Any, error: Exception | None) -> Any:
    return f"instead of {type(error).__name__}"


async def keeps(call: Call, reply: Any, error: Exception | None) -> Any:
    return None


async def fails(call: Call, reply: Any, error: Exception | None) -> Any:
    raise LookupError("the cache is empty")


async def outcome(client: elanus.Client, what: str) -> str:
    """The reply, or the name of the error."""
    try:
        return str(await client.do(what))
    except Exception as error:
        return type(error).__name__


def run(scenario: Callable[[Seen, Callable[..., Any]], Coroutine[Any, Any, None]]) -> None:
    seen = Seen()

    def client(**options: Any) -> Any:
        return connected(idl.Service, Handler(), tracers=[seen], **options)

    run_virtual(scenario(seen, client))


ON = {
    # what: (on="error", on="timeout_or_breaker", on="always")
    "fine": ("fine", "fine", "instead of NoneType"),
    "fail": ("instead of ApplicationError", "ApplicationError", "instead of ApplicationError"),
    "status": ("instead of BizStatusError", "BizStatusError", "instead of BizStatusError"),
    "declared": ("instead of Declared", "Declared", "instead of Declared"),
    "sleep": ("instead of RpcTimeoutError",) * 3,
}


@pytest.mark.parametrize("what", ON)
@pytest.mark.parametrize(("place", "on"), [(0, "error"), (1, "timeout_or_breaker"), (2, "always")])
def test_when_the_function_is_asked(place: int, on: Any, what: str) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=elanus.Fallback(replaced, on=on), attempt_timeout=1.0) as client:
            assert await outcome(client, what) == ON[what][place]

    run(scenario)


def test_a_function_alone_is_always_asked() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=replaced) as client:
            assert await outcome(client, "fine") == "instead of NoneType"

    run(scenario)


@pytest.mark.parametrize("kind", ["service_breaker", "instance_breaker"])
def test_an_open_breaker_counts_as_one_whichever_it_is(kind: str) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        fallback = elanus.Fallback(replaced, on="timeout_or_breaker")
        async with make(fallback=fallback, **{kind: OpenBreaker()}) as client:
            name = {"service_breaker": "CircuitOpenError", "instance_breaker": "NoInstanceError"}[kind]
            assert await outcome(client, "fine") == f"instead of {name}"

    run(scenario)


def test_instances_that_cannot_be_reached_are_no_open_breaker() -> None:
    fallback = elanus.Fallback(replaced, on="timeout_or_breaker")
    refused, opened = elanus.ConnectFailedError("refused"), elanus.CircuitOpenError("a:1")
    assert not fallback.applies(NoInstanceError("x", "dns", [opened, refused]))
    assert not fallback.applies(NoInstanceError("x", "dns"))
    assert fallback.applies(NoInstanceError("x", "dns", [opened, opened]))
    assert not fallback.applies(None)


def test_it_is_asked_once_after_all_attempts_and_sees_an_error_that_says_where() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        errors: list[Any] = []

        def note(call: Call, reply: Any, error: Exception | None) -> str:
            errors.append(error)
            return f"{call.arguments[0]} after {call.attempt + 1}"

        async with make(fallback=elanus.Fallback(note), retrier=Always(most=3)) as client:
            assert await outcome(client, "fail") == "fail after 3"
        (error,) = errors
        assert (error.service, error.method, error.instance) == ("Service", "do", "memory:1")
        assert len(error.attempts) == 3
        assert seen.errors == ["ApplicationError"]

    run(scenario)


def test_none_keeps_reply_and_error() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=elanus.Fallback(keeps, on="always"), attempt_timeout=1.0) as client:
            outcomes = [await outcome(client, what) for what in ON]
        assert outcomes == ["fine", "ApplicationError", "BizStatusError", "Declared", "RpcTimeoutError"]
        assert seen.errors == ["NoneType", "ApplicationError", "NoneType", "Declared", "RpcTimeoutError"]
        assert seen.statuses == [None, None, 404, None, None]

    run(scenario)


def test_nothing_makes_a_success_of_a_method_without_a_result() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async def swallow(call: Call, reply: Any, error: Exception | None) -> Any:
            return elanus.Fallback.NOTHING

        async with make(fallback=elanus.Fallback(swallow)) as client:
            assert await client.nothing("fail") is None
            assert await client.nothing("status") is None

    run(scenario)


REPORTED = {
    # what: tracers see by default, and with report=True
    "fail": ("ApplicationError", "NoneType"),
    "sleep": ("RpcTimeoutError", "NoneType"),
    "declared": ("Declared", "NoneType"),
    "fine": ("NoneType", "NoneType"),
    "status": ("NoneType", "NoneType"),
}


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("what", REPORTED)
def test_tracers_see_the_error_unless_the_outcome_is_to_be_reported(what: str, report: bool) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        fallback = elanus.Fallback(replaced, on="always", report=report)
        async with make(fallback=fallback, attempt_timeout=1.0) as client:
            assert (await outcome(client, what)).startswith("instead of")
        assert seen.errors == [REPORTED[what][report]]
        assert seen.statuses == [404 if what == "status" else None], "the business status stays to be seen"

    run(scenario)


@pytest.mark.parametrize(("report", "reported"), [(False, "ApplicationError"), (True, "LookupError")])
def test_an_error_that_takes_the_place_of_another_is_the_callers(report: bool, reported: str) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=elanus.Fallback(fails, report=report)) as client:
            assert await outcome(client, "fail") == "LookupError"
        assert seen.errors == [reported]

    run(scenario)


@pytest.mark.parametrize("report", [False, True])
def test_an_error_that_takes_the_place_of_a_success_is_the_callers_and_not_reported(report: bool) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=elanus.Fallback(fails, on="always", report=report)) as client:
            assert await outcome(client, "fine") == "LookupError"
        assert seen.errors == ["NoneType"]

    run(scenario)


def test_a_reply_that_says_it_is_an_error_can_be_replaced() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        def of_base_response(call: Call, reply: Any, error: Exception | None) -> Any:
            return "cached" if isinstance(reply, dict) and reply["code"] != 0 else None

        async with make(fallback=of_base_response) as client:
            assert await outcome(client, "base response") == "cached"
            assert await outcome(client, "fine") == "fine"

    run(scenario)


def test_call_over_method_over_client() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        def named(name: str) -> Callable[..., str]:
            return lambda call, reply, error: name

        methods = {"do": elanus.MethodOptions(fallback=elanus.Fallback(named("method")))}
        async with make(fallback=named("client"), methods=methods) as client:
            assert await client.with_options(fallback=named("call")).do("fail") == "call"
            assert await client.do("fail") == "method"
            assert await client.nothing("fail") == "client"
            with pytest.raises(elanus.ApplicationError):
                await client.with_options(fallback=None).do("fail")

    run(scenario)


def test_a_timeout_of_the_call_option_falls_back_where_the_clients_would_not() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        fallback = elanus.Fallback(replaced, on="timeout_or_breaker")
        async with make(attempt_timeout=120.0) as client:
            assert await outcome(client.with_options(attempt_timeout=0.2, fallback=fallback), "sleep") == (
                "instead of RpcTimeoutError"
            )
            assert await outcome(client, "sleep") == "sleep"

    run(scenario)


def test_streams_have_no_fallback() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=replaced) as client:
            assert "fallback" not in client.rooms("list")
            with pytest.raises(elanus.ApplicationError):
                await anext(aiter(client.list("fail")))

    run(scenario)


@pytest.mark.parametrize("during", ["the call", "the fallback"])
def test_cancellation_passes_by(during: str) -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        asked: list[str] = []

        async def slow(call: Call, reply: Any, error: Exception | None) -> Any:
            asked.append("fallback")
            await asyncio.sleep(60)

        async with make(fallback=slow) as client:
            task = asyncio.ensure_future(client.do("sleep" if during == "the call" else "fail"))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()
        assert asked == ([] if during == "the call" else ["fallback"])
        assert seen.errors == ["CancelledError"]

    run(scenario)


def test_nothing_of_a_replaced_error_is_left_for_the_collector() -> None:
    async def scenario(seen: Seen, make: Callable[..., Any]) -> None:
        async with make(fallback=elanus.Fallback(replaced)) as client:
            await client.do("fail")
            gc.collect()
            gc.disable()
            try:
                for _ in range(50):
                    await client.do("fail")
                assert gc.collect() < 50, "a circle of a call and its error would leave some for each call"
            finally:
                gc.enable()

    run(scenario)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: elanus.Fallback(cast("Any", "cache")), "'cache' is no function"),
        (lambda: elanus.Fallback(replaced, on=cast("Any", "errors")), "Known: 'error', 'timeout_or_breaker', 'always'"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_written(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(elanus.ConfigError, match=text):
        make()
