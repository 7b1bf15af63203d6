"""The server: what it refuses, how it is built and starts, and the order in which it shuts down."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ConfigError, PluginError, StateError, TransportError
from elanus.contracts.provider import Provider
from elanus.contracts.registry import Registration, Registry
from elanus.hookspecs import hookimpl
from elanus.testing import InTurn, JsonCodec, MemoryTransport, connected

from .line_transport import LineTransport
from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from elanus.contracts.transport import ServerLink
    from elanus.service import Instance

two = JsonCodec().loads("service Other {\n  get(key)\n  other(x)\n}\nservice Third {\n  third(x)\n}")


class Other:
    async def get(self, key: str) -> Any:
        return f"other {key}"

    async def other(self, x: Any) -> Any:
        return x

    async def third(self, x: Any) -> Any:
        return x


# -- adding services -------------------------------------------------------------------------------------------------


def test_services_are_listed() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    server.add_service(two.Third, Other())
    assert server.services() == {"Store": idl.Store, "Third": two.Third}


def test_a_service_is_added_once_and_one_is_the_fallback() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store(), fallback=True)
    with pytest.raises(ConfigError, match="service 'Store' is added twice"):
        server.add_service(idl.Store, Store())
    with pytest.raises(ConfigError, match="Store and Third are both the fallback"):
        server.add_service(two.Third, Other(), fallback=True)
    with pytest.raises(ConfigError, match="is no service"):
        server.add_service(object(), Store())  # type: ignore[arg-type]


async def test_several_services_share_a_server_and_a_method_name() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store(), fallback=True)
    server.add_service(two.Other, Other())
    await server.start()
    options: dict[str, Any] = {"transport": MemoryTransport(server), "balancer": InTurn()}
    async with (
        elanus.Client(idl.Store, "memory:1", **options) as store,
        elanus.Client(two.Other, "memory:1", **options) as other,
    ):
        assert (await store.get("k"), await other.get("k")) == ("value of k", "other k")
    await server.stop()


async def test_services_that_share_a_method_object_have_a_handler_each() -> None:
    """As when a codec gives a service that extends another the methods of the other."""
    import dataclasses

    base = idl.Store
    extended = dataclasses.replace(base, name="Extended")

    class Mine(Store):
        async def get(self, key: str) -> Any:
            return f"extended {key}"

    server = elanus.Server()
    server.add_service(base, Store(), fallback=True)
    server.add_service(extended, Mine())
    await server.start()
    options: dict[str, Any] = {"transport": MemoryTransport(server), "balancer": InTurn()}
    async with (
        elanus.Client(base, "memory:1", **options) as one,
        elanus.Client(extended, "memory:1", **options) as other,
    ):
        assert (await one.get("k"), await other.get("k")) == ("value of k", "extended k")
    await server.stop()


# -- guards ----------------------------------------------------------------------------------------------------------


async def test_a_server_without_services_does_not_start() -> None:
    server = elanus.Server()
    with pytest.raises(ConfigError, match=r"no service to serve\. Call server\.add_service"):
        await server.start()


async def test_two_services_that_conflict_do_not_start() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    server.add_service(two.Other, Other())
    with pytest.raises(ConfigError, match="method name 'get' is conflicted between services"):
        await server.start()


async def test_a_running_server_takes_no_services_and_does_not_start_twice() -> None:
    server = await started()
    with pytest.raises(StateError, match="cannot add Third to a server that is running"):
        server.add_service(two.Third, Other())
    with pytest.raises(StateError, match=r"the server is running\. Make a new Server"):
        await server.start()
    await server.stop()
    for use in (server.start(), server.start("127.0.0.1:0")):
        with pytest.raises(StateError, match="the server is stopped"):
            await use


async def test_addresses_and_dispatchers_are_there_while_it_runs() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    for use in (lambda: server.address, lambda: server.dispatcher):
        with pytest.raises(StateError, match="the server is new"):
            use()
    await server.start()
    with pytest.raises(StateError, match="not bound"):
        _ = server.address
    assert (server.calls, server.connections) == (0, 0)
    await server.stop()
    with pytest.raises(StateError, match="the server is stopped"):
        _ = server.dispatcher
    assert (server.calls, server.connections) == (0, 0)


async def test_a_stopped_server_refuses_connections() -> None:
    server = await started()
    transport = MemoryTransport(server)
    async with elanus.Client(idl.Store, "memory:1", transport=transport, balancer=InTurn()) as client:
        assert await client.get("k") == "value of k"
        await server.stop()
        with pytest.raises(elanus.NoInstanceError, match="connection refused: the server is stopped"):
            await client.get("k")


# -- construction ----------------------------------------------------------------------------------------------------


class MemoryRegistry(Registry):
    """Notes what it is asked for."""

    name = "noting"

    def __init__(self, lines: list[str], fail: str = "") -> None:
        self.lines, self.fail = lines, fail

    def note(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith(self.fail) and self.fail:
            raise RuntimeError(f"{self.fail} failed")

    async def register(self, name: str, instance: Instance, **options: Any) -> None:
        self.note(f"register {name} {instance.address.partition(':')[0]} {instance.weight} {dict(instance.tags)}")

    async def deregister(self, name: str, instance: Instance) -> None:
        self.note(f"deregister {name}")

    def status(self) -> list[Registration]:
        return []

    async def aclose(self) -> None:
        self.note("registry closed")


class Parts:
    """A plugin that notes in which order a server asks for things."""

    def __init__(self, lines: list[str], fail: str = "") -> None:
        self.lines, self.fail = lines, fail

    def note(self, line: str, value: Any = None) -> Any:
        self.lines.append(line)
        if line == self.fail:
            raise RuntimeError(f"{line} failed")
        return value

    @hookimpl
    def elanus_configure_server(self, options: Any) -> Any:
        return self.note("configure", options)

    @hookimpl
    def elanus_transports(self) -> Any:
        return [Provider("line", lambda options: self.note("transport", LineTransport(b"ONE")))]

    @hookimpl
    def elanus_registries(self) -> Any:
        return [Provider("noting", lambda options: self.note("registry", MemoryRegistry(self.lines, self.fail)))]

    @hookimpl
    def elanus_server_middlewares(self) -> Any:
        return self.note("middlewares", [])


STEPS = [
    "configure",
    "transport",
    "registry",
    "middlewares",
    "start hook 127.0.0.1",
    "register Store 127.0.0.1 10 {'zone': 'a'}",
]


def build(lines: list[str], fail: str = "") -> elanus.Server:
    server = elanus.Server(
        plugins=[Parts(lines, fail)], transports=["line"], registry="noting", tags={"zone": "a"}, drain_delay=0.0
    )
    server.add_service(idl.Store, Store())

    @server.on_start
    async def start_hook() -> None:
        lines.append(f"start hook {server.address.partition(':')[0]}")
        if fail == "start hook":
            raise RuntimeError("start hook failed")

    server.on_shutdown(lambda: lines.append("shutdown hook"))
    return server


async def test_a_server_starts_in_a_written_order() -> None:
    lines: list[str] = []
    server = build(lines)
    await server.start("127.0.0.1:0")
    assert lines == STEPS
    lines.clear()
    await server.stop()
    assert lines == ["shutdown hook", "deregister Store", "registry closed"]


@pytest.mark.parametrize("step", ["configure", "transport", "registry", "middlewares", "start hook", "register"])
async def test_a_step_that_fails_closes_what_was_opened(step: str) -> None:
    lines: list[str] = []
    server = build(lines, fail=step)
    # A port of the machine's choice, known beforehand so that the test can see it freed.
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = f"127.0.0.1:{probe.sockets[0].getsockname()[1]}"
    probe.close()
    await probe.wait_closed()
    threads, tasks = threading.active_count(), asyncio.all_tasks()
    with pytest.raises((PluginError, RuntimeError), match=f"{step} failed"):
        await server.start(address)
    expected = STEPS[: [line.startswith(step) for line in STEPS].index(True) + 1]
    assert lines == [*expected, *(["registry closed"] if step == "register" else [])]
    assert threading.active_count() == threads
    assert asyncio.all_tasks() == tasks
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(*address.split(":"))
    with pytest.raises(StateError, match="the server is failed"):
        await server.start(address)
    await server.stop()


async def test_a_port_that_cannot_be_bound_leaves_nothing_open() -> None:
    lines: list[str] = []
    first = build([])
    address = await first.start("127.0.0.1:0")
    server = build(lines)
    with pytest.raises(TransportError, match=f"cannot listen on {address}"):
        await server.start(address)
    assert lines == STEPS[:4], "no hook ran, nothing was registered"
    await first.stop()


async def test_a_server_that_is_stopped_while_it_starts_does_not_run() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    server.on_start(server.stop)
    with pytest.raises(StateError, match="stopped while it started"):
        await server.start()


async def test_what_is_registered_can_be_told() -> None:
    lines: list[str] = []
    server = elanus.Server(registry=MemoryRegistry(lines), name="store.prod", advertise="10.0.0.1:80", weight=7)
    server.add_service(idl.Store, Store())
    await server.start()
    assert lines == ["register store.prod 10.0.0.1 7 {}"]
    await server.stop()


async def test_a_registry_that_fails_at_the_end_does_not_stop_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    server = elanus.Server(registry=MemoryRegistry([], "deregister"), advertise="10.0.0.1:80")
    server.add_service(idl.Store, Store())
    await server.start()
    await server.stop()
    assert "could not be deregistered" in caplog.text
    with pytest.raises(StateError, match="the server is stopped"):
        _ = server.dispatcher


async def test_a_registry_that_cannot_be_reached_at_the_end_is_closed_all_the_same() -> None:
    lines: list[str] = []
    server = elanus.Server(plugins=[Parts(lines, "deregister")], registry="noting", advertise="10.0.0.1:80")
    server.add_service(idl.Store, Store())
    await server.start()
    lines.clear()
    await server.stop()
    assert lines == ["deregister Store", "registry closed"]


# -- shutdown --------------------------------------------------------------------------------------------------------


class NotingTransport(LineTransport):
    """Notes what happens to its links."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(b"ONE")
        self.lines = lines

    def serve(self, *arguments: Any) -> ServerLink:
        link = super().serve(*arguments)
        drain, close = link.drain, link.close

        def note(name: str, run: Any) -> Any:
            def noted() -> None:
                self.lines.append(f"{name} {'busy' if link.busy else 'idle'}")
                run()

            return noted

        link.drain, link.close = note("drain", drain), note("close", close)  # type: ignore[method-assign]
        return link


async def test_a_server_shuts_down_in_kitexs_order() -> None:
    lines: list[str] = []
    entered = asyncio.Event()

    class Slow(Store):
        async def get(self, key: str) -> Any:
            entered.set()
            await asyncio.sleep(0.05)
            lines.append("call ends")
            return key

    transport = NotingTransport(lines)
    server = elanus.Server(transports=[transport], registry=MemoryRegistry(lines), drain_delay=0.01)
    server.add_service(idl.Store, Slow())
    server.on_shutdown(lambda: lines.append("shutdown hook"))
    address = await server.start("127.0.0.1:0")
    lines.clear()
    options: dict[str, Any] = {"transport": transport, "balancer": InTurn()}
    async with (
        elanus.Client(idl.Store, address, **options) as busy,
        elanus.Client(idl.Store, address, **options) as idle,
    ):
        await idle.put("k", 1)
        call = asyncio.create_task(busy.get("k"))
        await entered.wait()
        await server.stop()
        assert await call == "k", "what was in flight is answered"
    assert lines[:2] == ["shutdown hook", "deregister Store"]
    assert sorted(lines[2:4]) == ["drain busy", "drain idle"]
    assert lines[4:] == ["close idle", "call ends", "close idle"]


async def test_calls_that_take_too_long_are_cancelled_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = []

    class Stuck(Store):
        async def get(self, key: str) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(key)
                raise

    server = await started(Stuck(), drain_timeout=0.01, drain_delay=0.0)
    async with elanus.Client(idl.Store, "m:1", transport=MemoryTransport(server), balancer=InTurn()) as client:
        call = asyncio.create_task(client.get("k"))
        await asyncio.sleep(0.01)
        await server.stop()
        with pytest.raises(elanus.ConnectionLostError, match="the server closed the connection"):
            await call
    assert cancelled == ["k"]
    assert "1 calls were cancelled: drain_timeout=0.01 s" in caplog.text


async def test_a_client_of_a_draining_server_goes_elsewhere() -> None:
    gate = asyncio.Event()

    class Slow(Store):
        async def get(self, key: str) -> Any:
            await gate.wait()
            return key

    first, second = await started(Slow(), drain_delay=0.0), await started()
    transport = MemoryTransport({"memory:1": first, "memory:2": second})
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(idl.Store, targets, transport=transport, balancer=InTurn()) as client:
        slow = asyncio.create_task(client.get("slow"))
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(first.stop())
        await asyncio.sleep(0.01)
        for _ in range(4):
            assert await client.get("k") == "value of k", "no call is sent to the one that goes"
        gate.set()
        assert await slow == "slow"
        await stopping
    await second.stop()


async def test_stopping_twice_waits_for_one_shutdown() -> None:
    hooks = []
    server = elanus.Server()
    server.add_service(idl.Store, Store())

    @server.on_shutdown
    async def hook() -> None:
        hooks.append(1)
        await asyncio.sleep(0.01)

    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()
    assert hooks == [1]


async def test_a_shutdown_goes_on_when_its_caller_is_cancelled() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    ended = asyncio.Event()

    @server.on_shutdown
    async def hook() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    await server.start()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
        await server.stop()


async def test_stopping_a_server_that_never_started_is_fine() -> None:
    server = elanus.Server()
    await server.stop()
    await server.stop()


async def test_a_shutdown_hook_that_fails_is_logged_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    lines = []
    server = elanus.Server()
    server.add_service(idl.Store, Store())

    @server.on_shutdown
    def fails() -> None:
        raise RuntimeError("hook bug")

    server.on_shutdown(lambda: lines.append("ran"))
    await server.start()
    await server.stop()
    assert lines == ["ran"]
    assert "hook bug" in caplog.text


async def test_a_oneway_call_that_was_received_is_never_lost() -> None:
    class Slow(Store):
        async def note(self, text: str) -> None:
            await asyncio.sleep(0.01)
            self.notes.append(text)

    handler = Slow()
    async with connected(idl.Store, handler) as client:
        for number in range(20):
            await client.note(str(number))
    assert handler.notes == [str(number) for number in range(20)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_runs_until_a_signal_and_answers_what_is_in_flight(number: int) -> None:
    transport = LineTransport(b"ONE")
    entered = asyncio.Event()

    class Slow(Store):
        async def get(self, key: str) -> Any:
            entered.set()
            await asyncio.sleep(0.05)
            return key

    server = elanus.Server(transports=[transport], drain_delay=0.0)
    server.add_service(idl.Store, Slow())
    ready = asyncio.Event()
    server.on_start(ready.set)
    serving = asyncio.create_task(server.serve("127.0.0.1:0"))
    await ready.wait()
    async with elanus.Client(idl.Store, server.address, transport=transport, balancer=InTurn()) as client:
        call = asyncio.create_task(client.get("k"))
        await entered.wait()
        os.kill(os.getpid(), number)
        assert await call == "k"
        async with asyncio.timeout(5):
            await serving


async def test_a_second_signal_does_not_wait_for_calls(caplog: pytest.LogCaptureFixture) -> None:
    transport = LineTransport(b"ONE")
    entered = asyncio.Event()

    class Stuck(Store):
        async def get(self, key: str) -> Any:
            entered.set()
            await asyncio.sleep(60)

    server = elanus.Server(transports=[transport], drain_delay=0.2, drain_timeout=60.0)
    server.add_service(idl.Store, Stuck())
    ready = asyncio.Event()
    server.on_start(ready.set)
    serving = asyncio.create_task(server.serve("127.0.0.1:0"))
    await ready.wait()
    async with elanus.Client(idl.Store, server.address, transport=transport, balancer=InTurn()) as client:
        call = asyncio.create_task(client.get("k"))
        await entered.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)  # while the shutdown has not even begun to wait for calls
        async with asyncio.timeout(5):
            await serving
        with pytest.raises(elanus.ConnectionLostError):
            await call
    assert "not waiting for calls in flight any longer" in caplog.text


async def test_stop_ends_serve() -> None:
    server = elanus.Server(transports=[LineTransport(b"ONE")])
    server.add_service(idl.Store, Store())
    ready = asyncio.Event()
    server.on_start(ready.set)
    serving = asyncio.create_task(server.serve("127.0.0.1:0"))
    await ready.wait()
    await asyncio.sleep(0)
    await server.stop()
    async with asyncio.timeout(5):
        await serving


async def test_streams_in_flight_are_waited_for() -> None:
    gate = asyncio.Event()

    class Slow(Store):
        async def list(self, prefix: str) -> AsyncIterator[str]:
            yield "one"
            await gate.wait()
            yield "two"

    server = await started(Slow(), drain_delay=0.0)
    async with elanus.Client(idl.Store, "m:1", transport=MemoryTransport(server), balancer=InTurn()) as client:
        stream = client.list("x")
        assert await stream.receive() == "one"
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.01)
        gate.set()
        assert [item async for item in stream] == ["two"]
        await stopping
