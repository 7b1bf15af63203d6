"""The order of the rooms, on both sides, and that a room which nobody asked for is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.options import ClientOptions, ServerOptions
from elanus.stages import CLIENT_STAGES, SERVER_STAGES, ClientParts, ServerParts
from elanus.testing import connected
from elanus.wheel import TimerWheel, wheel_of

from .recording import (
    Log,
    LogBreaker,
    LogCodec,
    LogLimiter,
    LogMetadata,
    LogTracer,
    LogWheel,
    client_options,
)
from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.balancer import Picker
    from elanus.service import Instance, MethodInfo

UNARY = idl.Store.methods["get"]
STREAM = idl.Store.methods["chat"]


@pytest.fixture
def log() -> Log:
    return Log()


def logged_wheels(log: Log, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(f"elanus.{module}.wheel_of", lambda loop: LogWheel(log, wheel_of(loop)))


CLIENT_ORDER = [  # Kitex v0.16.3, client/client.go: breaker, timeout, unary, context, user, ACL, LB, instance, error
    "trace",
    "fallback",
    "retry",
    "service_breaker",
    "timeout",
    "user unary",
    "user of this call",
    "user universal 1",
    "user universal 2",
    "acl",
    "resolve",
    "instance_breaker",
    "instance_user",
    "error_map",
    "metadata write",
    "send",
]


async def test_a_unary_call_walks_through_the_rooms_of_a_client_in_kitexs_order(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_wheels(log, monkeypatch, "client_core")
    service = LogCodec().loads("service Store {\n get(key)\n}").Store
    service.codec.log = Log()

    class Fails:
        async def get(self, key: str) -> Any:
            raise ValueError("so that the error handler is seen")

    async with connected(service, Fails(), **client_options(log)) as client:
        service.codec.log = log
        log.lines.clear()
        derived = client.with_options(middlewares=[log.middleware("user of this call")])
        with pytest.raises(elanus.ApplicationError):
            await derived.get("k")
    entered = list(log.lines)
    entered.remove("decode")  # the server's
    # Two rooms are seen when they are left: the error handler, first of all, and the fallback.
    assert entered == [
        *(line for line in CLIENT_ORDER if line not in ("fallback", "error_map")),
        "error_map",
        "fallback",
        "trace finish",
    ]


async def test_a_stream_walks_through_the_same_rooms_but_for_those_that_would_repeat_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_wheels(log, monkeypatch, "client_core")
    async with connected(idl.Store, Store(), **client_options(log)) as client:
        log.lines.clear()
        derived = client.with_options(middlewares=[log.middleware("user of this call")])
        assert [item async for item in derived.list("x")] == ["x0", "x1", "x2"]
    left_out = {"fallback", "retry", "error_map", "send"}
    expected = [line.replace("user unary", "user stream") for line in CLIENT_ORDER if line not in left_out]
    assert log.lines == [*expected, "metadata read", "trace finish"]


def test_the_stages_of_a_client() -> None:
    assert [name for name, _ in CLIENT_STAGES] == [
        "trace",
        "recover",
        "fallback",
        "retry",
        "service_breaker",
        "router",
        "timeout",
        "user_kind",
        "user_call",
        "user_universal",
        "acl",
        "proxy",
        "resolve",
        "instance_breaker",
        "instance_user",
        "error_map",
        "metadata",
    ]


def test_the_stages_of_a_server() -> None:
    assert [name for name, _ in SERVER_STAGES] == [
        "trace",
        "recover",
        "metadata",
        "limit",
        "breaker",
        "decode",
        "timeout",
        "user_universal",
        "acl",
        "error_map",
        "user_kind",
    ]


async def test_a_call_walks_through_the_rooms_of_a_server_in_kitexs_order(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_wheels(log, monkeypatch, "server_core")
    service = LogCodec().loads("service Store {\n get(key)\n}").Store
    service.codec.log = Log()

    class Fails:
        async def get(self, key: str) -> Any:
            log.lines.append("handler")
            raise ValueError("so that the error handler is seen")

    server = elanus.Server(
        handler_timeout=5.0,
        tracers=[LogTracer(log)],
        limiter=LogLimiter(log),
        breaker=LogBreaker(log, "breaker"),
        middlewares=[log.middleware("user universal 1"), log.middleware("user universal 2")],
        unary_middlewares=[log.middleware("user unary")],
        stream_middlewares=[log.middleware("user stream")],
        acl=[log.acl],
        error_handler=log.error_handler,
        metadata_handlers=[LogMetadata(log)],
    )
    async with connected(service, Fails(), server=server) as client:
        log.lines.clear()
        request = client.get("k")
        service.codec.log = log
        with pytest.raises(elanus.ApplicationError):
            await request
    log.lines.remove("send")  # the client's
    assert log.lines == [
        "trace",
        "metadata read",
        "limit",
        "breaker",
        "decode",
        "timeout",
        "user universal 1",
        "user universal 2",
        "acl",
        "user unary",
        "handler",
        "error_map",
        "metadata write",
        "trace finish",
    ]


# -- left-out rooms --------------------------------------------------------------------------------------------------


class NoInstances:
    picker: Picker | None = None
    name = resolver = "none"
    instances: Sequence[Instance] = ()

    async def first(self) -> Picker:
        raise NotImplementedError


def client_rooms(method: MethodInfo, **options: Any) -> list[str]:
    with asyncio.Runner() as runner:
        parts = ClientParts(ClientOptions.from_code(options), TimerWheel(runner.get_loop()), NoInstances())
        return [name for name, stage in CLIENT_STAGES for _ in stage(parts, method)]


def server_rooms(method: MethodInfo, **options: Any) -> list[str]:
    with asyncio.Runner() as runner:
        parts = ServerParts(ServerOptions.from_code(options), TimerWheel(runner.get_loop()))
        return [name for name, stage in SERVER_STAGES for _ in stage(parts, idl.Store, method)]


@pytest.mark.parametrize("method", [UNARY, STREAM], ids=str)
def test_rooms_that_nobody_asked_for_are_not_in_the_chain(method: MethodInfo) -> None:
    assert client_rooms(method) == ["recover", "timeout", "resolve"]
    assert server_rooms(method) == ["recover", "decode", "timeout"]


def test_each_option_brings_its_room_and_no_other() -> None:
    log = Log()
    for name, room in [
        ("fallback", "fallback"),
        ("unary_middlewares", "user_kind"),
        ("instance_middlewares", "instance_user"),
        ("acl", "acl"),
        ("error_handler", "error_map"),
        ("metadata_handlers", "metadata"),
    ]:
        rooms = client_rooms(UNARY, **{name: client_options(log)[name]})
        assert sorted(rooms) == sorted(["recover", "timeout", "resolve", room])


def test_the_seats_of_the_router_and_the_proxy_are_reserved() -> None:
    log = Log()
    options = {name: value for name, value in client_options(log).items() if name != "timeout"}
    rooms = client_rooms(UNARY, **options)
    names = [name for name, _ in CLIENT_STAGES]
    assert "router" not in rooms
    assert "proxy" not in rooms
    assert names.index("service_breaker") < names.index("router") < names.index("timeout"), "it decides on timeouts"
    assert names.index("acl") < names.index("proxy") < names.index("resolve")


def test_a_policy_that_looks_empty_is_a_policy_all_the_same() -> None:
    class Empty(LogBreaker):
        def __len__(self) -> int:
            return 0

    with asyncio.Runner() as runner:
        parts = ClientParts(
            ClientOptions(),
            TimerWheel(runner.get_loop()),
            NoInstances(),
            service_breaker=Empty(Log(), "x"),
        )
        rooms = [name for name, stage in CLIENT_STAGES for _ in stage(parts, UNARY)]
    assert "service_breaker" in rooms


async def test_client_and_server_name_the_rooms_of_a_call() -> None:
    server = elanus.Server(acl=[lambda call: None])
    async with connected(idl.Store, Store(), server=server) as client:
        _check_rooms(client, server)


def _check_rooms(client: elanus.Client, server: elanus.Server) -> None:
    assert server.rooms("Store", "get") == ["recover", "decode", "timeout", "acl", "handler"]
    with pytest.raises(elanus.ConfigError, match="there is no method Store/nope"):
        server.rooms("Store", "nope")
    assert client.rooms("get") == ["recover", "timeout", "resolve", "send"]
    derived = client.with_options(middlewares=[lambda endpoint: endpoint])
    assert derived.rooms("get") == ["recover", "timeout", "user_call", "resolve", "send"]
    with pytest.raises(elanus.ConfigError, match="has no method 'nope'"):
        client.rooms("nope")
