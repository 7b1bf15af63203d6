"""Options of single methods: call before method before client before provider, and each value says who set it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ConfigError, HandlerOptions, MethodOptions, RpcTimeoutError, Timeouts
from elanus.options import ClientOptions, ServerOptions
from elanus.testing import InTurn, MemoryTransport, connected, run_virtual

from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Slow(Store):
    """Takes as many seconds as it is told."""

    async def get(self, key: Any) -> Any:
        await asyncio.sleep(key)
        return key

    async def put(self, key: Any, value: Any) -> None:
        await asyncio.sleep(key)


def virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        run_virtual(scenario())

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


async def limit_of(call: Any) -> tuple[str, float]:
    with pytest.raises(RpcTimeoutError) as raised:
        await call
    return raised.value.limit, raised.value.seconds


@virtual
async def test_a_method_has_limits_of_its_own() -> None:
    methods = {"get": MethodOptions(timeout=0.5), "put": {"attempt_timeout": 0.25}}
    async with connected(idl.Store, Slow(), timeout=2.0, methods=methods) as client:
        assert await limit_of(client.get(60)) == ("timeout", 0.5)
        assert await limit_of(client.put(60, 1)) == ("attempt_timeout", 0.25)
        assert await limit_of(client.with_options(attempt_timeout=3.0).put(60, 1)) == ("timeout", 2.0)


@virtual
async def test_the_call_counts_before_its_method_and_that_before_the_client() -> None:
    """Kitex's ``TestRPCCallWithTimeout``: a call option of 200 ms beats the client's 500 ms."""
    async with connected(idl.Store, Slow(), attempt_timeout=0.5, methods={"put": {"attempt_timeout": 0.4}}) as client:
        assert await limit_of(client.with_options(attempt_timeout=0.2).get(60)) == ("attempt_timeout", 0.2)
        assert await limit_of(client.get(60)) == ("attempt_timeout", 0.5)
        assert await limit_of(client.put(60, 1)) == ("attempt_timeout", 0.4)
        assert await limit_of(client.with_options(attempt_timeout=0.3).put(60, 1)) == ("attempt_timeout", 0.3)
    async with connected(idl.Store, Slow(), timeout=0.5) as client:
        assert await limit_of(client.with_options(timeout=0.2).get(60)) == ("timeout", 0.2)


@virtual
async def test_infinity_takes_a_limit_away_from_one_method_or_call() -> None:
    endless = {"timeout": math.inf, "attempt_timeout": math.inf}

    def provider(call: elanus.Call) -> Timeouts:
        return Timeouts(attempt_timeout=0.25)

    options: dict[str, Any] = {"timeout": 1.0, "attempt_timeout": 0.5, "timeout_provider": provider}
    async with connected(idl.Store, Slow(), methods={"get": endless}, **options) as client:
        assert await client.get(3600) == 3600
        assert await limit_of(client.put(60, 1)) == ("attempt_timeout", 0.5)
        assert await client.with_options(**endless).put(3600, 1) is None


@virtual
async def test_a_provider_counts_where_not_even_the_method_says() -> None:
    def provider(call: elanus.Call) -> Timeouts:
        return Timeouts(attempt_timeout=0.25)

    async with connected(
        idl.Store, Slow(), timeout_provider=provider, methods={"get": {"attempt_timeout": 5.0}}
    ) as client:
        assert await client.get(3) == 3
        assert await limit_of(client.put(60, 1)) == ("attempt_timeout", 0.25)


class SlowToConnect(MemoryTransport):
    async def connect(self, address: str, lane: str, options: Any) -> Any:
        await asyncio.sleep(2.0)
        return await super().connect(address, lane, options)


@virtual
async def test_connecting_for_a_method_has_the_methods_limit() -> None:
    def provider(call: elanus.Call) -> Timeouts:
        return Timeouts(connect_timeout=3.0)

    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"connect_timeout": 1.5}, {}, "within 0.5 s"),
        ({"timeout_provider": provider}, {}, "within 0.5 s"),
        ({"connect_timeout": 1.5}, {"connect_timeout": 0.25}, "within 0.25 s"),
    ]
    for options, per_call, text in cases:
        server = await started(Slow())
        transport, methods = SlowToConnect(server), {"get": {"connect_timeout": 0.5}}
        async with elanus.Client(
            idl.Store, "memory:1", transport=transport, balancer=InTurn(), methods=methods, **options
        ) as client:
            with pytest.raises(elanus.NoInstanceError, match=text):
                await client.with_options(**per_call).get(0)
        await server.stop()


async def replaced(call: Any, reply: Any, error: Exception | None) -> Any:
    return "replaced"


async def by_the_client(call: Any, reply: Any, error: Exception | None) -> Any:
    return "by the client"


@virtual
async def test_a_method_has_a_fallback_of_its_own_or_none_and_a_call_decides_before_it() -> None:
    methods = {"get": {"fallback": replaced}, "put": {"fallback": False}}
    async with connected(idl.Store, Store(), fallback=by_the_client, methods=methods) as client:
        assert await client.get("k") == "replaced"
        assert await client.put("k", 1) is None
        assert client.rooms("put") == [room for room in client.rooms("get") if room != "fallback"]
        assert await client.with_options(fallback=None).get("k") == "value of k"
        assert await client.with_options(fallback=by_the_client).put("k", 1) == "by the client"
        derived = client.with_options(fallback=None).with_options(timeout=1.0, middlewares=[lambda endpoint: endpoint])
        assert await derived.get("k") == "value of k", "what a derived client is made of it hands on"


@virtual
async def test_a_server_limits_the_handlers_of_a_method() -> None:
    server = elanus.Server(handler_timeout=1.0, methods={"Store/get": HandlerOptions(handler_timeout=3.0)})
    async with connected(idl.Store, Slow(), server=server) as client:
        assert await client.get(2) == 2
        with pytest.raises(elanus.ApplicationError, match=r"over its deadline \(1.000 s\)"):
            await client.put(2, 1)


def test_the_exact_name_of_a_servers_method_counts_before_the_short_one() -> None:
    options = ServerOptions.from_code(
        {
            "handler_timeout": 1.0,
            "methods": {"get": {"handler_timeout": 2.0, "enforce_deadline": False}, "A/get": {"handler_timeout": 3.0}},
        }
    )
    assert options.for_method("A", "get") == HandlerOptions(3.0, False)
    assert options.for_method("B", "get") == HandlerOptions(2.0, False)
    assert options.for_method("B", "put") == HandlerOptions(1.0, True)
    assert options.effective_for("A", "get")["handler_timeout"] == (3.0, "code")


def test_whoever_sets_an_option_of_a_method_leaves_its_other_options_as_they_are() -> None:
    options = ClientOptions.from_code({"timeout": 5.0, "methods": {"get": MethodOptions(timeout=1.0)}})
    options = options.written_by("house").with_defaults(
        methods={"get": {"timeout": 9.0, "attempt_timeout": 0.5}, "put": {"idempotent": True}}
    )
    assert options.methods == {
        "get": MethodOptions(timeout=1.0, attempt_timeout=0.5),
        "put": MethodOptions(idempotent=True),
    }
    options = options.written_by("ops").replace(methods={"get": {"timeout": 2.0}})
    effective = options.effective_for("get")
    assert effective["timeout"] == (2.0, "set by ops")
    assert effective["attempt_timeout"] == (0.5, "default of house")
    assert effective["connect_timeout"] == (1.0, "default")
    assert options.effective_for("list")["timeout"] == (5.0, "code")


def test_what_is_wrong_with_a_method_is_said_when_the_client_is_built() -> None:
    def make(**options: Any) -> None:
        elanus.Client(idl.Store, "memory:1", transport=MemoryTransport({}), balancer=InTurn(), **options)

    cases = [
        ({"gett": {}}, r"unknown method of Store: 'gett'\. Did you mean 'get'\?"),
        ({"get": {"timout": 1}}, r"unknown option of method 'get': 'timout'\. Did you mean 'timeout'\?"),
        ({"get": {"timeout": 0}}, "method option 'timeout' is 0"),
        ({"get": {"idempotent": 1}}, r"method option 'idempotent' is 1\. Give True or False"),
        ({"get": 1}, r"methods\['get'\] is 1\. Give an elanus.MethodOptions, or a dict"),
        (["get"], "Give a mapping"),
    ]
    for methods, text in cases:
        with pytest.raises(ConfigError, match=text):
            make(methods=methods)
