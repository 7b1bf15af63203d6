"""Running handlers: how they end, where they run, and that no call is forgotten or kept."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ApplicationError, BizStatusError, current_call
from elanus.call import Call
from elanus.net.dispatch import HandlerDispatcher, unary_handler
from elanus.net.routing import Routes
from elanus.options import CallOptions
from elanus.testing import connected

from .store import Store, idl

if TYPE_CHECKING:
    from elanus.errors import ElanusError


class Recorder:
    """A transport's end: calls of one method in, answers out."""

    def __init__(self, endpoint: Any, limit: int = 1_000) -> None:
        self.dispatcher = HandlerDispatcher(
            Routes([idl.Store], None, require_service=False), {idl.Store.methods["get"]: endpoint}, limit
        )
        self.answers: list[tuple[Call, bytes | None, ElanusError | None]] = []

    def send(self) -> asyncio.Task[None] | None:
        call = Call(idl.Store, idl.Store.methods["get"], ("k",), CallOptions())
        return self.dispatcher.dispatch(call, lambda *answer: self.answers.append(answer))


async def test_each_call_is_answered_once() -> None:
    async def endpoint(call: Call) -> None:
        call.reply_payload = b"reply"

    recorder = Recorder(endpoint)
    tasks = [recorder.send() for _ in range(3)]
    assert recorder.dispatcher.calls == 3
    await asyncio.gather(*(task for task in tasks if task is not None))
    assert [(payload, error) for _, payload, error in recorder.answers] == [(b"reply", None)] * 3
    assert recorder.dispatcher.calls == 0


async def test_calls_over_the_limit_are_refused_at_once() -> None:
    async def endpoint(call: Call) -> None:
        await asyncio.sleep(0)

    recorder = Recorder(endpoint, limit=2)
    assert [recorder.send() is None for _ in range(4)] == [False, False, True, True]
    assert len(recorder.answers) == 2
    _, _, error = recorder.answers[0]
    assert isinstance(error, ApplicationError)
    assert (error.code, error.message) == (6, "request over limit: too many calls in flight")
    await asyncio.sleep(0.01)
    assert recorder.send() is not None
    await recorder.dispatcher.drain(1.0)


async def test_a_flood_at_a_full_server_does_not_look_through_all_calls_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endpoint(call: Call) -> None:
        await asyncio.sleep(60)

    recorder = Recorder(endpoint, limit=500)
    looks = 0
    sweep = recorder.dispatcher._sweep

    def counted() -> None:
        nonlocal looks
        looks += 1
        sweep()

    monkeypatch.setattr(recorder.dispatcher, "_sweep", counted)
    monkeypatch.setattr(recorder.dispatcher._loop, "time", lambda: 1_000.0, raising=False)
    assert sum(recorder.send() is None for _ in range(2_000)) == 1_500
    assert looks <= 6, "at 64 calls, whenever they have doubled, and once when it is full"
    monkeypatch.undo()
    await recorder.dispatcher.drain(0.0)


async def test_calls_that_are_cancelled_before_their_first_step_are_not_kept() -> None:
    """A peer that sends and hangs up in one turn of the loop; no step of the call's task ever runs."""

    async def endpoint(call: Call) -> None:
        raise AssertionError("it ran")

    recorder = Recorder(endpoint, limit=100)
    for _ in range(1_000):
        task = recorder.send()
        assert task is not None, "calls that are gone count against the limit"
        task.cancel()
        await asyncio.sleep(0)
    assert len(recorder.dispatcher.running) <= 100
    assert recorder.dispatcher.calls == 0
    async with asyncio.timeout(1):
        assert await recorder.dispatcher.drain(60.0) == 0
    assert recorder.answers == []


async def test_draining_waits_for_calls_and_then_cancels_the_rest() -> None:
    cancelled: list[Call] = []

    async def endpoint(call: Call) -> None:
        try:
            await asyncio.sleep(60 if len(recorder.dispatcher.running) == 2 and not quick else 0.01)
        except asyncio.CancelledError:
            cancelled.append(call)
            raise

    quick = True
    recorder = Recorder(endpoint)
    recorder.send()
    assert await recorder.dispatcher.drain(5.0) == 0
    assert len(recorder.answers) == 1
    quick = False
    recorder.send()
    recorder.send()
    assert await recorder.dispatcher.drain(0.01) == 2
    assert len(cancelled) == 2
    assert len(recorder.answers) == 1, "nobody reads what a cancelled call would say"


async def test_hurrying_ends_the_wait() -> None:
    async def endpoint(call: Call) -> None:
        await asyncio.sleep(60)

    recorder = Recorder(endpoint)
    recorder.send()
    draining = asyncio.create_task(recorder.dispatcher.drain(60.0))
    await asyncio.sleep(0)
    recorder.dispatcher.hurry()
    async with asyncio.timeout(5):
        assert await draining == 1


async def test_an_answer_that_cannot_be_sent_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(call: Call) -> None: ...

    recorder = Recorder(endpoint)

    def fail(*answer: Any) -> None:
        raise OSError("no")

    task = recorder.dispatcher.dispatch(Call(idl.Store, idl.Store.methods["get"], (), CallOptions()), fail)
    assert task is not None
    await task
    assert "could not be sent" in caplog.text


# -- handlers, through both chains -----------------------------------------------------------------------------------


class Failing(Store):
    async def get(self, key: str) -> Any:
        match key:
            case "declared":
                raise idl.NotFound(key)
            case "business":
                raise BizStatusError(404, "no such key", {"key": key})
            case "application":
                raise ApplicationError(42, "my own code")
            case "plain":
                raise ValueError("a bug")
            case "silent":
                raise ValueError
            case "cancels":
                raise asyncio.CancelledError
            case "cancels itself":
                task = asyncio.current_task()
                assert task is not None
                inner = asyncio.create_task(asyncio.sleep(60))
                inner.cancel()
                await inner
        return key


async def test_a_declared_exception_is_raised_as_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(idl.Store, Failing()) as client:
        with pytest.raises(idl.NotFound) as raised:
            await client.get("declared")
    assert raised.value.key == "declared"
    assert caplog.text == "", "a declared exception is no incident"


async def test_a_business_status_reaches_the_caller_with_its_values(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(idl.Store, Failing()) as client:
        with pytest.raises(BizStatusError) as raised:
            await client.get("business")
    error = raised.value
    assert (error.code, error.message, error.extra) == (404, "no such key", {"key": "business"})
    assert str(error).startswith("Store/get at memory:1 [business]: business status 404: no such key")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("key", "code", "text"),
    [
        ("application", 42, "my own code [biz error]"),
        ("plain", 6, "biz error: a bug"),
        ("silent", 6, "biz error: ValueError"),
        ("cancels", 6, "the handler cancelled itself"),
        ("cancels itself", 6, "the handler cancelled itself"),
    ],
)
async def test_other_failures_reach_the_caller_as_kitex_would_tell_them(
    key: str, code: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(idl.Store, Failing()) as client:
        with pytest.raises(ApplicationError) as raised:
            await client.get(key)
        assert await client.get("fine") == "fine", "the next call must not be harmed"
    assert (raised.value.code, raised.value.message) == (code, text)
    assert raised.value.instance == "memory:1"
    assert ("Traceback" in caplog.text) == (key in ("plain", "silent")), "tracebacks go to the log, never to the peer"


async def test_a_middleware_that_fails_is_told_from_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def buggy(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            raise KeyError("x")

        return endpoint

    async with connected(idl.Store, Store(), server=elanus.Server(middlewares=[buggy])) as client:
        with pytest.raises(ApplicationError) as raised:
            await client.get("k")
    assert raised.value.code == ApplicationError.INTERNAL_ERROR
    assert raised.value.message == (
        "panic: [happened in biz handler, method=Store.get, please check the panic at the server side] KeyError('x')"
    )
    assert "Traceback" in caplog.text


async def test_a_reply_that_does_not_fit_is_the_servers_error() -> None:
    class Wrong(Store):
        async def get(self, key: str) -> Any:
            return object()

    async with connected(idl.Store, Wrong()) as client:
        with pytest.raises(ApplicationError, match="Object of type object is not JSON serializable") as raised:
            await client.get("k")
    assert raised.value.code == ApplicationError.INTERNAL_ERROR


async def test_arguments_that_cannot_be_decoded_are_a_protocol_error() -> None:
    async with connected(idl.Store, Store(), server=elanus.Server(limits=elanus.Limits(depth=2))) as client:
        assert await client.put("k", [1]) is None
        with pytest.raises(ApplicationError, match=r"nested deeper than limits\.depth=2") as raised:
            await client.put("k", [[[[1]]]])
    assert raised.value.code == ApplicationError.PROTOCOL_ERROR


@pytest.mark.parametrize("wrong", ["raises", "returns"])
async def test_a_oneway_call_has_no_outcome(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Store):
        async def note(self, text: str) -> Any:
            self.notes.append(text)
            if wrong == "raises":
                raise ValueError("nobody hears this")
            return object()

    handler = Odd()
    async with connected(idl.Store, handler) as client:
        assert await client.note("one") is None
        assert await client.get("k") == "value of k"
    assert handler.notes == ["one"]
    if wrong == "raises":
        assert "nobody hears this" in caplog.text, "but the log has it"
    else:
        assert caplog.text == "", "there is no reply that would have to fit the IDL"


# -- threads ---------------------------------------------------------------------------------------------------------

color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")


class Threaded(Store):
    def get(self, key: str) -> Any:  # a plain function, which runs in a thread
        seen = color.get()
        color.set(key)
        call = current_call()
        call.send_back("deadline", str(call.remaining() is not None))
        return [threading.current_thread().name, seen, call.method.name]

    def put(self, key: str, value: Any) -> Any:
        return next(iter(()))


def paint(next_endpoint: Any) -> Any:
    async def endpoint(call: Call) -> Any:
        color.set("red")
        try:
            return await next_endpoint(call)
        finally:
            assert color.get() == "red", "what a thread sets is its own"

    return endpoint


async def test_a_plain_function_runs_in_a_thread_with_its_calls_context() -> None:
    async with connected(idl.Store, Threaded(), server=elanus.Server(middlewares=[paint], threads=1)) as client:
        for key in ("green", "blue"):
            name, seen, method = await client.with_options(timeout=5).get(key)
            assert name.startswith("elanus-handler")
            assert name != threading.current_thread().name
            assert seen == "red", "context variables of the call are carried in, those of other calls are not"
            assert method == "get"
        result = await client.with_options(timeout=5).invoke("get", "x")
        assert result.metadata == {"deadline": "True"}


async def test_threads_do_not_block_the_loop() -> None:
    gate = threading.Event()

    class Blocks(Store):
        def get(self, key: str) -> Any:
            assert gate.wait(10)
            return key

        async def put(self, key: str, value: Any) -> None:
            gate.set()

    async with connected(idl.Store, Blocks()) as client:
        blocked = asyncio.create_task(client.get("k"))
        await asyncio.sleep(0.01)
        await client.put("k", 1)
        assert await blocked == "k"


async def test_stop_iteration_in_a_thread_is_that_calls_error() -> None:
    async with connected(idl.Store, Threaded(), timeout=5.0) as client:
        with pytest.raises(ApplicationError, match="the handler raised StopIteration"):
            await client.put("k", 1)


async def test_a_plain_function_may_return_an_awaitable() -> None:
    async def later() -> str:
        return "later"

    with ThreadPoolExecutor(1) as executor:
        endpoint = unary_handler(lambda key: later(), executor)
        assert await endpoint(Call(idl.Store, idl.Store.methods["get"], ("k",), CallOptions())) == "later"


async def test_context_of_one_call_is_not_that_of_the_next(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    class Paints(Store):
        async def get(self, key: str) -> Any:
            seen.append(color.get())
            color.set(key)
            return key

    caplog.set_level(logging.DEBUG)
    color.set("the client's own")
    async with connected(idl.Store, Paints()) as client:
        await client.get("a")
        await client.get("b")
    assert seen == ["none", "none"]
