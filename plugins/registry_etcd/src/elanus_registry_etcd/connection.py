"""The way to an etcd cluster: one connection at a time, to a member that answers; tokens; an end without trace.

gRPC's asyncio API carries it (``grpc.aio``): nothing blocks the event loop, and closing the channel leaves no thread,
task or descriptor behind, also with several loops in several threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from elanus.errors import StateError
from elanus_registry_etcd.failures import EtcdError, as_etcd_error, code_of, connection_gone
from elanus_registry_etcd.messages import EtcdApi, etcd_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from elanus_registry_etcd.settings import ConnectionSettings

__all__ = ["EtcdConnection", "EtcdStream"]

_E = TypeVar("_E", bound=BaseException)

_log = logging.getLogger("elanus.etcd")

#: A service of some 100,000 instances. gRPC's own limit is 4 MiB.
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
#: etcd then refuses a member without a leader instead of letting it answer from what it knew. Source: etcd
#: ``api/v3rpc/rpctypes/metadatafields.go``.
_REQUIRE_LEADER = ("hasleader", "true")


class EtcdConnection:
    """Requests to a cluster. Belongs to the event loop in which it is first used.

    A member that cannot be reached, or that does not answer within the time-out, is left for the next one, for
    everybody: its connection is closed, and what else was under way on it fails and is to be tried again.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.api: EtcdApi = etcd_api()
        self._settings = settings
        self._targets = settings.targets
        # A fleet that starts at the same time shall not turn to the same member.
        self._next = random.randrange(len(self._targets))
        self._member: _Member | None = None
        #: Empty when none is needed, ``None`` when that is not known.
        self._token: str | None = None if settings.user else ""
        self._authenticating = asyncio.Lock()
        self._closed = False

    async def ask(self, path: str, request: Any) -> Any:
        """The answer of the first member that gives one.

        :param path: service and method: ``"KV/Range"``. The request must be one that may be sent twice.
        :raises EtcdError: no member could be reached, or one of them refused.
        """
        # A connection that worked may have broken long ago: that says nothing of the member, which gets another try.
        attempts = len(self._targets) + self._current().answered
        for left in reversed(range(attempts)):
            member = self._current()
            try:
                return await self._with_token(member, lambda at, token: at.ask(path, request, token))
            except EtcdError as error:
                if not error.unreachable:
                    raise
                await self._leave(member)
                if not left:
                    raise
                _log.debug("%s; turning to the next member", str(error))
        raise AssertionError("there is at least one endpoint")

    @contextlib.asynccontextmanager
    async def stream(self, path: str, request: Any) -> AsyncIterator[EtcdStream]:
        """A call that streams both ways, on the member that answered last, with its first request sent.

        :raises EtcdError: here and inside, when the member cannot be reached or ends it with an error.
        """
        member = self._current()
        stream: EtcdStream | None = None
        try:
            token = await self._known_token(member)
            stream = member.open(path, token)
            await stream.write(request)
            yield stream
        except EtcdError as error:
            if error.unreachable:
                await self._leave(member)
            elif error.token_refused:
                self._token = None
            raise
        finally:
            if stream is not None:
                stream.cancel()

    async def aclose(self) -> None:
        """Close the connection. What is under way fails."""
        self._closed = True
        if self._member is not None:
            await self._leave(self._member)
        await _until_settled()

    def _current(self) -> _Member:
        if self._closed:
            raise StateError("the connection to etcd is closed", hint="Make a new registry or resolver")
        if self._member is None:
            self._member = _Member(self._targets[self._next % len(self._targets)], self._settings, self.api)
        return self._member

    async def _leave(self, member: _Member) -> None:
        if self._member is member:  # else somebody has done so already
            self._member = None
            self._next += 1
        await member.aclose()

    async def _with_token(self, member: _Member, ask: Callable[[_Member, str], Any]) -> Any:
        token = await self._known_token(member)
        try:
            return await ask(member, token)
        except EtcdError as error:
            # Simple tokens expire after five minutes of idleness, and none survives a restart of the cluster.
            if not self._settings.user or not error.token_refused:
                raise
        if self._token == token:  # else somebody has got a new one already
            self._token = None
        return await ask(member, await self._known_token(member))

    async def _known_token(self, member: _Member) -> str:
        """The token, asked for where it is not known; empty when there is no user to be, or no users are known."""
        if self._token is not None:
            return self._token
        async with self._authenticating:
            if self._token is None:
                self._token = await self._authenticate(member)
            return self._token

    async def _authenticate(self, member: _Member) -> str:
        request = self.api.AuthenticateRequest(name=self._settings.user, password=self._settings.password)
        try:
            token: str = (await member.ask("Auth/Authenticate", request, "")).token
        except EtcdError as error:
            if not error.without_auth:
                raise
            _log.debug("%s; going on without a token", str(error))
            return ""
        return token


class _Member:
    """One member of the cluster and the connection to it, which is made by the first request."""

    def __init__(self, target: str, settings: ConnectionSettings, api: EtcdApi) -> None:
        self.target = target
        #: Whether it ever did, on this connection.
        self.answered = False
        self._timeout = settings.timeout
        self._api = api
        self._channel: grpc.aio.Channel | None = _channel(target, settings)
        self._bound: dict[str, Callable[..., Any]] = {}

    def _method(self, path: str) -> Callable[..., Any]:
        if self._channel is None:
            raise connection_gone(self.target)
        bound = self._bound.get(path)
        if bound is None:
            bound = self._bound[path] = self._api.bind(self._channel, path)
        return bound

    async def ask(self, path: str, request: Any, token: str) -> Any:
        async with self.patience("no answer in time"):
            answer = await _answer(self.target, self._method(path)(request, metadata=_metadata(token)))
        self.answered = True
        return answer

    def open(self, path: str, token: str) -> EtcdStream:
        return EtcdStream(self, self._method(path)(metadata=_metadata(token)))

    @contextlib.asynccontextmanager
    async def patience(self, text: str) -> AsyncIterator[None]:
        """Give what is awaited inside the time of one request.

        gRPC's own deadlines begin with the time of day, which may jump; the loop's clock does not.

        :raises EtcdError: with *text*, when the time is over.
        """
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise EtcdError(self.target, text, grpc.StatusCode.DEADLINE_EXCEEDED) from None

    async def aclose(self) -> None:
        channel, self._channel = self._channel, None
        self._bound.clear()
        if channel is not None:
            await channel.close()


class EtcdStream:
    """One call that streams both ways."""

    def __init__(self, member: _Member, call: Any) -> None:
        self.member = member
        self.loop = asyncio.get_running_loop()
        self._call = call
        _going_on.add(self)

    async def write(self, request: Any) -> None:
        """Send one more request.

        :raises EtcdError: the stream has ended, or nobody takes the request in time.
        """
        async with self.member.patience("it did not take a request in time"):
            await _answer(self.member.target, self._call.write(request))

    async def read(self) -> Any:
        """The next response, however long it takes. Cancelling this ends the stream.

        :raises EtcdError: the stream has ended.
        """
        response = await _answer(self.member.target, self._call.read())
        if response is grpc.aio.EOF:
            raise EtcdError(self.member.target, "it ended the stream", grpc.StatusCode.UNAVAILABLE)
        return response

    async def first(self) -> Any:
        """The response that has to come at once.

        :raises EtcdError: the stream has ended, or it did not come in time.
        """
        async with self.member.patience("no answer in time"):
            return await self.read()

    def ended(self, text: str) -> EtcdError:
        """The error of a stream that the member, which is well, has ended or made useless."""
        return EtcdError(self.member.target, text, code_of(text))

    def cancel(self) -> None:
        """End it, if it has not ended. It cannot be used any more."""
        _going_on.discard(self)
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


async def _answer(target: str, call: Awaitable[Any]) -> Any:
    """What *call*, which is gRPC's, gives; its failures as ours.

    They come without gRPC's frames: whoever keeps those keeps the call, its channel, and gRPC's threads.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    answer, failure = None, None
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        failure = as_etcd_error(target, error)
        failure.__cause__ = _bare(error)
    except (grpc.aio.UsageError, asyncio.InvalidStateError):
        failure = connection_gone(target)  # closed before the call began
    except asyncio.CancelledError:
        # gRPC cancels what is under way on a channel that is closed. Only if nobody cancelled *us* is it that.
        failure = connection_gone(target)
    del call  # this frame is part of what is raised
    if task.cancelling() > cancelled_before:
        # Raised anew and not passed on: while a call is being set up gRPC swallows it.
        raise asyncio.CancelledError
    if failure is not None:
        raise failure
    return answer


def _bare(error: _E) -> _E:
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


_going_on: weakref.WeakSet[EtcdStream] = weakref.WeakSet()


def _metadata(token: str) -> Sequence[tuple[str, str]]:
    # Source: etcd `client/v3/credentials`: the token travels under "token".
    return (_REQUIRE_LEADER, ("token", token)) if token else (_REQUIRE_LEADER,)


def _channel(target: str, settings: ConnectionSettings) -> grpc.aio.Channel:
    connect_ms = round(settings.connect_timeout * 1000)
    options: list[tuple[str, int | str]] = [
        # Two channels to one address would otherwise share a connection, and how long to wait for the next one.
        ("grpc.use_local_subchannel_pool", 1),
        # Despite its name the time that a connection may take, TLS and the first SETTINGS frame included.
        ("grpc.min_reconnect_backoff_ms", connect_ms),
        ("grpc.initial_reconnect_backoff_ms", connect_ms),
        ("grpc.max_reconnect_backoff_ms", max(connect_ms, 1000)),
        # A connection that died without a word: nothing else would ever notice on one that only listens.
        ("grpc.keepalive_time_ms", round(settings.keepalive_time * 1000)),
        # Older releases of gRPC go by the first of these, newer ones by the second, whose default is a minute.
        ("grpc.keepalive_timeout_ms", round(settings.timeout * 1000)),
        ("grpc.http2.ping_timeout_ms", round(settings.timeout * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
        # The proxy of the environment is for the way out; a registry is near.
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]
    if not settings.secure:
        return grpc.aio.insecure_channel(target, options=options)
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    # Read for each connection, so that renewed certificates count from the next one on.
    files = [Path(path).read_bytes() if path else None for path in _pem_files(settings)]
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options=options)


def _pem_files(settings: ConnectionSettings) -> tuple[str, str, str]:
    """In the order in which gRPC wants them."""
    return settings.ca_file, settings.key_file, settings.cert_file


async def _until_settled() -> None:
    """Wait until gRPC's own tasks have ended, 0.2 s at most.

    For each stream it keeps a task in our loop that learns of the end a moment after we do. Those of streams of other
    connections, which go on, are not waited for.
    """
    loop = asyncio.get_running_loop()
    for _ in range(100):
        going_on = sum(stream.loop is loop for stream in _going_on)
        if sum(map(_waits_for_status, asyncio.all_tasks())) <= going_on:
            return
        await asyncio.sleep(0.002)


def _waits_for_status(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return getattr(code, "co_name", "") == "_handle_status_once_received"
