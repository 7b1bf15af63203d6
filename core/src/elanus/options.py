"""Options of clients, servers and calls: frozen, checked, and each value knows where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from elanus.address import check_address
from elanus.errors import ConfigError
from elanus.limits import DEFAULT_LIMITS, Limits
from elanus.metadata import EMPTY_METADATA, Metadata
from elanus.option_checks import ELSEWHERE, at_least, check_texts, listed, positive, refuse_unknown, typed
from elanus.service import DEFAULT_WEIGHT
from elanus.sourced import Sourced

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from elanus.call import Call
    from elanus.contracts.limiter import Refusal
    from elanus.endpoint import ItemMiddleware, Middleware

__all__ = [
    "CallOptions",
    "Choice",
    "ClientOptions",
    "HandlerOptions",
    "MethodOptions",
    "PoolOptions",
    "ServerOptions",
    "Timeouts",
    "WarmUp",
]

#: How a part is chosen: by name, by name with options ``("etcd", {"endpoints": [...]})``, or as an object.
Choice: TypeAlias = Any
#: A module or object with hooks, or the name of one.
Plugin: TypeAlias = Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_HEADERS: Mapping[str | int, str] = MappingProxyType({})


def _as_metadata(value: Metadata | Mapping[str, str]) -> Metadata:
    """Plain mappings are transient metadata, the kind that one call adds."""
    parts = (value.transient, value.persistent) if isinstance(value, Metadata) else (value,)
    for part in parts:
        check_texts("metadata", part)
    return value if isinstance(value, Metadata) else Metadata(MappingProxyType(dict(value)))


_MIDDLEWARES = {
    "middlewares",
    "unary_middlewares",
    "stream_middlewares",
    "send_middlewares",
    "receive_middlewares",
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What a ``timeout_provider`` answers; ``None`` leaves a value as it is."""

    #: Seconds for each attempt (Kitex's RPC timeout).
    attempt_timeout: float | None = None
    #: Seconds for making a connection.
    connect_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How a client keeps its connections, per instance unless said otherwise.

    Kitex keeps 10 idle connections an address, 100 in all, for 60 s, and has no bound on open ones.
    """

    #: ``True``: connections are kept and used again. ``False``: one connection per call (Kitex's short connection).
    #: Kitex: long connections.
    keep: bool = True
    #: Idle connections kept per instance. Kitex: 10.
    idle: int = 10
    #: Connections per instance that stay open when nobody uses them, and are opened again when they are lost. Kitex: 0.
    idle_min: int = 0
    #: Idle connections kept in all. Kitex: 100.
    idle_in_all: int = 1_000
    #: Seconds after which an idle connection is closed. Kitex: 60.
    idle_timeout: float = 60.0
    #: Seconds after which a connection takes no more calls, less up to a tenth; ``None`` is no limit. Kitex: none.
    max_age: float | None = None
    #: Open connections per instance; a call that finds all of them busy waits for one. Kitex: unlimited.
    open: int = 1_000
    #: Open connections in all; a call that needs one more waits until another instance's is free. Kitex: unlimited.
    open_in_all: int = 10_000
    #: Connections among which calls take turns, where a connection takes many calls at once (Kitex's mux connections).
    #: Kitex: ``WithMuxConnection``.
    connections: int = 1

    def __post_init__(self) -> None:
        least = {"idle": 0, "idle_min": 0, "idle_in_all": 0, "open": 1, "open_in_all": 1, "connections": 1}
        at_least("PoolOptions", self, {**least, "idle_timeout": 0})
        positive("'max_age' of PoolOptions", self.max_age)
        if self.idle_min > self.idle:
            raise ConfigError(
                f"PoolOptions keeps at least {self.idle_min} idle connections and at most {self.idle}",
                hint="Give an idle that is not below idle_min",
            )


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a client does before its first call: look its instances up, and connect to them."""

    #: Connections made to each instance. Kitex: ``ConnNum``.
    connections: int = 1
    #: Connections that are being made at once. Kitex: ``Parallel``.
    parallel: int = 8
    #: Addresses to connect to; by default those that the look-up gives. Kitex: ``Targets``.
    targets: tuple[str, ...] = ()
    #: Further destinations to look up, for other clients of this process with the same resolver. Kitex: ``Dests``.
    names: tuple[str, ...] = ()
    #: ``"ignore"``, log a ``"warning"`` or an ``"error"``, or ``"fail"``: then the client does not start. Kitex:
    #: ``ErrorHandling``.
    on_error: str = "warning"

    def __post_init__(self) -> None:
        at_least("WarmUp", self, {"connections": 0, "parallel": 1})
        if self.on_error not in ("ignore", "warning", "error", "fail"):
            raise ConfigError(f"on_error is {self.on_error!r}", hint="Give 'ignore', 'warning', 'error' or 'fail'")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What can differ from call to call. Set with :meth:`elanus.Client.with_options`."""

    #: Seconds for the whole call, all attempts included; ``math.inf``: no limit, whatever the client says. Kitex: none.
    timeout: float | None = None
    #: Seconds for each attempt (Kitex's RPC timeout); ``math.inf`` as for *timeout*. Kitex: ``callopt.WithRPCTimeout``.
    attempt_timeout: float | None = None
    #: Seconds for making a connection. Kitex: ``callopt.WithConnectTimeout``.
    connect_timeout: float | None = None
    #: Call this address instead of one that discovery gives. Kitex: ``callopt.WithHostPort``.
    target: str | None = None
    #: Tags of the wanted instance; balancers and routers may look at them. Kitex: ``callopt.WithTag``.
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Metadata; a plain mapping is transient metadata. Kitex: ``metainfo``.
    metadata: Metadata = EMPTY_METADATA
    #: Further headers of the request, for transports that have them: text keys, and integer keys for TTHeader. Kitex: a
    #: MetaHandler.
    headers: Mapping[str | int, str] = field(default_factory=lambda: _NO_HEADERS)
    #: An id for logs; a handler's own calls pass it on. Kitex: TTHeader key 2.
    log_id: str = ""
    #: Middlewares of these calls only, inside of the unary or stream ones. Kitex: ``client.WithContextMiddlewares``.
    middlewares: tuple[Middleware, ...] = ()

    def merged(self, values: Mapping[str, Any]) -> CallOptions:
        """A copy with *values*; mappings and metadata are added to, everything else is replaced."""
        known = {item.name for item in fields(CallOptions)}
        refuse_unknown("call option", values, known)
        merged = dict(values)
        for name in ("timeout", "attempt_timeout", "connect_timeout"):
            positive(f"call option {name!r}", merged.get(name))
        for name in ("tags", "headers"):
            if name in merged:
                check_texts(name, merged[name])
                merged[name] = MappingProxyType({**getattr(self, name), **merged[name]})
        if "metadata" in merged:
            merged["metadata"] = self.metadata.merged(_as_metadata(merged["metadata"]))
        if merged.get("target") is not None:
            check_address(merged["target"])
        if "middlewares" in merged:
            merged["middlewares"] = tuple(merged["middlewares"])
        return replace(self, **merged)


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """What differs for one method of a client. Given as ``Client(methods={"echo": elanus.MethodOptions(...)})``.

    ``None`` leaves a value as the client has it.
    """

    #: Seconds for the whole call, all attempts included; ``math.inf``: no limit.
    timeout: float | None = None
    #: Seconds for each attempt (Kitex's RPC timeout); ``math.inf``: no limit. Kitex: a ``TimeoutProvider``.
    attempt_timeout: float | None = None
    #: Seconds for making a connection. Kitex: a ``TimeoutProvider``.
    connect_timeout: float | None = None
    #: Whether a request may be sent twice without harm; ``None``: as the IDL says.
    idempotent: bool | None = None
    #: A retrier of this method's own; ``False``: none. Kitex: ``WithRetryMethodPolicies``.
    retrier: Choice = None
    #: The last word on the outcome of this method's calls; ``False``: none.
    fallback: Callable[[Call, Any, Exception | None], Awaitable[Any]] | Literal[False] | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "attempt_timeout", "connect_timeout"):
            positive(f"method option {name!r}", getattr(self, name))
        _check_flag("idempotent", self.idempotent)


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """What differs for one method of a server. Given as ``Server(methods={"echo": elanus.HandlerOptions(...)})``.

    ``None`` leaves a value as the server has it.
    """

    #: Seconds that the handler may take whose caller sent no deadline; ``math.inf``: no limit.
    handler_timeout: float | None = None
    #: Whether the time that the caller has left ends the handler.
    enforce_deadline: bool | None = None

    def __post_init__(self) -> None:
        positive("method option 'handler_timeout'", self.handler_timeout)
        _check_flag("enforce_deadline", self.enforce_deadline)


def _check_flag(name: str, value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"method option {name!r} is {value!r}", hint="Give True or False")


@dataclass(frozen=True)
class ClientOptions(Sourced):
    """Everything that a client can be told. Given to :class:`elanus.Client` as keyword arguments."""

    rivals = MappingProxyType({"resolver": "targets", "targets": "resolver"})
    nested = MappingProxyType({"methods": MethodOptions})
    fixed = frozenset(
        {
            "name",
            "targets",
            "read_write_timeout",
            "transport",
            "resolver",
            "empty_grace",
            "warm_up",
            "pool",
            "limits",
            "ssl",
            "config",
            "plugins",
        }
    )

    #: The name of the destination in discovery; by default the IDL's service name. Kitex: required.
    name: str = ""
    #: Fixed addresses instead of discovery: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``. Kitex: none.
    targets: tuple[str, ...] = ()
    #: This service's own name, which servers get to see; by default that of the running server's handler, if any.
    #: Kitex: empty.
    caller: str = ""
    #: Seconds for a whole call, all attempts included; ``None`` is no limit. Kitex: no such.
    timeout: float | None = None
    #: Seconds for each attempt (Kitex's RPC timeout); ``None`` is no limit. Kitex: none.
    attempt_timeout: float | None = None
    #: Seconds for making a connection. Kitex: 0.05.
    connect_timeout: float = 1.0
    #: Seconds that a started frame may stall before its connection counts as dead. Kitex: 5.
    read_write_timeout: float = 5.0
    #: Asked for each attempt; what it answers counts where neither the call nor the client sets a value. Kitex: none.
    timeout_provider: Callable[[Call], Timeouts | None] | None = None
    #: What the client speaks. Kitex: framed.
    transport: Choice = "ttheader"
    #: Finds the instances of ``name``, instead of addresses. Kitex: none.
    resolver: Choice = None
    #: Seconds for which an empty answer of the resolver leaves the last instances in place. Kitex: 0.
    empty_grace: float = 60.0
    #: What to do before the first call; ``None``: nothing. Kitex: none.
    warm_up: WarmUp | None = None
    #: Picks the instance of each attempt. Kitex: weighted round robin.
    balancer: Choice = "weighted"
    #: Decides on further attempts. Kitex: none.
    retrier: Choice = None
    #: Refuses calls to a method that fails. Kitex: none.
    service_breaker: Choice = None
    #: Refuses attempts on an instance that fails. Kitex: none.
    instance_breaker: Choice = None
    #: Told of the start and the end of every call. Kitex: none.
    tracers: tuple[Choice, ...] = ()
    #: Middlewares around every call, unary or stream, outermost first. Kitex: ``WithMiddleware``.
    middlewares: tuple[Middleware, ...] = ()
    #: Around unary calls only. Kitex: ``WithUnaryMiddleware``.
    unary_middlewares: tuple[Middleware, ...] = ()
    #: Around streams only, for their whole life. Kitex: ``WithStreamMiddleware``.
    stream_middlewares: tuple[Middleware, ...] = ()
    #: Middlewares around each attempt on a picked instance. Kitex: ``WithInstanceMW``.
    instance_middlewares: tuple[Middleware, ...] = ()
    #: Around each message that a stream sends. Kitex: ``WithStreamSendMiddleware``.
    send_middlewares: tuple[ItemMiddleware, ...] = ()
    #: Around each message that a stream receives. Kitex: ``WithStreamRecvMiddleware``.
    receive_middlewares: tuple[ItemMiddleware, ...] = ()
    #: Rules asked before an instance is picked; each returns a reason to refuse, or ``None``; may be ``async``. Kitex:
    #: none.
    acl: tuple[Callable[[Call], str | Awaitable[str | None] | None], ...] = ()
    #: Called with each error of an attempt that network, protocol or server raised; returns the error to raise instead.
    #: Kitex: wraps the error.
    error_handler: Callable[[Call, Exception], Exception] | None = None
    #: What a caller gets when all attempts have ended: an :class:`elanus.Fallback`, or a function of the call, the
    #: reply and the error, which is always asked. Kitex: none.
    fallback: Callable[[Call, Any, Exception | None], Awaitable[Any]] | None = None
    #: Readers and writers of metadata and headers (Kitex's MetaHandler), see :class:`elanus.MetadataHandler`. Kitex:
    #: metainfo only.
    metadata_handlers: tuple[Any, ...] = ()
    #: How connections are kept.
    pool: PoolOptions = PoolOptions()
    #: What a peer can make this process hold.
    limits: Limits = DEFAULT_LIMITS
    #: TLS: a context for clients. Kitex: gRPC only.
    ssl: ssl.SSLContext | None = None
    #: What differs for single methods, by their IDL names.
    methods: Mapping[str, MethodOptions] = field(default_factory=lambda: _NOTHING)
    #: Sources of configuration, the later ones over the earlier; by default what ``ELANUS_CONFIG`` names. Kitex:
    #: suites of config-file, config-etcd and others.
    config: tuple[Choice, ...] | None = None
    #: Hook modules or objects, or names of installed plugins, for this client only. Kitex: ``WithSuite``.
    plugins: tuple[Plugin, ...] = ()

    def for_method(self, name: str) -> MethodOptions:
        """What holds for the method *name*: its own options, and the client's where it has none. Parts that are
        switched off are ``None`` here; so is *idempotent* where only the IDL says.
        """
        own = self.methods.get(name, _NO_METHOD_OPTIONS)
        return MethodOptions(
            timeout=own.timeout or self.timeout,
            attempt_timeout=own.attempt_timeout or self.attempt_timeout,
            connect_timeout=own.connect_timeout or self.connect_timeout,
            idempotent=own.idempotent,
            retrier=(self.retrier if own.retrier is None else own.retrier) or None,
            fallback=(self.fallback if own.fallback is None else own.fallback) or None,
        )

    def effective_for(self, name: str) -> dict[str, tuple[Any, str]]:
        """As :meth:`effective`, as it holds for the method *name*: its own options take the place of the client's."""
        own = self.methods.get(name, _NO_METHOD_OPTIONS)
        found = self.effective()
        del found["methods"]
        for item in fields(MethodOptions):
            value = getattr(own, item.name)
            if value is not None:
                found[item.name] = (value, self._source(f"methods.{name}.{item.name}")[1])
        return found

    def __post_init__(self) -> None:
        for name in ("timeout", "attempt_timeout", "connect_timeout", "read_write_timeout"):
            positive(f"option {name!r}", getattr(self, name))
        typed(self, {"pool": PoolOptions, "limits": Limits, "warm_up": WarmUp})
        listed(self, _MIDDLEWARES | {"instance_middlewares", "acl"})
        for address in self.targets:
            check_address(address)
        if self.targets and self.resolver is not None:
            raise ConfigError(
                "both addresses and a resolver are given",
                hint="Give the addresses, or name= with resolver=, but not both",
            )


@dataclass(frozen=True)
class ServerOptions(Sourced):
    """Everything that a server can be told. Given to :class:`elanus.Server` as keyword arguments."""

    nested = MappingProxyType({"methods": HandlerOptions})
    fixed = frozenset(
        {
            "name",
            "transports",
            "registry",
            "advertise",
            "weight",
            "tags",
            "threads",
            "read_write_timeout",
            "limits",
            "register_later",
            "backlog",
            "reuse_port",
            "require_service_name",
            "ssl",
            "config",
            "plugins",
        }
    )

    #: The name under which it registers; by default that of its first service. Kitex: empty.
    name: str = ""
    #: The protocols it answers on its one port. Kitex: all it has.
    transports: tuple[Choice, ...] = ("ttheader",)
    #: Announces the server. Kitex: none.
    registry: Choice = None
    #: The address that is registered, when it differs from the one that is bound. Kitex: the bound address.
    advertise: str = ""
    #: Its share of the calls, as announced. Kitex: 10.
    weight: int = DEFAULT_WEIGHT
    #: Announced with it. Kitex: none.
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Told of the start and the end of every call. Kitex: none.
    tracers: tuple[Choice, ...] = ()
    #: Policy that refuses calls and connections; the hard limits stand by themselves. Kitex: none.
    limiter: Choice = None
    #: Called with each refusal of a limiter or of a hard limit, the peer's address, and the call (``None``: it was a
    #: connection). It must be quick: it runs for each call of a flood (Kitex's ``LimitReporter``). Kitex:
    #: ``WithLimitReporter``.
    limit_reporter: Callable[[Refusal, str, Call | None], None] | None = None
    #: Refuses calls to a method that fails. Kitex: none.
    breaker: Choice = None
    #: Middlewares around every call, unary or stream, outermost first. Kitex: ``WithMiddleware``.
    middlewares: tuple[Middleware, ...] = ()
    #: Around unary calls only. Kitex: ``WithUnaryMiddleware``.
    unary_middlewares: tuple[Middleware, ...] = ()
    #: Around streams only, for their whole life. Kitex: ``WithStreamMiddleware``.
    stream_middlewares: tuple[Middleware, ...] = ()
    #: Around each message that a stream sends. Kitex: ``WithStreamSendMiddleware``.
    send_middlewares: tuple[ItemMiddleware, ...] = ()
    #: Around each message that a stream receives. Kitex: ``WithStreamRecvMiddleware``.
    receive_middlewares: tuple[ItemMiddleware, ...] = ()
    #: Rules that may refuse a call. Kitex: none.
    acl: tuple[Callable[[Call], str | Awaitable[str | None] | None], ...] = ()
    #: Called with each error of a handler, which declared exceptions and business statuses are not; returns the error
    #: to send instead. Kitex: none.
    error_handler: Callable[[Call, Exception], Exception] | None = None
    #: Readers and writers of headers. Kitex: metainfo only.
    metadata_handlers: tuple[Any, ...] = ()
    #: Whether the time that the caller has left ends its handler. Kitex: off.
    enforce_deadline: bool = True
    #: Seconds that a handler may take whose caller sent no deadline; ``None`` is no limit. Kitex: none.
    handler_timeout: float | None = None
    #: Refuse requests that name no service, as Kitex's WithRefuseTrafficWithoutServiceName. Kitex: off.
    require_service_name: bool = False
    #: Threads for handlers that are plain functions.
    threads: int = 32
    #: Seconds that shutdown waits for calls in flight. Kitex: 5.
    drain_timeout: float = 5.0
    #: Seconds between telling peers to go and closing idle connections. Kitex: 0.1.
    drain_delay: float = 0.1
    #: Seconds that a frame may stall, or an answer wait to be taken, before its connection counts as dead. Kitex: 5.
    read_write_timeout: float = 5.0
    #: What a peer can make this process hold.
    limits: Limits = DEFAULT_LIMITS
    #: Whether a server whose first registration fails keeps trying, instead of ending with the error. Kitex: off.
    register_later: bool = False
    #: Connections that the system queues before they are accepted.
    backlog: int = 1024
    #: Let several processes listen on one port (``SO_REUSEPORT``). Kitex: off.
    reuse_port: bool = False
    #: TLS: a context for servers. Kitex: none.
    ssl: ssl.SSLContext | None = None
    #: What differs for single methods: ``"echo"``, or ``"EchoService/echo"``, which counts before the other.
    methods: Mapping[str, HandlerOptions] = field(default_factory=lambda: _NOTHING)
    #: Sources of configuration, the later ones over the earlier; by default what ``ELANUS_CONFIG`` names. Kitex:
    #: suites of config-file, config-etcd and others.
    config: tuple[Choice, ...] | None = None
    #: Hook modules for this server only. Kitex: ``WithSuite``.
    plugins: tuple[Plugin, ...] = ()

    def for_method(self, service: str, name: str) -> HandlerOptions:
        """What holds for a method: its own options, and the server's where it has none."""
        exact = self.methods.get(f"{service}/{name}", _NO_HANDLER_OPTIONS)
        own = self.methods.get(name, _NO_HANDLER_OPTIONS)
        enforce = own.enforce_deadline if exact.enforce_deadline is None else exact.enforce_deadline
        return HandlerOptions(
            handler_timeout=exact.handler_timeout or own.handler_timeout or self.handler_timeout,
            enforce_deadline=self.enforce_deadline if enforce is None else enforce,
        )

    def spelled_out(self, methods: Collection[tuple[str, str]]) -> ServerOptions:
        """A copy in which every method has its exact name, ``"EchoService/echo"``.

        :param methods: those that are served: service and method.
        :raises ConfigError: none of them is called so.
        """
        known = {name for service, method in methods for name in (method, f"{service}/{method}")}
        refuse_unknown("method of the server:", self.methods, known)
        merged, sources = {}, {place: one for place, one in self.sources.items() if not place.startswith("methods.")}
        for service, method in methods:
            exact, values = f"{service}/{method}", {}
            for key in (method, exact):
                own = self.methods.get(key, _NO_HANDLER_OPTIONS)
                for item in fields(HandlerOptions):
                    if getattr(own, item.name) is not None:
                        values[item.name] = getattr(own, item.name)
                        sources[f"methods.{exact}.{item.name}"] = self._source(f"methods.{key}.{item.name}")
            if values:
                merged[exact] = HandlerOptions(**values)
        return replace(self, methods=MappingProxyType(merged), sources=MappingProxyType(sources))

    def effective_for(self, service: str, name: str) -> dict[str, tuple[Any, str]]:
        """As :meth:`effective`, as it holds for a method: its own options take the place of the server's."""
        found = self.effective()
        del found["methods"]
        for key in (name, f"{service}/{name}"):
            own = self.methods.get(key, _NO_HANDLER_OPTIONS)
            for item in fields(HandlerOptions):
                value = getattr(own, item.name)
                if value is not None:
                    found[item.name] = (value, self._source(f"methods.{key}.{item.name}")[1])
        return found

    def __post_init__(self) -> None:
        for name in ("handler_timeout", "read_write_timeout"):
            positive(f"option {name!r}", getattr(self, name))
        typed(self, {"limits": Limits})
        listed(self, _MIDDLEWARES | {"acl"})
        if self.advertise:
            check_address(self.advertise)
        at_least("ServerOptions", self, {"threads": 1, "drain_timeout": 0, "drain_delay": 0, "backlog": 1})
        if not self.transports:
            raise ConfigError("a server without transports", hint="Leave transports= out, or name at least one")


_NO_METHOD_OPTIONS = MethodOptions()
_NO_HANDLER_OPTIONS = HandlerOptions()

ELSEWHERE.update(
    {name: f"It is an option of the client: Client({name}=...)" for name in ClientOptions.names()}
    | {name: f"It is an option of the server: Server({name}=...)" for name in ServerOptions.names()}
    | {"retrier": "It is taken by with_options() and by Client()"}
    | {item.name: f"It is an option of calls: client.with_options({item.name}=...)" for item in fields(CallOptions)}
)
