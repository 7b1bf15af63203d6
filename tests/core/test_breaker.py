"""The breaker's room: what counts as what, one record for each allow, and what leaves it as an event."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.call import Event
from elanus.contracts.breaker import Breaker, Counts, Outcome, State, Transition
from elanus.contracts.limiter import Limiter, Refusal
from elanus.events import EventBus, report_transitions
from elanus.middlewares.breaker import INSTANCE, SERVER, SERVICE, breaker
from elanus.middlewares.outcomes import instance_outcome, server_outcome, service_outcome
from elanus.service import Instance
from elanus.testing import InTurn, MemoryTransport, connected, make_call, run_virtual

from .store import Store, idl, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from elanus.call import Call

SUCCESS, FAILURE, TIMEOUT, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED


class Told(Breaker):
    """Writes down what it is asked and told."""

    name = "told"

    def __init__(self, *, refuse: str = "") -> None:
        self.refuse = refuse
        self.asked: list[str] = []
        self.outcomes: list[Outcome] = []
        self.elapsed: list[float] = []

    def allow(self, key: str, now: float) -> bool:
        self.asked.append(key)
        return not (self.refuse and self.refuse in key)

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        self.outcomes.append(outcome)
        self.elapsed.append(elapsed)

    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None: ...

    def change(self, key: str, before: State, after: State) -> Transition:
        transition = Transition(key, before, after, Counts(1, 2, 1), 5.0)
        self.changed(transition)
        return transition


# -- what counts as what ------------------------------------------------------------------------------------------

ERRORS: list[tuple[BaseException, Outcome, Outcome]] = [
    # error; as seen by the client's service breaker; as seen by the server's breaker, raised by a room
    (elanus.ConfigError("x"), IGNORED, IGNORED),
    (elanus.PluginError("x"), IGNORED, IGNORED),
    (elanus.StateError("x"), IGNORED, IGNORED),
    (elanus.DiscoveryError("x"), IGNORED, IGNORED),
    (elanus.NoInstanceError("store", "file"), IGNORED, IGNORED),
    (elanus.NoInstanceError("store", "file", [elanus.ConnectFailedError("refused")]), FAILURE, IGNORED),
    (elanus.AclError("no"), IGNORED, IGNORED),
    (elanus.LimitExceededError("x"), IGNORED, IGNORED),
    (elanus.CircuitOpenError("a"), IGNORED, IGNORED),
    (elanus.LocalProtocolError("x"), IGNORED, IGNORED),
    (elanus.ConnectFailedError("x"), FAILURE, FAILURE),
    (elanus.ConnectionLostError("x"), FAILURE, FAILURE),
    (elanus.TransportError("x"), FAILURE, FAILURE),
    (elanus.RemoteProtocolError("x"), FAILURE, FAILURE),
    (elanus.RpcCancelledError("x"), FAILURE, FAILURE),
    (elanus.ApplicationError(6, "x"), FAILURE, FAILURE),
    (elanus.RpcTimeoutError(1.0), TIMEOUT, TIMEOUT),
    (TimeoutError(), TIMEOUT, TIMEOUT),
    (elanus.BizStatusError(7, "x"), SUCCESS, FAILURE),
    (ValueError("a bug in a middleware"), FAILURE, FAILURE),
    (asyncio.CancelledError(), IGNORED, IGNORED),
    (KeyboardInterrupt(), IGNORED, IGNORED),
    (GeneratorExit(), IGNORED, IGNORED),
]


def _call(*, picked: bool = True, written: bool = True, event: str = Event.WRITTEN) -> Call:
    call = make_call()
    call.instance = Instance("a:1") if picked else None
    call.written = written
    call.mark(event)
    return call


@pytest.mark.parametrize(("error", "service", "server"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_class_of_errors(error: BaseException, service: Outcome, server: Outcome) -> None:
    assert service_outcome(_call(), error) is service
    assert server_outcome(_call(), error) is server


def test_every_class_of_errors_is_in_the_table() -> None:
    mentioned = {type(error) for error, _, _ in ERRORS}
    parents = {elanus.ElanusError, elanus.RejectedError, elanus.ProtocolError, elanus.RemoteError}
    classes = {value for value in vars(elanus.errors).values() if isinstance(value, type)}
    missing = {one for one in classes if issubclass(one, elanus.ElanusError)} - mentioned - parents
    assert missing == {elanus.CodecError}, "which has tests of its own"


def test_what_cannot_be_encoded_is_no_word_on_the_service() -> None:
    error = elanus.CodecError("no text")
    assert service_outcome(_call(written=False, event=Event.ENCODING), error) is IGNORED
    assert service_outcome(_call(event=Event.REPLIED), error) is FAILURE, "a reply that makes no sense"
    error.phase = "decode"
    assert server_outcome(_call(), error) is IGNORED, "the client's fault"
    error.phase = "encode"
    assert server_outcome(_call(), error) is FAILURE, "the handler's reply does not fit"


@pytest.mark.parametrize("text", ["request over limit: too many", "forbidden by circuitbreaker: service circuitbreak"])
def test_what_the_server_refuses_is_no_word_on_the_service(text: str) -> None:
    assert service_outcome(_call(), elanus.ApplicationError(6, text)) is IGNORED
    assert service_outcome(_call(), elanus.ApplicationError(6, f"{text} [biz error]")) is FAILURE, "a handler said so"


async def test_a_limiter_of_the_server_opens_no_breaker_of_its_clients() -> None:
    class Full(Limiter):
        name = "full"

        def acquire(self, call: Call, now: float) -> Refusal | None:
            return Refusal("full", 1, "too many")

        def release(self, *ended: Any) -> None: ...

    service = Told()
    server = elanus.Server(limiter=Full())
    async with connected(idl.Store, Store(), server=server, service_breaker=service) as client:
        with pytest.raises(elanus.ApplicationError) as raised:
            await client.get("k")
    assert raised.value.refused
    assert service.outcomes == [IGNORED]


def test_no_instance_was_picked_in_time() -> None:
    assert service_outcome(_call(picked=False, written=False), elanus.RpcTimeoutError(1.0)) is IGNORED


def test_what_the_handler_raises_is_its_failure_whatever_its_class() -> None:
    for error, outcome in [
        (elanus.NoInstanceError("other", "file"), FAILURE),  # of a call that the handler made
        (elanus.AclError("other"), FAILURE),
        (elanus.RpcTimeoutError(1.0), TIMEOUT),
        (elanus.BizStatusError(7), SUCCESS),
    ]:
        call = _call()
        call.error = error
        assert server_outcome(call, error) is outcome


@pytest.mark.parametrize(
    ("error", "written", "expired", "event", "outcome"),
    [
        (elanus.ConnectFailedError("refused"), False, False, Event.CONNECTING, FAILURE),
        (elanus.ConnectionLostError("gone"), True, False, Event.WRITTEN, SUCCESS),
        (elanus.ConnectionLostError("gone", sent=False), False, False, Event.CONNECTED, IGNORED),
        (elanus.ApplicationError(6, "x"), True, False, Event.REPLIED, SUCCESS),
        (elanus.CodecError("x"), False, False, Event.ENCODING, IGNORED),
        (elanus.LimitExceededError("pool"), False, False, Event.WAITING, IGNORED),
        (ValueError(), True, False, Event.DECODED, SUCCESS),
        (asyncio.CancelledError(), False, False, Event.CONNECTING, IGNORED),
        (asyncio.CancelledError(), True, False, Event.WRITTEN, IGNORED),
        (asyncio.CancelledError(), False, True, Event.CONNECTING, FAILURE),
        (asyncio.CancelledError(), False, True, Event.WAITING, IGNORED),
        (asyncio.CancelledError(), True, True, Event.WRITTEN, SUCCESS),
    ],
)
def test_an_instance_fails_when_no_connection_can_be_got(
    error: BaseException, written: bool, expired: bool, event: str, outcome: Outcome
) -> None:
    call = _call(written=written, event=event)
    call.expired = expired
    assert instance_outcome(call, error) is outcome


class Moody(Store):
    """Ends as its key says."""

    async def get(self, key: str) -> Any:
        if key == "declared":
            raise idl.NotFound(key="k")
        if key == "biz":
            raise elanus.BizStatusError(7, "no")
        if key == "fails":
            raise ValueError("no")
        if key == "slow":
            await asyncio.sleep(60)
        return "fine"


@pytest.mark.parametrize(
    ("key", "outcome"),
    [("fine", SUCCESS), ("declared", SUCCESS), ("biz", SUCCESS), ("fails", FAILURE), ("slow", TIMEOUT)],
)
def test_real_outcomes(key: str, outcome: Outcome) -> None:
    service, instance, mine = Told(), Told(), Told()

    async def scenario() -> None:
        server = elanus.Server(breaker=mine)
        options: dict[str, Any] = {"service_breaker": service, "instance_breaker": instance, "timeout": 1.0}
        async with connected(idl.Store, Moody(), server=server, **options) as client:
            for _ in range(2):
                with contextlib.suppress(Exception):
                    await client.get(key)
        await asyncio.sleep(0)

    run_virtual(scenario())
    assert service.outcomes == [outcome] * 2
    assert mine.outcomes == [outcome] * 2
    assert instance.outcomes == [SUCCESS] * 2
    if key == "slow":
        assert service.elapsed == pytest.approx([1.0, 1.0], abs=0.01)


async def test_nobody_listens() -> None:
    """Kitex: ``ErrNoMoreInstance`` counts for the service, and each connection for its instance."""
    service, instance = Told(), Told()
    targets = ["memory:1", "memory:2"]
    options: dict[str, Any] = {"transport": MemoryTransport({}), "balancer": InTurn()}
    async with elanus.Client(
        idl.Store, targets, service_breaker=service, instance_breaker=instance, **options
    ) as client:
        with pytest.raises(elanus.NoInstanceError):
            await client.get("k")
        with pytest.raises(elanus.CodecError):
            await client.get(object())
    assert service.outcomes == [FAILURE, IGNORED]
    assert instance.asked[:2] == targets
    assert instance.outcomes == [FAILURE, FAILURE, IGNORED]


# -- the user's word ----------------------------------------------------------------------------------------------


async def test_an_error_may_carry_its_own_outcome() -> None:
    def mapped(call: Call, error: Exception) -> Exception:
        error.breaker_outcome = IGNORED  # type: ignore[attr-defined]  # any error may have it
        return error

    service = Told()
    async with connected(idl.Store, Moody(), service_breaker=service, error_handler=mapped) as client:
        with pytest.raises(elanus.ApplicationError):
            await client.get("fails")
    assert service.outcomes == [IGNORED]


async def test_classify_overrules_the_rules() -> None:
    seen: list[tuple[Any, str]] = []

    def classify(call: Call, reply: Any, error: Exception | None) -> Outcome | None:
        seen.append((reply, type(error).__name__))
        return FAILURE if reply == "fine" else IGNORED if error is None else None

    service = Told()
    service.classify = classify
    async with connected(idl.Store, Moody(), service_breaker=service) as client:
        await client.get("fine")
        with pytest.raises(elanus.ApplicationError):
            await client.get("fails")
        task = asyncio.create_task(client.get("slow"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    assert service.outcomes == [FAILURE, FAILURE, IGNORED]
    assert seen == [("fine", "NoneType"), (None, "ApplicationError")], "nobody is asked about a cancelled call"


async def test_a_bug_in_classify_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def classify(call: Call, reply: Any, error: Exception | None) -> Outcome:
        raise KeyError("oops")

    service = Told()
    service.classify = classify
    async with connected(idl.Store, Moody(), service_breaker=service) as client:
        with caplog.at_level(logging.ERROR, "elanus.breaker"):
            assert await client.get("fine") == "fine"
            with pytest.raises(elanus.ApplicationError):
                await client.get("fails")
    assert service.outcomes == [SUCCESS, FAILURE]
    assert [record.getMessage() for record in caplog.records if record.name == "elanus.breaker"] == [
        "classify failed for Store/get, which counts as success",
        "classify failed for Store/get, which counts as failure",
    ]


async def test_the_key_is_that_of_each_call() -> None:
    """Whatever the chain remembers of the call before."""
    policy = Told()

    async def fine(call: Call) -> None: ...

    for seat in (SERVICE, SERVER):
        endpoint = breaker(policy, seat)(fine)
        for caller, callee in [("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("a", "x"), ("", "")]:
            await endpoint(make_call("get", caller=caller, callee=callee))
            assert policy.asked[-1] == f"{caller}/{callee}/get"
    endpoint = breaker(policy, INSTANCE)(fine)
    for address in ("a:1", "a:1", "b:1"):
        call = make_call()
        call.instance = Instance(address)
        await endpoint(call)
        assert policy.asked[-1] == address
    assert policy.outcomes == [SUCCESS] * 15


async def test_a_key_of_ones_own() -> None:
    service = Told()
    service.key_of = lambda call: f"all of {call.service.name}"
    async with connected(idl.Store, Store(), service_breaker=service) as client:
        await client.get("k")
        await client.put("k", "v")
    assert service.asked == ["all of Store"] * 2


# -- streams ------------------------------------------------------------------------------------------------------


async def test_of_a_stream_its_creation_counts() -> None:
    class Failing(Store):
        async def list(self, prefix: str) -> AsyncIterator[str]:
            yield prefix
            raise ValueError("later")

    service, instance, mine = Told(), Told(), Told()
    server = elanus.Server(breaker=mine)
    async with connected(
        idl.Store, Failing(), server=server, service_breaker=service, instance_breaker=instance
    ) as client:
        stream = client.list("x")
        assert await stream.receive() == "x"
        assert service.outcomes == instance.outcomes == [SUCCESS]
        with pytest.raises(elanus.ApplicationError):
            await stream.receive()
    assert service.outcomes == instance.outcomes == [SUCCESS], "how it ended is another matter"
    assert mine.outcomes == [FAILURE], "on the server a stream is its handler's run"


async def test_a_stream_that_cannot_be_opened() -> None:
    service, instance = Told(), Told()
    server = await started()
    options: dict[str, Any] = {"transport": MemoryTransport({"memory:2": server}), "balancer": InTurn()}
    options |= {"service_breaker": service, "instance_breaker": instance}
    async with elanus.Client(idl.Store, ["memory:1", "memory:2"], **options) as client:
        assert len([item async for item in client.list("x")]) == 3
        assert instance.asked == ["memory:1", "memory:2"]
        assert instance.outcomes == [FAILURE, SUCCESS], "one word for each, though both heard of the opening"
        assert service.outcomes == [SUCCESS]
    options["transport"] = MemoryTransport({})
    async with elanus.Client(idl.Store, ["memory:1"], **options) as client:
        with pytest.raises(elanus.NoInstanceError):
            await client.list("x").receive()
    assert service.outcomes == [SUCCESS, FAILURE]
    await server.stop()


async def test_a_stream_may_be_refused() -> None:
    service = Told(refuse="/list")
    async with connected(idl.Store, Store(), service_breaker=service) as client:
        with pytest.raises(elanus.CircuitOpenError, match="the circuit breaker of '/Store/list' is open"):
            await client.list("x").receive()
    assert service.outcomes == []


async def test_a_breaker_may_tell_why_it_refuses() -> None:
    class Telling(Told):
        def why(self, key: str, now: float) -> str:
            return f"{key} broke"

    async with connected(idl.Store, Store(), service_breaker=Telling(refuse="/get")) as client:
        with pytest.raises(elanus.CircuitOpenError) as raised:
            await client.get("k")
    assert raised.value.why == "/Store/get broke"
    assert raised.value.cause_text() == "the circuit breaker of '/Store/get' is open (/Store/get broke)"


# -- refusals -----------------------------------------------------------------------------------------------------


async def test_a_server_that_refuses_says_it_as_kitex_would(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    class Handler(Store):
        async def get(self, key: str) -> Any:
            ran.append(key)

    mine = Told(refuse="web/")
    async with connected(idl.Store, Handler(), server=elanus.Server(breaker=mine), caller="web") as client:
        with pytest.raises(elanus.ApplicationError) as raised:
            await client.get("k")
    assert (raised.value.code, raised.value.message) == (6, "forbidden by circuitbreaker: service circuitbreak")
    assert ran == []
    assert mine.outcomes == []
    assert not caplog.records, "an open breaker is no news for each call"


async def test_all_instances_are_open() -> None:
    instance = Told(refuse="memory")
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(
        idl.Store, targets, transport=MemoryTransport({}), balancer=InTurn(), instance_breaker=instance
    ) as client:
        with pytest.raises(elanus.NoInstanceError) as raised:
            await client.get("k")
    assert [type(failure) for failure in raised.value.failures] == [elanus.CircuitOpenError] * 2
    assert not raised.value.sent


# -- events -------------------------------------------------------------------------------------------------------


async def test_changes_of_state_are_events_of_the_client_and_of_the_server() -> None:
    service, instance, mine = Told(), Told(), Told()
    server = elanus.Server(breaker=mine)
    async with connected(
        idl.Store, Store(), server=server, service_breaker=service, instance_breaker=instance
    ) as client:
        opened = service.change("a/b/c", State.CLOSED, State.OPEN)
        instance.change("a:1", State.OPEN, State.HALF_OPEN)
        mine.change("a/b/c", State.HALF_OPEN, State.CLOSED)
        happened = [(one.name, one.detail, one.value) for one in client.events.recent()]
        assert happened[1] == (
            "service_cb",
            "a/b/c: CLOSED -> OPEN, (succ: 1, err: 2, timeout: 1, rate: 0.750000)",
            opened,
        )
        assert happened[0][:2] == (
            "instance_cb",
            "a:1: OPEN -> HALFOPEN, (succ: 1, err: 2, timeout: 1, rate: 0.750000)",
        )
        assert [one.name for one in server.events.recent()] == ["service_cb"]


def test_a_breaker_does_not_keep_a_bus_alive_nor_reports_twice() -> None:
    policy, kept, gone = Told(), EventBus(), EventBus()
    for bus in (kept, kept, gone):
        report_transitions(policy, bus, "service_cb")
    report_transitions(None, kept, "service_cb")
    policy.change("a", State.CLOSED, State.OPEN)
    assert len(kept.recent()) == len(gone.recent()) == 1
    del gone, bus
    gc.collect()
    policy.change("a", State.OPEN, State.HALF_OPEN)
    assert len(kept.recent()) == 2
    watchers: Callable[[], int] = lambda: len(policy._watchers)  # noqa: E731
    assert watchers() == 1, "a dead bus is not even asked"
