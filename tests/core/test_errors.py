"""The error tree: attributes, texts, and that errors survive what people do to them."""

from __future__ import annotations

import copy
import pickle

import pytest

from elanus import errors
from elanus.errors import (
    AclError,
    ApplicationError,
    BizStatusError,
    CircuitOpenError,
    CodecError,
    ConfigError,
    ConnectFailedError,
    ConnectionLostError,
    ElanusError,
    LimitExceededError,
    NoInstanceError,
    RemoteProtocolError,
    RpcCancelledError,
    RpcTimeoutError,
)
from elanus.service import Instance
from elanus.testing import make_call


def located(error: ElanusError, instance: str | None = None) -> ElanusError:
    call = make_call("get", service="Store")
    if instance is not None:
        call.instance = Instance(instance)
    error.locate(call)
    return error


SAMPLES = [
    ElanusError("it broke", phase="connect", hint="Mend it", instance="a:1", sent=True, retryable=True),
    ConfigError("unknown option 'timeuot'", hint="Did you mean 'timeout'?"),
    NoInstanceError("store", "consul"),
    NoInstanceError("store", "addresses", [ConnectFailedError("refused", instance="a:1")]),
    CircuitOpenError("a:1", instance="a:1"),
    LimitExceededError("too many calls in flight", limit="limits.calls", value=10),
    AclError("not you"),
    ConnectionLostError("connection reset by peer", instance="a:1"),
    RemoteProtocolError("magic 0x4745"),
    CodecError("an object is wanted", path=("request", "items", "[3]"), method="get"),
    RpcTimeoutError(0.25, limit="attempt_timeout"),
    RpcCancelledError("the caller waits no longer"),
    ApplicationError(6, "biz error: it broke"),
    ApplicationError(6, "request over limit: too many calls"),
    BizStatusError(404, "no such key", {"key": "x"}),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_pickle_and_copy(error: ElanusError, way: object) -> None:
    error = located(copy.copy(error), "b:2")
    again = way(error)  # type: ignore[operator]
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    state = {name: value for name, value in vars(error).items() if name != "failures"}
    assert {name: value for name, value in vars(again).items() if name != "failures"} == state
    assert (again.sent, again.retryable, again.phase) == (error.sent, error.retryable, error.phase)


def test_notes_survive_too() -> None:
    error = RpcTimeoutError(1.0)
    error.add_note("not tried again: no budget")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["not tried again: no budget"]


@pytest.mark.parametrize(
    ("code", "text", "phase"),
    [
        (6, "request over limit: too many calls", "limit"),
        (6, "request over limit", "limit"),
        (6, "forbidden by circuitbreaker: service circuitbreak", "breaker"),
        (6, "request forbidden: not you", ""),
        (6, "biz error: request over limit", ""),
        (6, "request over limit: of a service behind it [biz error]", ""),
        (0, "request over limit", ""),
        (1001, "request over limit", ""),
    ],
)
def test_a_refusal_by_the_server_is_known_as_soon_as_it_is_read(code: int, text: str, phase: str) -> None:
    error = ApplicationError(code, text)
    assert error.refused == bool(phase)
    assert error.phase == (phase or "handler")
    again = pickle.loads(pickle.dumps(error))
    assert (again.refused, again.phase) == (error.refused, error.phase)
    assert bool(located(error, "a:1").hint) or not phase
    assert ("its handler did not run" in error.explain()) == error.refused
    assert ("may have reached the server" in error.explain()) != error.refused


def test_every_class_of_the_tree_is_exported_by_the_facade() -> None:
    import elanus

    tree, found = [ElanusError], set()
    while tree:
        each = tree.pop()
        found.add(each.__name__)
        tree += [child for child in each.__subclasses__() if child.__module__ == "elanus.errors"]
    assert found == set(errors.__all__)
    assert found <= set(elanus.__all__)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            located(RpcTimeoutError(0.2, limit="attempt_timeout"), "10.0.0.1:8888"),
            "Store/get at 10.0.0.1:8888 [wait]: no reply within 0.200 s (attempt_timeout). "
            "Check the load and the log of that server, or give the call more time",
        ),
        (
            located(ConnectionLostError("connection reset by peer"), "10.0.0.1:8888"),
            "Store/get at 10.0.0.1:8888 [wait]: connection reset by peer. "
            "Look for a restart or a crash in the log of that server, and for what closes connections on the way",
        ),
        (
            located(NoInstanceError("store", "consul")),
            "Store/get [resolve]: the resolver 'consul' knows no instance of 'store'. "
            "Check the name, and that a server is registered under it: elanus instances store --resolver consul",
        ),
        (
            located(NoInstanceError("store", "consul", known=2)),
            "Store/get [resolve]: none of the 2 instances of 'store' may be picked (resolver 'consul'). "
            "Check their weights and tags: elanus instances store --resolver consul",
        ),
        (
            located(BizStatusError(404, "no such key"), "a:1"),
            "Store/get at a:1 [business]: business status 404: no such key",
        ),
        (
            located(ApplicationError(1, "unknown method x (service Store)"), "a:1"),
            "Store/get at a:1 [route]: the server answered with error 1: unknown method x (service Store). "
            "The IDL of that server has no such method: compare the versions",
        ),
        (
            located(ApplicationError(6, "request over limit: too many calls in flight"), "a:1"),
            "Store/get at a:1 [limit]: the server answered with error 6: request over limit: too many calls in flight. "
            "The server protects itself: make fewer calls, or raise that limit there",
        ),
        (
            located(ApplicationError(1234, "an application's own"), "a:1"),
            "Store/get at a:1 [handler]: the server answered with error 1234: an application's own",
        ),
        (
            CodecError("an object is wanted", path=("request", "[3]"), method="get"),
            "get [codec]: an object is wanted (in request.[3])",
        ),
        (AclError("not you"), "request forbidden: not you"),
        (
            CircuitOpenError("a/b/c"),
            "the circuit breaker of 'a/b/c' is open. "
            "Too many calls failed: see their errors. After its cooling time it lets some through again",
        ),
    ],
)
def test_the_text_names_place_phase_cause_and_next_step(error: ElanusError, text: str) -> None:
    assert str(error) == text


def test_an_error_that_knows_its_place_keeps_it() -> None:
    error = located(ConnectionLostError("gone", instance="a:1"), "b:2")
    assert error.instance == "a:1"
    again = make_call("put", service="Other")
    error.locate(again)
    assert (error.service, error.method) == ("Store", "get")


def test_what_was_tried_is_in_the_text_and_on_the_error() -> None:
    failures = [ConnectFailedError("refused", instance=f"10.0.0.{n}:1") for n in (1, 2)]
    error = NoInstanceError("store", "addresses", failures)
    assert error.failures == tuple(failures)
    assert "2 tried: " in str(error)
    assert all(failure.instance in str(error) for failure in failures if failure.instance)


@pytest.mark.parametrize(
    ("error", "retryable", "sent"),
    [
        (ConnectFailedError("x"), True, False),
        (ConnectionLostError("x"), True, True),
        (RpcTimeoutError(1.0), True, True),
        (NoInstanceError("x", "y"), True, False),
        (CircuitOpenError("x"), True, False),
        (ApplicationError(6, "x"), False, True),
        (BizStatusError(1), False, True),
        (AclError("x"), False, False),
        (CodecError("x"), False, False),
        (RemoteProtocolError("x"), False, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_policies_can_tell_what_may_be_tried_again(error: ElanusError, retryable: bool, sent: bool) -> None:
    assert (error.retryable, error.sent) == (retryable, sent)


@pytest.mark.parametrize("code", ["E42", None, 1.5, True, 0, 2**31, -(2**31) - 1])
def test_a_business_status_that_the_wire_cannot_carry_fails_where_it_is_made(code: object) -> None:
    with pytest.raises(TypeError, match="32-bit integer"):
        BizStatusError(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [("text", {"k": 1}), ("text", {1: "v"}), (b"bytes", {})])
def test_a_business_status_is_made_of_texts(values: tuple[object, object]) -> None:
    with pytest.raises(TypeError, match="must be texts"):
        BizStatusError(1, *values)  # type: ignore[arg-type]
