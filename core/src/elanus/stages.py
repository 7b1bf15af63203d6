"""The order of the rooms: the only place where it is written.

Each stage is a name and a function from the parts of a client or server, and a method, to middlewares; an empty answer
leaves the room out, so that what nobody named costs a call nothing. Kitex's order is in its ``client/client.go`` and
``server/server.go``; where ours differs, the stage says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from elanus.endpoint import chain
from elanus.middlewares.acl import acl
from elanus.middlewares.breaker import INSTANCE, SERVER, SERVICE, breaker
from elanus.middlewares.decode import decode, decode_stream
from elanus.middlewares.error_map import client_error_map, server_error_map
from elanus.middlewares.fallback import fallback
from elanus.middlewares.limit import limit
from elanus.middlewares.metadata import client_metadata, server_metadata
from elanus.middlewares.recover import recover_client, recover_server
from elanus.middlewares.resolve import resolve
from elanus.middlewares.retry import retry
from elanus.middlewares.timeout import client_timeout, server_timeout
from elanus.middlewares.trace import trace

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.breaker import Breaker
    from elanus.contracts.limiter import Limiter, Refusal
    from elanus.contracts.retrier import Retrier
    from elanus.contracts.tracer import Tracer
    from elanus.endpoint import Endpoint, Middleware
    from elanus.middlewares.breaker import Seat
    from elanus.middlewares.resolve import Instances
    from elanus.options import ClientOptions, ServerOptions
    from elanus.service import MethodInfo, ServiceInfo
    from elanus.wheel import TimerWheel

__all__ = [
    "CLIENT_STAGES",
    "SERVER_STAGES",
    "ClientParts",
    "ServerParts",
    "client_chain",
    "client_rooms",
    "server_chain",
    "server_rooms",
]


@dataclass(frozen=True, slots=True)
class ClientParts:
    """What the rooms of a client are made of."""

    options: ClientOptions
    wheel: TimerWheel
    instances: Instances
    tracers: Sequence[Tracer] = ()
    #: The retrier of one method's calls.
    retrier: Retrier | None = None
    service_breaker: Breaker | None = None
    instance_breaker: Breaker | None = None
    #: Universal middlewares: those of plugins, then those of the options.
    middlewares: Sequence[Middleware] = ()
    #: Middlewares of one derived client's calls.
    call_middlewares: Sequence[Middleware] = ()
    #: The fallback of one derived client's calls; ``False``: none, ``None``: that of the method.
    call_fallback: Callable[[Any, Any, Exception | None], Awaitable[Any]] | Literal[False] | None = None


@dataclass(frozen=True, slots=True)
class ServerParts:
    """What the rooms of a server are made of."""

    options: ServerOptions
    wheel: TimerWheel
    tracers: Sequence[Tracer] = ()
    limiter: Limiter | None = None
    #: Told of every call that the limiter refuses.
    refused: Callable[[Refusal, Call], None] = lambda refusal, call: None
    breaker: Breaker | None = None
    middlewares: Sequence[Middleware] = ()


_T = TypeVar("_T")
_ClientStage: TypeAlias = Callable[[ClientParts, "MethodInfo"], "Sequence[Middleware]"]
_ServerStage: TypeAlias = Callable[[ServerParts, "ServiceInfo", "MethodInfo"], "Sequence[Middleware]"]


def _client_kind(parts: ClientParts, method: MethodInfo) -> Sequence[Middleware]:
    return parts.options.stream_middlewares if method.kind.streams else parts.options.unary_middlewares


def _server_kind(parts: ServerParts, method: MethodInfo) -> Sequence[Middleware]:
    return parts.options.stream_middlewares if method.kind.streams else parts.options.unary_middlewares


def _fallback(parts: ClientParts, method: MethodInfo) -> Sequence[Middleware]:
    own = parts.call_fallback
    chosen = (parts.options.for_method(method.name).fallback if own is None else own) or None
    return _when(chosen, partial(fallback, traced=bool(parts.tracers)))


def _retry(parts: ClientParts, method: MethodInfo) -> Sequence[Middleware]:
    own = parts.options.for_method(method.name).idempotent
    return _when(parts.retrier, partial(retry, idempotent=method.idempotent if own is None else own))


def _client_timeout(parts: ClientParts, method: MethodInfo) -> Sequence[Middleware]:
    provider, streams = parts.options.timeout_provider, method.kind.streams
    timeout = parts.options.for_method(method.name).attempt_timeout
    connect_timeout_set = parts.options.effective_for(method.name)["connect_timeout"][1] != "default"
    return [client_timeout(parts.wheel, timeout, provider, streams=streams, connect_timeout_set=connect_timeout_set)]


def _server_timeout(parts: ServerParts, service: ServiceInfo, method: MethodInfo) -> Sequence[Middleware]:
    own = parts.options.for_method(service.name, method.name)
    limit = None if own.handler_timeout == inf else own.handler_timeout
    return [server_timeout(parts.wheel, limit, enforce=own.enforce_deadline is not False)]


def _decode(parts: ServerParts, service: ServiceInfo, method: MethodInfo) -> Sequence[Middleware]:
    return [decode_stream if method.kind.streams else decode(service.codec, method)]


def _server_error_map(parts: ServerParts, service: ServiceInfo, method: MethodInfo) -> Sequence[Middleware]:
    return _when(parts.options.error_handler, partial(server_error_map, codec=service.codec))


def _when(value: _T, room: Callable[[Any], Middleware]) -> Sequence[Middleware]:
    """The room made of *value*, or no room when there is nothing to make it of."""
    absent = value is None or (isinstance(value, (tuple, list)) and not value)
    return [] if absent else [room(value)]


def _breaker(policy: Breaker | None, seat: Seat, method: MethodInfo) -> Sequence[Middleware]:
    return _when(policy, partial(breaker, seat=seat, streams=method.kind.streams))


def _unless_stream(method: MethodInfo, rooms: Sequence[Middleware]) -> Sequence[Middleware]:
    """A stream is never tried again or replaced: what was sent or received cannot be taken back."""
    return () if method.kind.streams else rooms


#: Outermost first. From `service_breaker` on once per attempt, from `instance_breaker` on once per picked instance.
CLIENT_STAGES: Sequence[tuple[str, _ClientStage]] = (
    ("trace", lambda parts, method: _when(parts.tracers, trace)),
    ("recover", lambda parts, method: [recover_client]),
    ("fallback", lambda parts, method: _unless_stream(method, _fallback(parts, method))),
    ("retry", lambda parts, method: _unless_stream(method, _retry(parts, method))),
    ("service_breaker", lambda parts, method: _breaker(parts.service_breaker, SERVICE, method)),
    ("router", lambda parts, method: ()),  # reserved: a mesh's router decides on the cluster and on timeouts
    ("timeout", _client_timeout),
    ("user_kind", _client_kind),
    ("user_call", lambda parts, method: parts.call_middlewares),
    ("user_universal", lambda parts, method: parts.middlewares),
    ("acl", lambda parts, method: _when(parts.options.acl, acl)),
    ("proxy", lambda parts, method: ()),  # reserved: a forward proxy takes the place of `resolve`
    ("resolve", lambda parts, method: [resolve(parts.instances)]),
    ("instance_breaker", lambda parts, method: _breaker(parts.instance_breaker, INSTANCE, method)),
    ("instance_user", lambda parts, method: parts.options.instance_middlewares),
    ("error_map", lambda parts, method: _when(parts.options.error_handler, client_error_map)),
    # No room of Kitex's chain: its meta handlers sit in the pipeline below. Next to the wire all the same.
    ("metadata", lambda parts, method: _when(parts.options.metadata_handlers, client_metadata)),
)

#: Outermost first. As in Kitex a call may be refused before it is decoded; there decoding is outside of the chain.
SERVER_STAGES: Sequence[tuple[str, _ServerStage]] = (
    ("trace", lambda parts, service, method: _when(parts.tracers, trace)),
    ("recover", lambda parts, service, method: [recover_server]),
    ("metadata", lambda parts, service, method: _when(parts.options.metadata_handlers, server_metadata)),
    ("limit", lambda parts, service, method: _when(parts.limiter, partial(limit, refused=parts.refused))),
    ("breaker", lambda parts, service, method: _breaker(parts.breaker, SERVER, method)),
    ("decode", _decode),
    ("timeout", _server_timeout),
    ("user_universal", lambda parts, service, method: parts.middlewares),
    ("acl", lambda parts, service, method: _when(parts.options.acl, acl)),
    ("error_map", _server_error_map),
    ("user_kind", lambda parts, service, method: _server_kind(parts, method)),
)


def client_chain(parts: ClientParts, method: MethodInfo, send: Endpoint) -> Endpoint:
    """The composed endpoint of one method of a client, around *send*."""
    return chain([room for _, stage in CLIENT_STAGES for room in stage(parts, method)], send)


def server_chain(parts: ServerParts, service: ServiceInfo, method: MethodInfo, handler: Endpoint) -> Endpoint:
    """The composed endpoint of one method of a server, around *handler*."""
    return chain([room for _, stage in SERVER_STAGES for room in stage(parts, service, method)], handler)


def client_rooms(parts: ClientParts, method: MethodInfo) -> list[str]:
    """The names of the stages that have a room in the chain of one method of a client, outermost first."""
    return [*(name for name, stage in CLIENT_STAGES if stage(parts, method)), "send"]


def server_rooms(parts: ServerParts, service: ServiceInfo, method: MethodInfo) -> list[str]:
    """The names of the stages that have a room in the chain of one method of a server, outermost first."""
    return [*(name for name, stage in SERVER_STAGES if stage(parts, service, method)), "handler"]
