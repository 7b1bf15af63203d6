"""Streams of every kind: bounded both ways, through middlewares, with metadata; and nothing left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ApplicationError, StateError, current_call
from elanus.call import Call, Event
from elanus.testing import InTurn, MemoryTransport, connected

from .store import Store, idl, started
from .watched import Watched, nothing_left, settled, until  # noqa: F401 - a fixture for every test

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# -- all kinds -------------------------------------------------------------------------------------------------------


async def test_a_server_stream_is_iterated_over() -> None:
    async with connected(idl.Store, Store()) as client:
        assert [item async for item in client.list("x")] == ["x0", "x1", "x2"]
        assert [item async for item in client.call("list", prefix="y")] == ["y0", "y1", "y2"]


async def test_a_client_stream_has_one_reply() -> None:
    handler = Watched()
    async with connected(idl.Store, handler) as client, client.add() as stream:
        for number in range(10):
            await stream.send(number)
        assert await stream.finish() == 45
        assert await stream.finish() == 45, "asking again gives it again"
    assert handler.ends == ["done"]


async def test_a_bidi_stream_goes_both_ways_at_once() -> None:
    async with connected(idl.Store, Store()) as client, client.chat() as stream:
        for line in ("a", "b"):
            await stream.send(line)
            assert await stream.receive() == f"{line}!"
        stream.close_send()
        assert await stream.receive() is None
        assert await stream.receive() is None, "the end stays the end"


async def test_one_task_may_send_while_another_receives() -> None:
    async with connected(idl.Store, Store()) as client, client.chat() as stream:

        async def send() -> None:
            for number in range(500):
                await stream.send(number)
            stream.close_send()

        sending = asyncio.create_task(send())
        assert [item async for item in stream] == [f"{number}!" for number in range(500)]
        await sending


async def test_an_empty_stream_of_requests_is_fine() -> None:
    async with connected(idl.Store, Store()) as client:
        async with client.add() as adding:
            assert await adding.finish() == []
        async with client.chat() as stream:
            stream.close_send()
            assert [item async for item in stream] == []


async def test_a_stream_opens_at_its_first_use() -> None:
    handler = Watched()
    async with connected(idl.Store, handler) as client:
        stream = client.add()
        await settled()
        assert handler.ends == []
        stream.close_send()
        assert await stream.finish() == 0
        unused = client.chat()
        await unused.aclose()


async def test_streaming_methods_take_their_arguments_in_their_own_way() -> None:
    async with connected(idl.Store, Store()) as client:
        with pytest.raises(TypeError, match=r"chat\(\) takes no arguments: send them on the stream"):
            client.chat("x")
        with pytest.raises(TypeError, match=r"list\(\) lacks prefix"):
            client.list()
        with pytest.raises(elanus.ConfigError, match="is a stream"):
            await client.invoke("list", "x")


# -- half-close ------------------------------------------------------------------------------------------------------


async def test_after_half_close_the_other_half_goes_on() -> None:
    class Late(Store):
        async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
            seen = [line async for line in lines]
            for line in seen:
                yield line

    async with connected(idl.Store, Late()) as client, client.chat() as stream:
        for number in range(3):
            await stream.send(number)
        stream.close_send()
        with pytest.raises(StateError, match="the sending side of the stream is closed"):
            await stream.send(3)
        assert [item async for item in stream] == [0, 1, 2]


async def test_a_server_that_is_done_ends_the_stream_for_the_writer_too() -> None:
    async with connected(idl.Store, Watched()) as client, client.chat() as stream:
        await stream.send("stop")
        assert await stream.receive() is None
        with pytest.raises(StateError, match="it has ended"):
            await stream.send("more")


async def test_a_client_stream_may_be_answered_early() -> None:
    async with connected(idl.Store, Watched()) as client, client.add() as stream:
        await stream.send("enough")
        await settled()
        assert await stream.finish() == "early"


# -- bounds ----------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_on_the_client_stops_the_writer_on_the_server() -> None:
    handler = Watched()
    limits = elanus.Limits(stream_items=4)
    async with connected(idl.Store, handler, limits=limits) as client, client.list("x") as stream:
        await settled()
        assert handler.sent == 4, "four wait here, and the fifth was not taken"
        for number in range(3):
            assert await stream.receive() == f"x{number}"
        await settled()
        assert handler.sent == 7


async def test_a_slow_reader_on_the_server_stops_the_writer_on_the_client() -> None:
    gate = asyncio.Event()

    class Slow(Store):
        async def add(self, items: AsyncIterator[Any]) -> Any:
            await gate.wait()
            return len([item async for item in items])

    server = elanus.Server(limits=elanus.Limits(stream_items=4))
    sent = 0
    async with connected(idl.Store, Slow(), server=server) as client, client.add() as stream:

        async def send() -> None:
            nonlocal sent
            for number in range(10):
                await stream.send(number)
                sent += 1

        sending = asyncio.create_task(send())
        await settled()
        assert (sent, sending.done()) == (4, False)
        gate.set()
        await sending
        assert await stream.finish() == 10


async def test_a_writer_that_waits_gets_the_error_that_ends_the_stream() -> None:
    class Fails(Store):
        async def add(self, items: AsyncIterator[Any]) -> Any:
            await asyncio.sleep(0.01)
            raise ApplicationError(42, "too much")

    server = elanus.Server(limits=elanus.Limits(stream_items=1))
    async with connected(idl.Store, Fails(), server=server) as client, client.add() as stream:
        await stream.send(1)
        with pytest.raises(ApplicationError, match="too much"):
            await asyncio.gather(*(stream.send(number) for number in range(10)))


# -- middlewares -----------------------------------------------------------------------------------------------------


async def test_middlewares_see_creation_and_the_whole_life() -> None:
    lines: list[str] = []

    def around(name: str) -> Any:
        def middleware(next_endpoint: Any) -> Any:
            async def endpoint(call: Call) -> Any:
                call.on_open = (*call.on_open, lambda stream: lines.append(f"{name} open"))
                lines.append(f"{name} start")
                try:
                    return await next_endpoint(call)
                finally:
                    lines.append(f"{name} end")

            return endpoint

        return middleware

    options: dict[str, Any] = {"stream_middlewares": [around("stream")], "unary_middlewares": [around("unary")]}
    async with connected(idl.Store, Store(), middlewares=[around("any")], **options) as client:
        lines += [item async for item in client.list("x")]
    rooms = [line for line in lines if not line.startswith("x")]
    assert rooms == ["stream start", "any start", "stream open", "any open", "any end", "stream end"]


async def test_messages_pass_the_middlewares_of_each_direction_on_both_sides() -> None:
    def tag(mark: str) -> Any:
        def middleware(next_item: Any) -> Any:
            async def item_endpoint(stream: Any, item: Any) -> Any:
                if item is not None:
                    return await next_item(stream, f"{item}{mark}")  # sending
                got = await next_item(stream, None)  # receiving
                return None if got is None else f"{got}{mark}"

            return item_endpoint

        return middleware

    server = elanus.Server(send_middlewares=[tag("S")], receive_middlewares=[tag("R")])
    options = {"send_middlewares": [tag("1"), tag("2")], "receive_middlewares": [tag("r")]}
    async with connected(idl.Store, Store(), server=server, **options) as client, client.chat() as stream:
        await stream.send("a")
        assert await stream.receive() == "a12R!Sr"


async def test_a_middleware_may_refuse_a_stream_before_it_is_opened() -> None:
    handler = Watched()
    async with connected(idl.Store, handler, acl=[lambda call: "no streams"]) as client:
        with pytest.raises(elanus.AclError, match="no streams"):
            async with client.chat():
                raise AssertionError("it opened")
        with pytest.raises(elanus.AclError):
            await client.chat().send("a")
        with pytest.raises(elanus.AclError):
            [item async for item in client.list("x")]
    assert handler.ends == []


async def test_a_middleware_that_answers_for_a_stream_leaves_it_unopened() -> None:
    def answers(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            return None

        return endpoint

    async with connected(idl.Store, Store(), stream_middlewares=[answers]) as client:
        with pytest.raises(StateError, match="ended by a middleware before it was opened"):
            await client.chat().send("a")


async def test_a_receiving_middleware_that_refuses_a_message_ends_the_stream() -> None:
    def refuses(next_item: Any) -> Any:
        async def item_endpoint(stream: Any, item: Any) -> Any:
            got = await next_item(stream, item)
            if got == "b!":
                raise elanus.AclError("no b")
            return got

        return item_endpoint

    handler = Watched()
    async with connected(idl.Store, handler, receive_middlewares=[refuses]) as client, client.chat() as stream:
        await stream.send("a")
        await stream.send("b")
        assert await stream.receive() == "a!"
        with pytest.raises(elanus.AclError, match="no b"):
            async with asyncio.timeout(5):
                await stream.receive()
        await until(lambda: handler.ends)


# -- metadata and bookkeeping ----------------------------------------------------------------------------------------


async def test_metadata_comes_ahead_of_messages_and_trailers_after_them() -> None:
    class Tells(Store):
        async def list(self, prefix: str) -> AsyncIterator[str]:
            call = current_call()
            call.send_back("ahead", call.metadata.transient["who"])
            yield "one"
            call.send_trailer("count", "1")

    async with connected(idl.Store, Tells()) as client:
        stream = client.with_options(metadata={"who": "me"}).list("x")
        assert await stream.receive() == "one"
        assert stream.metadata == {"ahead": "me"}
        assert await stream.receive() is None
        assert stream.trailers == {"count": "1"}


async def test_a_stream_is_never_tried_again_elsewhere_once_it_is_open() -> None:
    handler = Watched()
    server = await started(handler)
    transport = MemoryTransport(server)
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(idl.Store, targets, transport=transport, balancer=InTurn()) as client:
        async with client.chat() as stream:
            await stream.send("a")
            transport.cut("memory:1")
            with pytest.raises(elanus.ConnectionLostError):
                [item async for item in stream]
        assert transport.opened == {"memory:1": 1}
    await server.stop()


async def test_a_room_that_refuses_an_open_stream_ends_it_and_no_other_is_opened() -> None:
    def refuses(next_endpoint: Any) -> Any:
        def refuse(stream: Any) -> None:
            raise elanus.CircuitOpenError("half-open")  # retryable, and nothing was sent: yet the stream was open

        async def endpoint(call: Call) -> Any:
            call.on_open = (*call.on_open, refuse)
            return await next_endpoint(call)

        return endpoint

    handler = Watched()
    server = await started(handler)
    options: dict[str, Any] = {"transport": MemoryTransport(server), "balancer": InTurn()}
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(idl.Store, targets, stream_middlewares=[refuses], **options) as client:
        with pytest.raises(elanus.CircuitOpenError):
            await client.chat().receive()
        await settled()
        assert options["transport"].opened == {"memory:1": 1}
        assert server.calls == 0, "the server was told"
    await server.stop()


async def test_a_stream_that_finds_an_instance_dead_opens_on_another() -> None:
    server = await started()
    transport = MemoryTransport({"memory:2": server})
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(idl.Store, targets, transport=transport, balancer=InTurn()) as client:
        assert [item async for item in client.list("x")] == ["x0", "x1", "x2"]
    await server.stop()


async def test_a_call_refers_to_its_stream_only_while_it_is_open() -> None:
    calls: list[Call] = []

    def keep(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            calls.append(call)
            return await next_endpoint(call)

        return endpoint

    server = elanus.Server(middlewares=[keep])
    async with connected(idl.Store, Store(), server=server, middlewares=[keep]) as client, client.chat() as stream:
        await stream.send("a")
        assert await stream.receive() == "a!"
        assert all(call.stream is not None for call in calls)
        stream.close_send()
        assert await stream.receive() is None
    assert len(calls) == 2
    assert all(call.stream is None for call in calls)
    events = [event for event, _ in calls[0].timeline]
    assert events.index(Event.RESOLVED) < events.index(Event.CONNECTED)
    assert calls[0].sent_bytes == calls[1].received_bytes == len('"a"')
    assert calls[0].received_bytes == calls[1].sent_bytes == len('"a!"')


async def test_a_stream_holds_its_connection_until_it_has_ended() -> None:
    async with connected(idl.Store, Store(), limits=elanus.Limits(calls_per_connection=1)) as client:
        async with client.chat() as one, client.chat() as two:
            await one.send("a")
            await two.send("b")
            assert client.connections() == {"memory:1": 2}
        assert await client.get("k") == "value of k"
        assert client.connections() == {"memory:1": 2}
