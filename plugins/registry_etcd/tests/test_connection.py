"""What becomes of gRPC's answers, failures and cancellations on their way to us."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, NoReturn

import grpc
import grpc.aio
import pytest

from elanus.errors import StateError
from elanus_registry_etcd.connection import EtcdConnection, _answer
from elanus_registry_etcd.failures import EtcdError, as_etcd_error, code_of
from elanus_registry_etcd.settings import ConnectionSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator


def rpc_error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


async def gives(answer: str) -> str:
    return answer


async def raises(error: BaseException) -> NoReturn:
    raise error


async def test_an_answer_is_passed_on() -> None:
    assert await _answer("m:1", gives("answer")) == "answer"


@pytest.mark.parametrize(
    "error", [grpc.aio.UsageError("Channel is closed."), asyncio.InvalidStateError(), asyncio.CancelledError()]
)
async def test_a_channel_that_was_closed_by_another_call_is_a_lost_connection(error: BaseException) -> None:
    """gRPC cancels what is under way on a channel that is closed; nobody has cancelled this task."""
    with pytest.raises(EtcdError, match="m:1: the connection was given up") as caught:
        await _answer("m:1", raises(error))
    assert caught.value.unreachable


async def test_a_failure_comes_without_the_frames_that_would_keep_the_channel() -> None:
    with pytest.raises(EtcdError) as caught:
        await _answer("m:1", raises(rpc_error(grpc.StatusCode.UNAVAILABLE, "gone")))
    cause = caught.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    assert cause.__traceback__ is None
    assert caught.value.__context__ is None


class Call:
    """A call of gRPC that fails."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __await__(self) -> Generator[None, None, NoReturn]:
        frames_that_know_the_call = self
        yield
        raise frames_that_know_the_call._error


@pytest.mark.parametrize(
    "error", [rpc_error(grpc.StatusCode.UNAVAILABLE, "gone"), asyncio.CancelledError(), grpc.aio.UsageError()]
)
async def test_whoever_keeps_a_failure_does_not_keep_the_call(error: BaseException) -> None:
    call = Call(error)
    alive = weakref.ref(call)
    with pytest.raises(EtcdError) as kept:
        await _answer("m:1", call)
    del call
    error.__traceback__ = None  # this test keeps it
    gc.collect()
    assert kept.value.__traceback__ is not None
    assert alive() is None


async def swallows(then: Awaitable[str]) -> str:
    """As gRPC does while a call is being set up."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return await then
    raise AssertionError("nobody cancelled it")


@pytest.mark.parametrize(
    "then",
    [
        lambda: gives("late"),
        lambda: raises(rpc_error(grpc.StatusCode.UNAVAILABLE, "cut just now")),
        lambda: raises(asyncio.CancelledError()),
    ],
    ids=["an answer", "a failure", "a cancellation"],
)
async def test_a_cancellation_of_ours_gets_through_whatever_grpc_makes_of_it(then: object) -> None:
    task = asyncio.create_task(_answer("m:1", swallows(then())))  # type: ignore[operator]  # see above
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_was_cancelled_before_can_still_ask() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert await _answer("m:1", gives("answer")) == "answer"
    with pytest.raises(EtcdError):
        await _answer("m:1", raises(asyncio.CancelledError()))
    task.uncancel()


@pytest.mark.parametrize(
    ("code", "details", "unreachable", "token_refused", "hint"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Connection refused", True, False, "Check that etcd runs there"),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader", True, False, "has a leader"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", True, False, "Check that etcd runs there"),
        (grpc.StatusCode.UNAVAILABLE, "Ssl handshake failed: certificate", True, False, "'ca_file'"),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", False, True, "log"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", False, True, "log"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", False, True, "'user' and 'password'"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid", False, False, "'password'"),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", False, False, "Grant"),
        (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found", False, False, "log"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", False, False, "log"),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service", True, False, "log"),
    ],
)
def test_what_a_failure_means(
    code: grpc.StatusCode, details: str, unreachable: bool, token_refused: bool, hint: str
) -> None:
    error = as_etcd_error("m:1", rpc_error(code, details))
    assert (error.unreachable, error.token_refused) == (unreachable, token_refused)
    assert hint in error.hint
    assert str(error).startswith("etcd at m:1: ")
    assert "etcdserver" not in str(error)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("it cancelled the watch: etcdserver: no leader", grpc.StatusCode.UNAVAILABLE),
        ("it cancelled the watch: rpc error: permission denied", grpc.StatusCode.PERMISSION_DENIED),
        ("what came after revision 7 was compacted", grpc.StatusCode.OUT_OF_RANGE),
    ],
)
def test_reasons_that_come_as_text_only(text: str, code: grpc.StatusCode) -> None:
    assert code_of(text) is code


async def test_a_closed_connection_says_so() -> None:
    connection = EtcdConnection(ConnectionSettings())
    await connection.aclose()
    await connection.aclose()
    with pytest.raises(StateError, match="closed"):
        await connection.ask("KV/Range", connection.api.RangeRequest(key=b"a"))
