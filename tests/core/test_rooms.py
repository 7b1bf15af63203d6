"""What the rooms do, seen through both chains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.contracts.limiter import Refusal
from elanus.contracts.metadata import MetadataHandler
from elanus.contracts.tracer import Tracer
from elanus.testing import connected

from .recording import (
    Log,
    LogBreaker,
    LogLimiter,
    LogRetrier,
    LogTracer,
)
from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call

UNARY = idl.Store.methods["get"]
STREAM = idl.Store.methods["chat"]


@pytest.fixture
def log() -> Log:
    return Log()


async def test_breakers_are_asked_with_kitexs_keys(log: Log) -> None:
    service, instance = LogBreaker(log, "s"), LogBreaker(log, "i")
    async with connected(
        idl.Store, Store(), service_breaker=service, instance_breaker=instance, caller="web", name="store.prod"
    ) as client:
        await client.get("k")
    assert service.keys == ["web/store.prod/get"]
    assert instance.keys == ["memory:1"]


class Count(Breaker):
    """Counts questions and answers, and may refuse."""

    name = "count"

    def __init__(self, *, refuse: str = "") -> None:
        self.refuse = refuse
        self.allowed = self.recorded = 0
        self.outcomes: list[Outcome] = []

    def allow(self, key: str, now: float) -> bool:
        if self.refuse and self.refuse in key:
            return False
        self.allowed += 1
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        self.recorded += 1
        self.outcomes.append(outcome)

    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None: ...


@pytest.mark.parametrize("outcome", ["fine", "fails", "cancelled"])
async def test_every_allow_is_followed_by_exactly_one_record(outcome: str) -> None:
    class Handler(Store):
        async def get(self, key: str) -> Any:
            if outcome == "fails":
                raise ValueError
            if outcome == "cancelled":
                await asyncio.sleep(60)

    service, instance, mine = Count(), Count(), Count()
    async with connected(
        idl.Store, Handler(), service_breaker=service, instance_breaker=instance, server=elanus.Server(breaker=mine)
    ) as client:
        task = asyncio.create_task(client.get("k"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.01)
    said = {"fine": Outcome.SUCCESS, "fails": Outcome.FAILURE, "cancelled": Outcome.IGNORED}[outcome]
    assert service.outcomes == mine.outcomes == [said]
    assert instance.outcomes == [Outcome.SUCCESS if outcome == "fails" else said], "a connection could be got"
    assert service.allowed == service.recorded == 1


async def test_an_open_instance_breaker_sends_the_call_elsewhere_and_an_open_service_breaker_fails_it() -> None:
    from elanus.testing import InTurn, MemoryTransport

    from .store import started

    server = await started()
    transport = MemoryTransport(server)
    targets = ["memory:1", "memory:2"]
    options: dict[str, Any] = {"transport": transport, "balancer": InTurn()}
    async with elanus.Client(idl.Store, targets, instance_breaker=Count(refuse="memory:1"), **options) as client:
        result = await client.invoke("get", "k")
        assert result.peer == "memory:2"
        assert transport.opened == {"memory:2": 1}, "nothing was sent to the instance whose breaker is open"
    async with elanus.Client(idl.Store, targets, service_breaker=Count(refuse="/get"), **options) as client:
        with pytest.raises(elanus.CircuitOpenError, match="the circuit breaker of '/Store/get' is open"):
            await client.get("k")
    await server.stop()


@pytest.mark.parametrize("refusal", ["no", "async no", "none"])
async def test_rules_may_refuse_on_either_side(refusal: str) -> None:
    def rule(call: Call) -> Any:
        if refusal == "async no":
            return later("no")
        return "no" if refusal == "no" else None

    async def later(reason: str) -> str:
        return reason

    async with connected(idl.Store, Store(), acl=[rule]) as client:
        if refusal == "none":
            assert await client.get("k") == "value of k"
        else:
            with pytest.raises(elanus.AclError, match="request forbidden: no") as raised:
                await client.get("k")
            assert not raised.value.sent
    async with connected(idl.Store, Store(), server=elanus.Server(acl=[rule])) as client:
        if refusal == "none":
            assert await client.get("k") == "value of k"
        else:
            with pytest.raises(elanus.ApplicationError) as refused:
                await client.get("k")
            assert refused.value.message == "request forbidden: no"


async def test_a_limiter_refuses_before_decoding_with_kitexs_text() -> None:
    class Full(LogLimiter):
        def acquire(self, call: Call, now: float) -> Refusal | None:
            return Refusal("qps", 0, "request too frequent")

        def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
            raise AssertionError("it was not acquired")

    async with connected(idl.Store, Store(), server=elanus.Server(limiter=Full(Log()))) as client:
        with pytest.raises(elanus.ApplicationError) as raised:
            await client.get("k")
    assert raised.value.message == "request over limit: request too frequent"


async def test_an_error_handler_decides_what_outer_rooms_and_callers_see() -> None:
    seen = []

    def outer(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            try:
                return await next_endpoint(call)
            except Exception as error:
                seen.append(type(error).__name__)
                raise

        return endpoint

    def mapped(call: Call, error: Exception) -> Exception:
        return idl.NotFound(str(call.method)) if isinstance(error, (ValueError, elanus.ApplicationError)) else error

    class Fails(Store):
        async def get(self, key: str) -> Any:
            raise ValueError("a bug")

    async with connected(idl.Store, Fails(), error_handler=mapped, middlewares=[outer]) as client:
        with pytest.raises(idl.NotFound) as raised:
            await client.get("k")
        assert raised.value.key == "Store/get"
        assert isinstance(raised.value.__cause__, elanus.ApplicationError)
    server = elanus.Server(error_handler=mapped, middlewares=[outer])
    async with connected(idl.Store, Fails(), server=server) as client:
        with pytest.raises(idl.NotFound):
            await client.get("k")
    assert seen == ["NotFound", "NotFound"]


async def test_a_fallback_has_the_last_word() -> None:
    asked: list[tuple[Any, str]] = []

    async def fallback(call: Call, reply: Any, error: Exception | None) -> Any:
        asked.append((reply, type(error).__name__))
        if isinstance(error, ValueError):
            raise error
        return "from the fallback" if error is not None else reply

    class Moody(Store):
        async def get(self, key: str) -> Any:
            if key == "business":
                raise elanus.BizStatusError(1, "no")
            if key == "fails":
                raise RuntimeError
            return key

    async with connected(idl.Store, Moody(), fallback=fallback) as client:
        assert await client.get("fine") == "fine"
        assert await client.get("fails") == "from the fallback"
        assert await client.get("business") == "from the fallback"
    assert asked == [("fine", "NoneType"), (None, "ApplicationError"), (None, "BizStatusError")]


async def test_a_retrier_makes_further_attempts_on_copies_of_the_call(log: Log) -> None:
    class Flaky(Store):
        tries = 0

        async def get(self, key: str) -> Any:
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("not yet")
            return [key, elanus.current_call().retried]

    seen: list[Call] = []
    numbers: list[int] = []

    def watch(next_endpoint: Any) -> Any:
        def endpoint(call: Call) -> Any:
            seen.append(call)
            numbers.append(call.attempt)
            return next_endpoint(call)

        return endpoint

    tracer = LogTracer(log)
    async with connected(
        idl.Store, Flaky(), retrier=LogRetrier(log, 3), middlewares=[watch], tracers=[tracer]
    ) as client:
        result = await client.invoke("get", "k")
    assert result.reply == ["k", True], "the server is told that it is a further attempt"
    assert result.attempt == 2
    assert numbers == [0, 1, 2]
    assert len({id(call) for call in seen}) == 3
    assert len({id(call.argument_payload) for call in seen[1:]}) == 1, "the payload is encoded once"
    assert log.lines.count("trace") == 1, "tracers see one call"


async def test_tracers_finish_in_reverse_and_one_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    class Named(Tracer):
        def __init__(self, name: str, fails: str = "") -> None:
            self.name, self.fails = name, fails

        def start(self, call: Call) -> None:
            lines.append(f"start {self.name}")
            if self.fails == "start":
                raise RuntimeError("tracer bug")

        def finish(self, call: Call, error: BaseException | None) -> None:
            lines.append(f"finish {self.name}")
            if self.fails == "finish":
                raise RuntimeError("tracer bug")

    tracers = [Named("a"), Named("b", "start"), Named("c", "finish"), Named("d")]
    async with connected(idl.Store, Store(), tracers=tracers) as client:
        assert await client.get("k") == "value of k"
    assert lines == ["start a", "start b", "start c", "start d", "finish d", "finish c", "finish a"]
    assert caplog.text.count("Traceback") == 2


async def test_metadata_handlers_read_and_write_on_both_sides() -> None:
    class Stamp(MetadataHandler):
        def write(self, call: Call) -> None:
            call.headers = {**call.headers, "stamp": "from the client", 7: "seven"}

        def read(self, call: Call) -> None:
            stamps.append(call.reply_metadata.get("stamp", ""))

    class ServerStamp(MetadataHandler):
        def read(self, call: Call) -> None:
            stamps.append(call.headers.get("stamp", ""))
            stamps.append(call.headers.get(7, ""))

        def write(self, call: Call) -> None:
            call.send_back("stamp", "from the server")

    stamps: list[str] = []
    server = elanus.Server(metadata_handlers=[ServerStamp()])
    async with connected(idl.Store, Store(), server=server, metadata_handlers=[Stamp()]) as client:
        await client.get("k")
    assert stamps == ["from the client", "seven", "from the server"]
