"""How streams end: by errors from either side, by cancellation, by deadlines; and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ApplicationError, BizStatusError, RpcCancelledError, RpcTimeoutError, StateError, current_call
from elanus.testing import InTurn, MemoryTransport, connected, run_virtual

from .store import Store, idl, started
from .watched import Watched, nothing_left, settled, until  # noqa: F401 - a fixture for every test

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# -- errors from either side -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "code", "text"), [("fail", 42, "no [biz error]"), ("bug", 6, "biz error: a bug")])
async def test_an_error_of_the_handler_comes_after_what_it_sent(line: str, code: int, text: str) -> None:
    handler = Watched()
    async with connected(idl.Store, handler) as client, client.chat() as stream:
        await stream.send("a")
        await stream.send(line)
        await until(lambda: handler.ends)
        await settled()
        assert await stream.receive() == "a!"
        for use in (stream.receive, stream.receive, lambda: stream.send("b"), stream.finish):
            with pytest.raises(ApplicationError) as raised:
                await use()
            assert (raised.value.code, raised.value.message) == (code, text)
            assert (raised.value.method, raised.value.instance) == ("chat", "memory:1")


async def keep(items: AsyncIterator[Any], seen: list[Any]) -> AsyncIterator[Any]:
    async for item in items:
        seen.append(item)
        yield item


async def test_an_error_ends_iteration() -> None:
    class Fails(Store):
        async def list(self, prefix: str) -> AsyncIterator[str]:
            yield "one"
            raise ApplicationError(42, "no")

    seen: list[Any] = []
    async with connected(idl.Store, Fails()) as client:
        stream = client.list("x")
        with pytest.raises(ApplicationError, match="no"):
            [item async for item in keep(stream, seen)]
    assert seen == ["one"]


async def test_a_business_status_ends_a_stream_with_its_values() -> None:
    async with connected(idl.Store, Watched()) as client, client.chat() as stream:
        await stream.send("a")
        assert await stream.receive() == "a!"
        await stream.send("business")
        for _ in range(2):
            with pytest.raises(BizStatusError) as raised:
                await stream.receive()
            assert (raised.value.code, raised.value.message, raised.value.extra) == (7, "no", {"line": "business"})


async def test_a_message_that_cannot_be_encoded_harms_only_itself() -> None:
    async with connected(idl.Store, Store()) as client, client.chat() as stream:
        await stream.send("a")
        with pytest.raises(elanus.CodecError, match="not JSON serializable"):
            await stream.send(object())
        assert await stream.receive() == "a!"
        await stream.send("b")
        assert await stream.receive() == "b!"


async def test_a_message_that_cannot_be_decoded_ends_the_stream() -> None:
    """The message is lost, so the stream is not what its sender meant; the server is told."""

    class Deep(Watched):
        async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async with self.watched():
                async for line in lines:
                    yield [[[[line]]]]

    handler = Deep()
    async with connected(idl.Store, handler, limits=elanus.Limits(depth=2)) as client, client.chat() as stream:
        await stream.send("a")
        for _ in range(2):
            with pytest.raises(elanus.CodecError, match="nested deeper"):
                async with asyncio.timeout(5):
                    await stream.receive()
        await until(lambda: handler.ends)
    assert handler.ends == ["CancelledError"]


async def test_a_request_that_cannot_be_decoded_fails_the_stream_on_the_server() -> None:
    server = elanus.Server(limits=elanus.Limits(depth=2))
    async with connected(idl.Store, Store(), server=server) as client, client.chat() as stream:
        await stream.send([[[[1]]]])
        with pytest.raises(ApplicationError, match="nested deeper"):
            await stream.receive()


async def test_an_unknown_method_fails_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    from elanus.testing import JsonCodec

    smaller = JsonCodec().loads("service Store {\n  get(key)\n}").Store
    server = elanus.Server()
    server.add_service(smaller, Store())
    await server.start()
    options: dict[str, Any] = {"transport": MemoryTransport(server), "balancer": InTurn()}
    async with elanus.Client(idl.Store, "memory:1", **options) as client:
        with pytest.raises(ApplicationError) as raised:
            await client.list("x").receive()
    assert (raised.value.code, raised.value.message) == (1, "unknown method list (service Store)")
    await server.stop()


async def test_a_lost_connection_ends_every_stream_on_it() -> None:
    handler = Watched()
    server = await started(handler)
    transport = MemoryTransport(server)
    async with elanus.Client(idl.Store, "memory:1", transport=transport, balancer=InTurn()) as client:
        async with client.chat() as stream:
            await stream.send("a")
            assert await stream.receive() == "a!"
            transport.cut()
            with pytest.raises(elanus.ConnectionLostError) as raised:
                await stream.receive()
            assert raised.value.sent
        await until(lambda: handler.ends)
    assert handler.ends == ["CancelledError"]
    await server.stop()


# -- cancellation from either side -----------------------------------------------------------------------------------


async def test_leaving_the_block_cancels_the_stream() -> None:
    handler = Watched()
    async with connected(idl.Store, handler) as client:
        async with client.chat() as stream:
            await stream.send("wait")
            await settled()
        await until(lambda: handler.ends)
        assert handler.ends == ["CancelledError"]
        assert client.connections() == {"memory:1": 1}, "the connection goes on"
        with pytest.raises(StateError, match="the stream was closed"):
            await stream.receive()


async def test_a_break_out_of_the_loop_cancels_the_stream() -> None:
    handler = Watched()
    gc.disable()
    try:
        async with connected(idl.Store, handler) as client:
            async for item in client.list("x"):
                assert item == "x0"
                break
            await until(lambda: handler.ends)
    finally:
        gc.enable()
    assert handler.ends == ["GeneratorExit"], "it is closed where it waits for its reader: at a yield"


async def test_a_dropped_handle_cancels_the_stream_without_the_collector() -> None:
    handler = Watched()
    gc.disable()
    try:
        async with connected(idl.Store, handler) as client:
            stream = client.chat()
            await stream.send("a")
            assert await stream.receive() == "a!"
            del stream
            await until(lambda: handler.ends)
    finally:
        gc.enable()
    assert handler.ends == ["CancelledError"]


async def test_a_task_that_is_cancelled_while_it_receives_leaves_the_stream_usable() -> None:
    async with connected(idl.Store, Store()) as client, client.chat() as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.receive()
        await stream.send("a")
        assert await stream.receive() == "a!"


async def test_a_handler_may_cancel_its_stream() -> None:
    class Cancels(Watched):
        async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async with self.watched():
                stream = current_call().stream
                assert stream is not None
                async for _ in lines:
                    stream.cancel(RpcCancelledError("enough"))
                    yield "never arrives"

    handler = Cancels()
    async with connected(idl.Store, handler) as client, client.chat() as stream:
        await stream.send("a")
        with pytest.raises(RpcCancelledError, match="enough"):
            await stream.receive()
        await until(lambda: handler.ends)
    assert handler.ends == ["GeneratorExit"]


def test_a_deadline_ends_a_stream_on_both_sides() -> None:
    handler = Watched()

    async def scenario() -> None:
        async with connected(idl.Store, handler) as client:
            async with client.with_options(timeout=2.0).chat() as stream:
                await stream.send("a")
                assert await stream.receive() == "a!"
                await stream.send("wait")
                with pytest.raises(RpcTimeoutError) as raised:
                    await stream.receive()
                assert (raised.value.limit, raised.value.seconds, raised.value.sent) == ("timeout", 2.0, True)
                with pytest.raises(RpcTimeoutError):
                    await stream.send("b")
            await asyncio.sleep(0.1)

    run_virtual(scenario())
    assert handler.ends == ["CancelledError"]


def test_an_attempt_timeout_does_not_bound_streams() -> None:
    async def scenario() -> None:
        class Slow(Store):
            async def list(self, prefix: str) -> AsyncIterator[str]:
                await asyncio.sleep(5)
                yield prefix

        async with connected(idl.Store, Slow(), attempt_timeout=1.0) as client:
            assert [item async for item in client.list("x")] == ["x"]

    run_virtual(scenario())


async def test_closing_the_client_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elanus.client_core._CLOSE_GRACE", 0.01)
    handler = Watched()
    async with connected(idl.Store, handler) as client:
        stream = client.chat()
        await stream.send("wait")
    with pytest.raises(elanus.ConnectionLostError, match="the client closed the connection"):
        await stream.receive()
    assert handler.ends == ["CancelledError"]
