"""Timeouts: which limit wins, whether the request was sent, and that the caller's own cancellation stays one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ApplicationError, RpcTimeoutError, Timeouts, current_call
from elanus.contracts.retrier import Plan, Retrier, Retry, Stop
from elanus.testing import InTurn, MemoryTransport, connected, run_virtual

from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Slow(Store):
    """Takes as many seconds as it is told, and knows how that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.left: list[float | None] = []

    async def get(self, key: Any) -> Any:
        self.left.append(current_call().remaining())
        try:
            await asyncio.sleep(key)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        self.seen.append("done")
        return key


class Late(Slow):
    async def note(self, text: str) -> None:
        self.left.append(current_call().remaining())
        await asyncio.sleep(2)
        await super().note(text)


def virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in virtual time: seconds cost nothing and are exact."""

    def test() -> None:
        run_virtual(scenario())

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


def now() -> float:
    return asyncio.get_running_loop().time()


async def fails(call: Any) -> tuple[RpcTimeoutError, float]:
    started = now()
    with pytest.raises(RpcTimeoutError) as raised:
        await call
    return raised.value, now() - started


@virtual
async def test_the_budget_ends_a_call() -> None:
    handler = Slow()
    async with connected(idl.Store, handler, timeout=2.0) as client:
        error, took = await fails(client.get(60))
        await asyncio.sleep(0.1)
    assert took == pytest.approx(2.0, abs=0.02)
    assert (error.seconds, error.limit, error.sent, error.phase) == (2.0, "timeout", True, "wait")
    assert str(error).startswith("Store/get at memory:1 [wait]: no reply within 2.000 s (timeout). Check the load")
    assert handler.seen == ["cancelled"], "the server ends what nobody waits for"


@virtual
async def test_the_attempt_timeout_ends_an_attempt() -> None:
    async with connected(idl.Store, Slow(), attempt_timeout=0.5) as client:
        error, took = await fails(client.get(60))
    assert (error.seconds, error.limit) == (0.5, "attempt_timeout")
    assert took == pytest.approx(0.5, abs=0.02)


@virtual
async def test_the_sooner_limit_wins() -> None:
    async with connected(idl.Store, Slow()) as client:
        cases = [
            ({"timeout": 1.0, "attempt_timeout": 2.0}, "timeout"),
            ({"timeout": 2.0, "attempt_timeout": 1.0}, "attempt_timeout"),
        ]
        for options, limit in cases:
            error, took = await fails(client.with_options(**options).get(60))
            assert (error.limit, error.seconds) == (limit, 1.0)
            assert took == pytest.approx(1.0, abs=0.02)


@virtual
async def test_the_calls_own_limit_counts_before_the_clients() -> None:
    async with connected(idl.Store, Slow(), timeout=1.0, attempt_timeout=1.0) as client:
        assert await client.with_options(timeout=5.0, attempt_timeout=5.0).get(3) == 3
        error, _ = await fails(client.with_options(timeout=0.25).get(3))
        assert error.seconds == 0.25


@virtual
async def test_a_provider_counts_where_neither_call_nor_client_says() -> None:
    def provider(call: elanus.Call) -> Timeouts | None:
        return Timeouts(attempt_timeout=0.5) if call.method.name == "get" else None

    async with connected(idl.Store, Slow(), timeout_provider=provider) as client:
        error, _ = await fails(client.get(60))
        assert (error.limit, error.seconds) == ("attempt_timeout", 0.5)
        assert await client.with_options(attempt_timeout=5.0).get(3) == 3
        assert await client.put("k", 1) is None
    async with connected(idl.Store, Slow(), timeout_provider=provider, attempt_timeout=5.0) as client:
        assert await client.get(3) == 3


class SlowToConnect(MemoryTransport):
    async def connect(self, address: str, lane: str, options: Any) -> Any:
        await asyncio.sleep(2.0)
        return await super().connect(address, lane, options)


async def unconnected(**options: Any) -> tuple[elanus.Server, elanus.Client]:
    server = await started(Slow())
    return server, elanus.Client(
        idl.Store, "memory:1", transport=SlowToConnect(server), **{"balancer": InTurn(), **options}
    )


@virtual
async def test_a_call_that_ends_while_connecting_was_not_sent() -> None:
    server, client = await unconnected(connect_timeout=5.0)
    async with client:
        error, _ = await fails(client.with_options(timeout=1.0).get(0))
        assert (error.sent, error.phase) == (False, "connect")
    await server.stop()


@virtual
async def test_connecting_has_a_limit_of_its_own_with_kitexs_precedence() -> None:
    def provider(call: elanus.Call) -> Timeouts:
        return Timeouts(connect_timeout=3.0)

    cases: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
        ({}, {}, "within 1 s"),
        ({"connect_timeout": 1.5}, {}, "within 1.5 s"),
        ({"connect_timeout": 1.5}, {"connect_timeout": 0.5}, "within 0.5 s"),
        ({"timeout_provider": provider, "connect_timeout": 1.5}, {}, "within 1.5 s"),
        ({"timeout_provider": provider}, {"connect_timeout": 0.5}, "within 0.5 s"),
        ({"timeout_provider": provider}, {}, None),
    ]
    for options, per_call, text in cases:
        server, client = await unconnected(**options)
        async with client:
            if text is None:
                assert await client.get(0) == 0
            else:
                with pytest.raises(elanus.NoInstanceError, match=text) as raised:
                    await client.with_options(**per_call).get(0)
                assert not raised.value.sent
        await server.stop()


@virtual
async def test_a_budget_that_is_spent_fails_before_anything_is_sent() -> None:
    class Caller(Store):
        async def get(self, key: Any) -> Any:
            inner: elanus.Client = self.inner  # type: ignore[attr-defined]
            await asyncio.sleep(0.5)
            return await inner.get(key)

    handler, outer = Slow(), Caller()
    async with connected(idl.Store, handler) as inner:
        outer.inner = inner  # type: ignore[attr-defined]
        server = elanus.Server(enforce_deadline=False)
        async with connected(idl.Store, outer, server=server) as client:
            _error, took = await fails(client.with_options(timeout=0.25).get(0))
            assert took == pytest.approx(0.25, abs=0.02)
            await asyncio.sleep(1)
    assert handler.seen == []


@virtual
async def test_a_users_cancellation_stays_a_cancellation() -> None:
    handler = Slow()
    async with connected(idl.Store, handler, timeout=5.0) as client:
        task = asyncio.create_task(client.get(60))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)
        assert handler.seen == ["cancelled"]
        assert await client.get(1) == 1, "the connection goes on"


@virtual
async def test_an_outer_timeout_of_asyncio_stays_its_own() -> None:
    async with connected(idl.Store, Slow(), timeout=5.0) as client:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(1):
                await client.get(60)
        assert not isinstance(raised.value, elanus.ElanusError)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@virtual
async def test_a_cancellation_at_the_moment_of_expiry_is_not_swallowed() -> None:
    async with connected(idl.Store, Slow(), timeout=1.0) as client:
        task = asyncio.create_task(client.get(60))
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        expiry = min(timer.when() for timer in loop._scheduled if not timer.cancelled())  # type: ignore[attr-defined]
        loop.call_at(expiry, task.cancel)  # in the same turn of the loop
        await asyncio.wait([task])
        assert task.cancelled(), "somebody else asked for it too, and must not get an RpcTimeoutError"


@virtual
async def test_expiry_leaves_the_task_as_it_was() -> None:
    def swallow(next_endpoint: Any) -> Any:
        async def endpoint(call: Any) -> Any:
            try:
                return await next_endpoint(call)
            except asyncio.CancelledError:
                return "made of it"

        return endpoint

    task = asyncio.current_task()
    assert task is not None
    async with connected(idl.Store, Slow(), timeout=1.0) as client:
        await fails(client.get(60))
        assert task.cancelling() == 0
    async with connected(idl.Store, Slow(), timeout=1.0, middlewares=[swallow]) as client:
        assert await client.get(60) == "made of it"
        assert task.cancelling() == 0
        async with asyncio.timeout(5):
            await asyncio.sleep(1)


@virtual
async def test_the_wire_carries_what_is_left_and_the_server_ends_its_handler() -> None:
    handler = Slow()

    def delayed(next_endpoint: Any) -> Any:
        async def endpoint(call: Any) -> Any:
            await asyncio.sleep(1.0)
            return await next_endpoint(call)

        return endpoint

    async with connected(idl.Store, handler, timeout=3.0, middlewares=[delayed]) as client:
        await fails(client.get(60))
        await asyncio.sleep(0.1)
    assert handler.left[0] == pytest.approx(2.0, abs=0.02)
    assert handler.seen == ["cancelled"]


@virtual
async def test_a_handler_without_a_deadline_has_the_servers() -> None:
    handler = Slow()
    async with connected(idl.Store, handler, server=elanus.Server(handler_timeout=1.0)) as client:
        with pytest.raises(ApplicationError) as raised:
            await client.get(60)
        assert raised.value.message == "handler of Store/get ran over its deadline (1.000 s)"
        assert handler.left[0] == pytest.approx(1.0, abs=0.02)
        assert await client.with_options(timeout=5.0).get(3) == 3, "a caller's deadline counts before it"


@virtual
async def test_a_server_need_not_enforce_deadlines() -> None:
    for enforce, ended in [(True, []), (False, ["late"])]:
        handler = Late()
        async with connected(idl.Store, handler, server=elanus.Server(enforce_deadline=enforce)) as client:
            await client.with_options(timeout=1.0).note("late")  # oneway: its caller waits for nothing
            await asyncio.sleep(5)
        assert handler.left == [pytest.approx(1.0, abs=0.02)], "the deadline is known all the same"
        assert handler.notes == ended


class Again(Retrier):
    name = "again"

    def __init__(self, attempts: int, after: float = 0.0) -> None:
        self.attempts = attempts
        self.after = after
        self.ended: list[tuple[int, str]] = []

    def plan(self, call: Any, now: float) -> Plan:
        return _AgainPlan(self)


class _AgainPlan(Plan):
    def __init__(self, policy: Again) -> None:
        self.policy = policy

    def ended(self, attempt: Any, reply: Any, error: Exception | None, running: int, now: float) -> Retry | Stop:
        self.policy.ended.append((attempt.attempt, type(error).__name__))
        if error is None:
            return Stop()
        return Retry(self.policy.after) if attempt.attempt + 1 < self.policy.attempts else Stop("attempts are used up")


@virtual
async def test_each_attempt_has_its_own_limit_inside_of_the_budget() -> None:
    retrier = Again(10)
    async with connected(idl.Store, Slow(), timeout=2.2, attempt_timeout=1.0, retrier=retrier) as client:
        error, took = await fails(client.get(60))
    assert took == pytest.approx(2.2, abs=0.05)
    assert [number for number, _ in retrier.ended] == [0, 1, 2]
    assert error.limit == "timeout"


@virtual
async def test_an_attempt_that_could_not_begin_in_time_is_not_made() -> None:
    retrier = Again(10, after=3.0)
    async with connected(idl.Store, Slow(), timeout=2.5, attempt_timeout=1.0, retrier=retrier) as client:
        error, took = await fails(client.get(60))
    assert took == pytest.approx(1.0, abs=0.02)
    assert error.limit == "attempt_timeout"
    assert retrier.ended == [(0, "RpcTimeoutError")]


@virtual
async def test_the_reason_for_no_further_attempt_is_part_of_the_error() -> None:
    async with connected(idl.Store, Slow(), attempt_timeout=1.0, retrier=Again(2)) as client:
        error, _ = await fails(client.get(60))
    assert "not tried again: attempts are used up" in str(error)
