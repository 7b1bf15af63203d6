"""Retries and hedges of real clients over several instances: where they go, what they may not do, who hears of them."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.store import Store, idl

import elanus
from elanus.contracts.tracer import Tracer
from elanus.testing import InTurn, MemoryTransport, connected, run_virtual
from elanus_retrier_budget import (
    ALL_ERRORS,
    BackupPolicy,
    BudgetRetrier,
    FailurePolicy,
    FixedBackOff,
    MixedPolicy,
    RetryOn,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


class Timed(Store):
    """Answers with its own name after so many seconds; ``None``: it fails at once."""

    def __init__(self, name: str, seconds: float | None) -> None:
        super().__init__()
        self.name, self.seconds = name, seconds
        self.requests = 0
        self.cancelled = 0
        self.left: list[float | None] = []

    async def get(self, key: str) -> Any:
        self.requests += 1
        self.left.append(elanus.current_call().remaining())
        if self.seconds is None:
            raise elanus.ApplicationError(6, f"{self.name} is broken")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.name

    async def note(self, text: str) -> None:
        self.notes.append(text)


@asynccontextmanager
async def fleet(*handlers: Timed, **options: Any) -> AsyncIterator[elanus.Client]:
    """A client of one instance per handler, picked in turn: ``a``, ``b`` and so on."""
    servers = {}
    for handler in handlers:
        server = servers[f"{handler.name}:1"] = elanus.Server()
        server.add_service(idl.Store, handler)
        await server.start()
    options.setdefault("balancer", InTurn())
    transport = options.pop("transport", None) or MemoryTransport(servers)
    async with elanus.Client(idl.Store, list(servers), transport=transport, **options) as client:
        yield client
    for server in servers.values():
        await server.stop()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def run() -> None:
        run_virtual(test())

    run.__name__ = test.__name__
    return run


def instances(result: elanus.Result) -> list[str | None]:
    return [attempt.instance for attempt in result.timeline.attempts]


@virtual
async def test_a_retry_goes_to_an_instance_that_was_not_tried() -> None:
    async with fleet(
        Timed("a", 60), Timed("b", 60), Timed("c", 0), retrier=BudgetRetrier(FailurePolicy()), attempt_timeout=0.1
    ) as client:
        result = await client.invoke("get", "k")
    assert result.reply == "c"
    assert instances(result) == ["a:1", "b:1", "c:1"]


@virtual
async def test_a_hedge_goes_elsewhere_than_the_attempt_that_runs() -> None:
    a, b = Timed("a", 60), Timed("b", 0)
    async with fleet(a, b, retrier=BudgetRetrier(BackupPolicy(delay=0.1))) as client:
        result = await client.invoke("get", "k")
        await asyncio.sleep(1)
    assert result.reply == "b"
    assert result.instance is not None
    assert result.instance.address == "b:1"
    assert instances(result) == ["a:1", "b:1"]
    assert (a.requests, a.cancelled) == (1, 1), "the server was told"


@virtual
async def test_the_same_instance_on_request() -> None:
    for policy in (
        FailurePolicy(same_instance=True),
        BackupPolicy(delay=0.05, max_retry_times=2, same_instance=True),
        MixedPolicy(delay=0.05, max_retry_times=2, same_instance=True),
    ):
        a, b = Timed("a", 60), Timed("b", 0)
        async with fleet(a, b, retrier=BudgetRetrier(policy), attempt_timeout=0.2) as client:
            with pytest.raises(elanus.RpcTimeoutError) as caught:
                await client.get("k")
        assert [attempt.instance for attempt in caught.value.attempts] == ["a:1"] * 3
        assert b.requests == 0


@virtual
async def test_when_all_were_tried_any_may_be_tried_again() -> None:
    a, b = Timed("a", None), Timed("b", None)
    retrier = BudgetRetrier(FailurePolicy(max_retry_times=5, on=ALL_ERRORS))
    async with fleet(a, b, retrier=retrier) as client:
        with pytest.raises(elanus.ApplicationError) as caught:
            await client.get("k")
    assert a.requests + b.requests == len(caught.value.attempts) == 6
    assert min(a.requests, b.requests) >= 1


@virtual
async def test_a_method_that_is_not_idempotent_is_neither_retried_nor_hedged() -> None:
    never = {"get": elanus.MethodOptions(idempotent=False)}
    for policy, said in [
        (FailurePolicy(on=ALL_ERRORS), "not idempotent"),
        (MixedPolicy(delay=0.05), "not idempotent"),
        (BackupPolicy(delay=0.05), "no reply"),
    ]:
        a, b = Timed("a", 60), Timed("b", 0)
        async with fleet(a, b, retrier=BudgetRetrier(policy), attempt_timeout=0.2, methods=never) as client:
            with pytest.raises(elanus.RpcTimeoutError, match=said) as caught:
                await client.get("k")
        assert len(caught.value.attempts) == 1
        assert (a.requests, b.requests) == (1, 0)


@virtual
async def test_what_was_never_sent_is_tried_again_whatever_the_method() -> None:
    a = Timed("a", 0)
    server = elanus.Server()
    server.add_service(idl.Store, a)
    await server.start()
    servers: dict[str, elanus.Server] = {}
    asyncio.get_running_loop().call_later(0.02, servers.update, {"a:1": server})
    retrier = BudgetRetrier(FailurePolicy(max_retry_times=5, on=RetryOn(unsent=True), back_off=FixedBackOff(0.01)))
    async with elanus.Client(
        idl.Store,
        ["a:1", "b:1"],
        transport=MemoryTransport(servers),
        balancer=InTurn(),
        retrier=retrier,
        methods={"get": elanus.MethodOptions(idempotent=False)},
    ) as client:
        result = await client.invoke("get", "k")
    await server.stop()
    assert result.reply == "a"
    assert len(result.timeline.attempts) > 1
    assert a.requests == 1


@virtual
async def test_each_attempt_tells_its_server_what_is_left_for_it() -> None:
    a, b = Timed("a", 60), Timed("b", 60)
    retrier = BudgetRetrier(FailurePolicy(max_retry_times=1))
    async with fleet(a, b, retrier=retrier, attempt_timeout=0.3, timeout=0.5) as client:
        with pytest.raises(elanus.RpcTimeoutError) as caught:
            await client.get("k")
    assert a.left == [pytest.approx(0.3, abs=0.02)], "its attempt timeout"
    assert b.left == [pytest.approx(0.2, abs=0.02)], "what is left of the whole"
    assert caught.value.limit == "timeout"


@virtual
async def test_tracers_and_fallbacks_see_one_call() -> None:
    class Counting(Tracer):
        name = "counting"
        told: list[str]

        def __init__(self) -> None:
            self.told = []

        def start(self, call: elanus.Call) -> None:
            self.told.append("start")

        def finish(self, call: elanus.Call, error: BaseException | None) -> None:
            self.told.append(f"finish {call.attempt} at {call.instance}: {error!r}")

    async def decide(call: elanus.Call, reply: Any, error: Exception | None) -> Any:
        seen.append((reply, error))
        return reply

    tracer, seen = Counting(), list[Any]()
    async with fleet(
        Timed("a", 60),
        Timed("b", 0),
        retrier=BudgetRetrier(BackupPolicy(delay=0.05)),
        tracers=[tracer],
        fallback=decide,
    ) as client:
        assert await client.get("k") == "b"
    assert tracer.told == ["start", "finish 1 at b:1: None"]
    assert seen == [("b", None)]


@virtual
async def test_a_method_a_call_and_a_derived_client_may_have_retriers_of_their_own() -> None:
    a, b = Timed("a", 60), Timed("b", 0)
    methods = {"get": elanus.MethodOptions(retrier=False)}
    async with fleet(a, b, retrier=BudgetRetrier(BackupPolicy(delay=0.05)), attempt_timeout=0.2, methods=methods) as c:
        assert "retry" not in c.rooms("get")
        assert "retry" in c.rooms("put")
        with pytest.raises(elanus.RpcTimeoutError) as caught:
            await c.get("k")
        assert len(caught.value.attempts) == 1
        b.seconds, a.seconds = 60, 60
        derived = c.with_options(retrier=BudgetRetrier(FailurePolicy(max_retry_times=4)))
        with pytest.raises(elanus.RpcTimeoutError) as caught:
            await derived.get("k")
        assert len(caught.value.attempts) == 5


@virtual
async def test_oneway_calls_have_nothing_to_try_again() -> None:
    a = Timed("a", 0)
    async with fleet(a, retrier=BudgetRetrier(MixedPolicy(delay=0.05))) as client:
        await client.note("once")
        await asyncio.sleep(1)
    assert a.notes == ["once"]


@virtual
async def test_a_thousand_hedged_calls_of_a_client_leave_no_garbage() -> None:
    retrier = BudgetRetrier(BackupPolicy(delay=0.01, error_rate=0.3), budget=None, percentage_limit=False)
    async with fleet(Timed("a", 0.02), Timed("b", 0), retrier=retrier) as client:
        for _ in range(20):
            await client.get("k")
        await asyncio.sleep(1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(1_000):
                await client.get("k")
            await asyncio.sleep(1)
            found = gc.collect()
        finally:
            gc.enable()
    assert found < 50, f"{found} objects waited for the collector"


@pytest.mark.parametrize(("idempotent", "attempts"), [(True, 2), (None, 1), (False, 1)])
def test_the_options_of_a_method_say_whether_it_may_run_twice(idempotent: bool | None, attempts: int) -> None:
    seen: list[bool | None] = []

    def losing(next_endpoint: Any) -> Any:
        async def endpoint(call: elanus.Call) -> Any:
            seen.append(call.idempotent)
            if len(seen) == 1:
                raise elanus.ConnectionLostError("reset")
            return await next_endpoint(call)

        return endpoint

    async def scenario() -> None:
        methods = {"get": elanus.MethodOptions(idempotent=idempotent)}
        async with connected(
            idl.Store, Store(), retrier="budget", methods=methods, instance_middlewares=[losing]
        ) as client:
            with suppress(elanus.ConnectionLostError):
                await client.get("k")

    run_virtual(scenario())
    assert seen == [idempotent] * attempts
