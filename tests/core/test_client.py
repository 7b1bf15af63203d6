"""The client: how it is called, what it refuses, how it is built, and that it can be forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ConfigError, NoInstanceError, PluginError, StateError
from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.provider import Provider
from elanus.contracts.resolver import Resolver
from elanus.hookspecs import hookimpl
from elanus.service import Instance
from elanus.testing import InTurn, JsonCodec, MemoryTransport, connected

from .line_transport import LineTransport
from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


def client(transport: Any = None, targets: Any = "memory:1", **options: Any) -> elanus.Client:
    """A client that need not find anybody."""
    transport = MemoryTransport({}) if transport is None else transport
    return elanus.Client(idl.Store, targets, transport=transport, **{"balancer": InTurn(), **options})


# -- calling ---------------------------------------------------------------------------------------------------------


async def test_every_way_to_call_a_method() -> None:
    async with connected(idl.Store, Store()) as each:
        assert await each.get("k") == "value of k"
        assert await each.get(key="k") == "value of k"
        assert await each.call("get", "k") == "value of k"
        assert (await each.invoke("get", key="k")).reply == "value of k"
        assert await each.put("k", value=1) is None, "an absent reply is None"


@pytest.mark.parametrize(
    ("arguments", "named", "text"),
    [
        ((), {}, r"put\(\) lacks key, value"),
        (("k",), {}, r"put\(\) lacks value"),
        (("k", 1, 2), {}, r"put\(\) takes 2 arguments \(key, value\), not 3"),
        (("k",), {"key": 1}, r"put\(\) got parameter 'key' twice"),
        (("k",), {"valeu": 1}, r"put\(\) has no parameter 'valeu'; it has key, value"),
    ],
)
async def test_wrong_arguments_are_a_type_error_before_anything_is_sent(
    arguments: tuple[Any, ...], named: dict[str, Any], text: str
) -> None:
    async with connected(idl.Store, Store()) as each:
        with pytest.raises(TypeError, match=text):
            await each.put(*arguments, **named)
        assert each.connections() == {}


async def test_an_unknown_method_names_those_there_are() -> None:
    text = "Store has no method 'fetch'; it has: add, chat, get, list, note, put"
    async with connected(idl.Store, Store()) as each:
        with pytest.raises(AttributeError, match=text):
            each.fetch  # noqa: B018
        with pytest.raises(ConfigError, match=text):
            each.call("fetch")
        assert not hasattr(each, "__len__")


async def test_a_method_that_an_attribute_hides_is_reached_by_call_and_a_warning_says_so() -> None:
    service = JsonCodec().loads("service Hidden {\n  invoke(x)\n  options(x)\n  fine(x)\n}").Hidden

    class Handler:
        async def invoke(self, x: Any) -> Any:
            return x

        options = fine = invoke

    server = elanus.Server()
    server.add_service(service, Handler())
    await server.start()
    with pytest.warns(UserWarning, match="is hidden by an attribute") as warned:
        each = elanus.Client(service, "memory:1", transport=MemoryTransport(server), balancer=InTurn())
    async with each:
        assert await each.call("invoke", 1) == 1
        assert await each.fine(2) == 2
    await server.stop()
    assert [str(warning.message) for warning in warned] == [
        "Hidden.invoke is hidden by an attribute of the client; call it with client.call('invoke', ...)",
        "Hidden.options is hidden by an attribute of the client; call it with client.call('options', ...)",
    ]


async def test_invoke_gives_everything_around_the_reply() -> None:
    class Tells(Store):
        async def get(self, key: str) -> Any:
            elanus.current_call().send_back("k", "v")
            return key

    async with connected(idl.Store, Tells()) as each:
        result = await each.invoke("get", "k")
    assert (result.reply, result.metadata, result.peer) == ("k", {"k": "v"}, "memory:1")
    assert result.instance == Instance("memory:1")
    assert (result.transport, result.attempt) == ("memory", 0)
    assert (result.sent_bytes, result.received_bytes) == (len('{"key": "k"}'), len('{"result": "k"}'))
    events = [event for event, _ in result.timeline.events]
    assert events[0] == "start"
    assert events.index("resolved") < events.index("written") < events.index("replied")
    assert [at for _, at in result.timeline.events] == sorted(at for _, at in result.timeline.events)


async def test_options_of_calls_add_up_and_leave_the_client_alone() -> None:
    seen: list[Any] = []

    def watch(next_endpoint: Any) -> Any:
        def endpoint(call: elanus.Call) -> Any:
            seen.append((call.options.tags, call.metadata.transient, call.headers, call.log_id, call.limit))
            return next_endpoint(call)

        return endpoint

    async with connected(idl.Store, Store(), middlewares=[watch]) as each:
        first = each.with_options(tags={"a": "1"}, metadata={"m": "1"}, headers={7: "x"}, timeout=9.0)
        await first.with_options(tags={"b": "2"}, log_id="log").get("k")
        await each.get("k")
        with pytest.raises(ConfigError, match="unknown call option 'timeot'"):
            each.with_options(timeot=1)
    assert seen == [
        ({"a": "1", "b": "2"}, {"m": "1"}, {7: "x"}, "log", ("timeout", 9.0)),
        ({}, {}, {}, "", None),
    ]


async def test_middlewares_of_a_derived_client_run_for_its_calls_only() -> None:
    lines: list[str] = []

    def say(word: str) -> Any:
        def middleware(next_endpoint: Any) -> Any:
            def endpoint(call: elanus.Call) -> Any:
                lines.append(word)
                return next_endpoint(call)

            return endpoint

        return middleware

    async with connected(idl.Store, Store(), middlewares=[say("all")]) as each:
        derived = each.with_options(middlewares=[say("these")])
        await derived.get("k")
        await derived.with_options(timeout=5).get("k")
        await each.get("k")
    assert lines == ["these", "all", "these", "all", "all"]


async def test_a_derived_retrier_is_built_once_and_may_be_left_out() -> None:
    from elanus.contracts.retrier import Plan, Retrier, Retry, Stop

    built = []

    class Twice(Retrier, Plan):
        name = "twice"

        def plan(self, call: Any, now: float) -> Plan:
            return self

        def ended(self, attempt: Any, reply: Any, error: Any, running: int, now: float) -> Retry | Stop:
            return Retry() if attempt.attempt == 0 and error is not None else Stop()

    class Offers:
        @hookimpl
        def elanus_retriers(self) -> list[Provider[Retrier]]:
            return [Provider("twice", self.build)]

        def build(self, options: Any) -> Retrier:
            built.append(options)
            return Twice()

    class Flaky(Store):
        tries = 0

        async def get(self, key: str) -> Any:
            self.tries += 1
            raise ValueError

    handler = Flaky()
    async with connected(idl.Store, handler, plugins=[Offers()], retrier="twice") as each:
        for caller, tries in [(each, 2), (each.with_options(retrier=None), 1), (each.with_options(timeout=5), 2)]:
            handler.tries = 0
            with pytest.raises(elanus.ApplicationError):
                await caller.get("k")
            assert handler.tries == tries
            await caller.put("k", 1)
    assert len(built) == 1
    with pytest.raises(PluginError, match="no installed plugin offers retrier 'thrice'"):
        client(retrier="thrice")


# -- instances -------------------------------------------------------------------------------------------------------


async def test_calls_go_round_several_instances_and_past_dead_ones() -> None:
    server = await started()
    transport = MemoryTransport({"memory:1": server, "memory:3": server})
    async with client(transport, ["memory:1", "memory:2", "memory:3"]) as each:
        for _ in range(6):
            assert await each.get("k") == "value of k"
        assert transport.opened == {"memory:1": 1, "memory:3": 1}
        assert each.instances == tuple(Instance(f"memory:{number}") for number in (1, 2, 3))
    await server.stop()


async def test_when_every_instance_is_dead_the_error_says_what_each_one_said() -> None:
    async with client(targets=["memory:1", "memory:2"]) as each:
        with pytest.raises(NoInstanceError) as raised:
            await each.get("k")
    error = raised.value
    assert [failure.instance for failure in error.failures] == ["memory:1", "memory:2"]
    assert not error.sent
    assert str(error).startswith("Store/get [resolve]: no instance of 'Store' can take the call")
    assert "connection refused: no server has this address" in str(error)


async def test_no_more_than_six_instances_are_tried() -> None:
    async with client(targets=[f"memory:{number}" for number in range(1, 11)]) as each:
        with pytest.raises(NoInstanceError) as raised:
            await each.get("k")
    assert len(raised.value.failures) == 6, "as Kitex does"


async def test_what_may_have_been_sent_is_not_sent_elsewhere() -> None:
    server = await started()
    handled = 0

    class Counts(Store):
        async def get(self, key: str) -> Any:
            nonlocal handled
            handled += 1
            transport.cut()
            await asyncio.sleep(60)

    counting = await started(Counts())
    transport = MemoryTransport({"memory:1": counting, "memory:2": counting})
    async with client(transport, ["memory:1", "memory:2"]) as each:
        with pytest.raises(elanus.ConnectionLostError) as raised:
            await each.get("k")
    assert handled == 1
    assert raised.value.sent
    assert raised.value.instance == "memory:1"
    assert str(raised.value).startswith("Store/get at memory:1 [wait]: the server closed the connection. Look for")
    await counting.stop()
    await server.stop()


async def test_one_call_may_name_its_target() -> None:
    server = await started()
    transport = MemoryTransport(server)
    async with client(transport, ["memory:1"]) as each:
        assert (await each.with_options(target="memory:9").invoke("get", "k")).peer == "memory:9"
        assert transport.opened == {"memory:9": 1}
    await server.stop()


class Directory(Resolver):
    """Sets of instances that a test announces."""

    name = "directory"

    def __init__(self) -> None:
        self.sets: asyncio.Queue[Sequence[Instance] | Exception] = asyncio.Queue()
        self.watching = 0
        self.closed = 0

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance], None]:
        self.watching += 1
        try:
            while True:
                item = await self.sets.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.watching -= 1

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_resolver_is_watched_from_the_first_call_to_the_end() -> None:
    server = await started()
    directory, transport = Directory(), MemoryTransport(server)
    async with client(transport, None, resolver=directory, name="store.prod") as each:
        assert directory.watching == 0
        calls = [asyncio.create_task(each.get("k")) for _ in range(5)]
        await asyncio.sleep(0)
        directory.sets.put_nowait([Instance("memory:1")])
        assert list(await asyncio.gather(*calls)) == ["value of k"] * 5
        assert directory.watching == 1, "one look-up for all who wait"
        directory.sets.put_nowait([Instance("memory:2")])
        await asyncio.sleep(0.01)
        assert (await each.invoke("get", "k")).peer == "memory:2"
        await asyncio.sleep(0.01)
        assert each.connections() == {"memory:2": 1}, "connections to an instance that is gone are closed"
    assert directory.watching == 0
    assert directory.closed == 0, "who made the resolver closes it"
    await server.stop()


async def test_a_first_look_up_that_fails_is_the_calls_error_and_the_next_call_looks_up_anew() -> None:
    server = await started()
    directory = Directory()
    async with client(MemoryTransport(server), None, resolver=directory) as each:
        directory.sets.put_nowait(ValueError("no route to the registry"))
        with pytest.raises(elanus.DiscoveryError, match="no route to the registry") as raised:
            await each.get("k")
        assert not raised.value.sent
        directory.sets.put_nowait([Instance("memory:1")])
        assert await each.get("k") == "value of k"
    await server.stop()


# -- guards ----------------------------------------------------------------------------------------------------------


async def test_calls_before_the_start_and_after_the_close_say_so() -> None:
    each = client()
    with pytest.raises(StateError, match=r"the client of Store is not started\. Use `async with elanus\.Client"):
        await each.get("k")
    async with each:
        with pytest.raises(StateError, match="the client of Store is running"):
            await each.start()
    for call in (each.get, each.with_options(timeout=1).get):
        with pytest.raises(StateError, match="the client of Store is closed"):
            await call("k")
    with pytest.raises(StateError, match="is closed"):
        each.list("x")
    with pytest.raises(StateError, match=r"is closed\. Make a new client"):
        await each.start()
    await each.aclose()


async def test_a_method_that_was_called_before_fails_after_the_close_too() -> None:
    async with connected(idl.Store, Store()) as each:
        await each.get("k")
    with pytest.raises(StateError, match="closed"):
        await each.get("k")


async def test_a_client_without_addresses_and_without_a_resolver_knows_nobody() -> None:
    each = client(targets=None)
    with pytest.raises(ConfigError, match="the client of Store knows no instances"):
        await each.start()


def test_what_is_no_service_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no service"):
        elanus.Client("echo.thrift", "a:1")  # type: ignore[arg-type]


# -- construction ----------------------------------------------------------------------------------------------------


class Parts:
    """A plugin that notes in which order things are asked for and built."""

    def __init__(self, fail: str = "") -> None:
        self.lines: list[str] = []
        self.fail = fail

    def note(self, line: str, value: Any = None) -> Any:
        self.lines.append(line)
        if line == self.fail:
            raise RuntimeError(f"{line} failed")
        return value

    @hookimpl
    def elanus_configure_client(self, options: Any) -> Any:
        return self.note("configure", options)

    @hookimpl
    def elanus_transports(self) -> Any:
        return [Provider("t", lambda options: self.note("transport", MemoryTransport({})))]

    @hookimpl
    def elanus_balancers(self) -> Any:
        return [Provider("b", lambda options: self.note("balancer", NotingBalancer(self)))]

    @hookimpl
    def elanus_resolvers(self) -> Any:
        return [Provider("r", lambda options: self.note("resolver", Directory()))]

    @hookimpl
    def elanus_client_middlewares(self) -> Any:
        return self.note("middlewares", [])


class NotingBalancer(Balancer):
    name = "b"

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        self.parts.note("picker")
        return InTurn().picker(instances)


BUILD = ["configure", "transport", "balancer", "middlewares"]


async def test_a_client_is_built_in_a_written_order() -> None:
    parts = Parts()
    each = elanus.Client(idl.Store, "memory:1", plugins=[parts], transport="t", balancer="b")
    assert parts.lines == BUILD
    async with each:
        assert parts.lines == [*BUILD, "picker"]
    parts = Parts()
    elanus.Client(idl.Store, plugins=[parts], transport="t", balancer="b", resolver="r")
    assert parts.lines == ["configure", "transport", "balancer", "resolver", "middlewares"]


@pytest.mark.parametrize("step", BUILD)
async def test_a_step_that_fails_ends_the_building_and_names_its_plugin(step: str) -> None:
    parts = Parts(fail=step)
    with pytest.raises(PluginError, match=f"plugin 'Parts' .*{step} failed"):
        elanus.Client(idl.Store, "memory:1", plugins=[parts], transport="t", balancer="b")
    assert parts.lines == BUILD[: BUILD.index(step) + 1]


async def test_a_start_that_fails_leaves_nothing_open() -> None:
    parts = Parts(fail="picker")
    each = elanus.Client(idl.Store, "memory:1", plugins=[parts], transport="t", balancer="b")
    before = asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="picker failed"):
        await each.start()
    assert asyncio.all_tasks() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del each
        gc.collect()


# -- forgetting ------------------------------------------------------------------------------------------------------


async def test_an_unclosed_client_warns_and_frees_its_sockets() -> None:
    one = LineTransport(b"ONE")
    server = elanus.Server(transports=[one], drain_delay=0.0)
    server.add_service(idl.Store, Store())
    await server.start("127.0.0.1:0")
    each = elanus.Client(idl.Store, server.address, transport=one, balancer=InTurn())
    await each.start()
    assert await each.get("k") == "value of k"
    assert server.connections == 1
    gc.disable()
    try:
        with pytest.warns(ResourceWarning, match="unclosed elanus client of Store; use `async with`"):
            del each
    finally:
        gc.enable()
    async with asyncio.timeout(5):
        while server.connections:  # noqa: ASYNC110 - there is nothing that would tell
            await asyncio.sleep(0.001)
    await server.stop()


def test_an_unclosed_client_whose_loop_is_gone_warns_only() -> None:
    async def forget() -> elanus.Client:
        each = client()
        await each.start()
        return each

    each = asyncio.run(forget())
    with pytest.warns(ResourceWarning, match="unclosed elanus client"):
        del each


async def test_a_closed_client_and_one_that_never_started_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        closed, new = client(), client()
        async with closed:
            pass
        del closed, new
        gc.collect()


async def test_closing_waits_for_calls_in_flight() -> None:
    gate = asyncio.Event()

    class Waits(Store):
        async def get(self, key: str) -> Any:
            await gate.wait()
            return key

    server = await started(Waits())
    each = client(MemoryTransport(server))
    await each.start()
    call = asyncio.create_task(each.get("k"))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(each.aclose())
    await asyncio.sleep(0.01)
    assert not closing.done()
    gate.set()
    assert await call == "k"
    await closing
    await server.stop()


async def test_many_calls_share_one_multiplexed_connection() -> None:
    server = await started()
    transport = MemoryTransport(server)
    async with client(transport) as each:
        await each.get("warm")
        await asyncio.gather(*(each.get(str(number)) for number in range(200)))
        assert transport.opened == {"memory:1": 1}
    await server.stop()


async def test_a_cancelled_call_reaches_no_other_caller() -> None:
    class Echo(Store):
        async def get(self, key: Any) -> Any:
            await asyncio.sleep(0.001 * (key % 3))
            return key

    async with connected(idl.Store, Echo()) as each:
        calls = {number: asyncio.create_task(each.get(number)) for number in range(100)}
        await asyncio.sleep(0.001)
        for number in range(0, 100, 7):
            calls[number].cancel()
        await asyncio.wait(calls.values())
        for number, call in calls.items():
            with contextlib.suppress(asyncio.CancelledError):
                assert await call == number
        assert sum(call.cancelled() for call in calls.values()) <= 15
    assert sys.exc_info() == (None, None, None)


async def test_a_client_says_what_it_is() -> None:
    each = client()
    assert repr(each) == "<Client of Store at memory:1, not started>"
    async with each:
        assert repr(each) == "<Client of Store at memory:1, running>"
    assert repr(each) == "<Client of Store at memory:1, closed>"


def test_a_client_in_another_event_loop_says_so() -> None:
    async def begin() -> tuple[elanus.Client, elanus.Server]:
        server = elanus.Server()
        server.add_service(idl.Store, Store())
        await server.start()
        each = elanus.Client(idl.Store, "memory:1", transport=MemoryTransport(server), balancer=InTurn())
        await each.start()
        assert await each.get("k") == "value of k"
        return each, server

    async def elsewhere(each: elanus.Client) -> None:
        for call in (each.get("k"), each.with_options(retrier=None).get("k"), each.aclose()):
            with pytest.raises(StateError, match=r"was started in another event loop\. Make one client for each"):
                await call

    async def end(each: elanus.Client, server: elanus.Server) -> None:
        await each.aclose()
        await server.stop()

    with asyncio.Runner() as home:
        each, server = home.run(begin())
        with asyncio.Runner() as other:
            other.run(elsewhere(each))
        home.run(end(each, server))
