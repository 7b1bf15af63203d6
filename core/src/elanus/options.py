"""Options of clients, servers and calls: frozen, checked, and each value knows where it came from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from elanus.address import check_address
from elanus.errors import ConfigError
from elanus.limits import DEFAULT_LIMITS, Limits
from elanus.metadata import EMPTY_METADATA, Metadata
from elanus.service import DEFAULT_WEIGHT

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from elanus.call import Call
    from elanus.endpoint import ItemMiddleware, Middleware

__all__ = ["CallOptions", "Choice", "ClientOptions", "PoolOptions", "ServerOptions", "Timeouts", "WarmUp"]

#: How a part is chosen: by name, by name with options ``("etcd", {"endpoints": [...]})``, or as an object.
Choice: TypeAlias = Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_HEADERS: Mapping[str | int, str] = MappingProxyType({})

# Who set a value, weakest first. `with_defaults` gives way to code, `replace` overrules it.
_DEFAULT, _PLUGIN_DEFAULT, _CODE, _PLUGIN = range(4)
_FIELD_HIDDEN = {"sources", "writer"}

_Options = TypeVar("_Options", bound="_Sourced")


def _tupled(type_: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists become tuples, since options are frozen; where several values may be given, a single one may be bare."""
    several = {item.name for item in fields(type_) if str(item.type).startswith("tuple[")}
    tupled = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name in several & tupled.keys():
        if not isinstance(tupled[name], tuple):
            tupled[name] = (tupled[name],)
    return tupled


def _check_texts(what: str, values: Mapping[Any, Any]) -> None:
    if not all(isinstance(key, str | int) and isinstance(value, str) for key, value in values.items()):
        raise ConfigError(f"{what} {dict(values)!r} are not all texts", hint="Give keys and values as str")


def _as_metadata(value: Metadata | Mapping[str, str]) -> Metadata:
    """Plain mappings are transient metadata, the kind that one call adds."""
    parts = (value.transient, value.persistent) if isinstance(value, Metadata) else (value,)
    for part in parts:
        _check_texts("metadata", part)
    return value if isinstance(value, Metadata) else Metadata(MappingProxyType(dict(value)))


#: Words that fit another kind of options, with where they belong.
_ELSEWHERE: dict[str, str] = {}


def _refuse_unknown(what: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known and name in _ELSEWHERE:
            raise ConfigError(f"unknown {what} {name!r}", hint=_ELSEWHERE[name])
        if name not in known:
            near = difflib.get_close_matches(name, list(known), 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}"
            raise ConfigError(f"unknown {what} {name!r}", hint=hint)


_MIDDLEWARES = {
    "middlewares",
    "unary_middlewares",
    "stream_middlewares",
    "send_middlewares",
    "receive_middlewares",
}


def _typed(options: object, types: Mapping[str, type]) -> None:
    for name, type_ in types.items():
        value = getattr(options, name)
        if value is not None and not isinstance(value, type_):
            raise ConfigError(f"option {name!r} is {value!r}", hint=f"Give an elanus.{type_.__name__}")


def _listed(options: object, names: set[str]) -> None:
    for name in sorted(names):
        value = getattr(options, name)
        if not isinstance(value, tuple) or not all(callable(item) for item in value):
            raise ConfigError(f"option {name!r} is {value!r}", hint="Give a list of functions")


def _positive(what: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{what} is {value!r}", hint="Give seconds above 0, or leave it out for no limit")


def _at_least(what: str, options: object, smallest: Mapping[str, float]) -> None:
    for name, bound in smallest.items():
        value = getattr(options, name)
        if value < bound:
            raise ConfigError(f"{name!r} of {what} is {value!r}", hint=f"Give at least {bound}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What a ``timeout_provider`` answers, in seconds; ``None`` leaves a value as it is."""

    attempt_timeout: float | None = None
    connect_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How a client keeps its connections, per instance unless said otherwise.

    Kitex keeps 10 idle connections an address, 100 in all, for 60 s, and has no bound on open ones.
    """

    #: ``True``: connections are kept and used again. ``False``: one connection per call (Kitex's short connection).
    keep: bool = True
    #: Idle connections kept per instance.
    idle: int = 10
    #: Idle connections kept in all.
    idle_in_all: int = 1_000
    #: Seconds after which an idle connection is closed.
    idle_timeout: float = 60.0
    #: Open connections per instance; a call that finds all of them busy waits for one.
    open: int = 1_000

    def __post_init__(self) -> None:
        _at_least("PoolOptions", self, {"idle": 0, "idle_in_all": 0, "open": 1, "idle_timeout": 0})


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a client does before its first call: look its instances up, and connect to them."""

    #: Connections made to each instance.
    connections: int = 1
    #: Connections that are being made at once.
    parallel: int = 8
    #: Addresses to connect to; by default those that the look-up gives.
    targets: tuple[str, ...] = ()
    #: Further destinations to look up, for other clients of this process with the same resolver.
    names: tuple[str, ...] = ()
    #: ``"ignore"``, log a ``"warning"`` or an ``"error"``, or ``"fail"``: then the client does not start.
    on_error: str = "warning"

    def __post_init__(self) -> None:
        _at_least("WarmUp", self, {"connections": 0, "parallel": 1})
        if self.on_error not in ("ignore", "warning", "error", "fail"):
            raise ConfigError(f"on_error is {self.on_error!r}", hint="Give 'ignore', 'warning', 'error' or 'fail'")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What can differ from call to call. Set with :meth:`elanus.Client.with_options`."""

    #: Seconds for the whole call, all attempts included.
    timeout: float | None = None
    #: Seconds for each attempt (Kitex's RPC timeout).
    attempt_timeout: float | None = None
    #: Seconds for making a connection.
    connect_timeout: float | None = None
    #: Call this address instead of one that discovery gives.
    target: str | None = None
    #: Tags of the wanted instance; balancers and routers may look at them.
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    metadata: Metadata = EMPTY_METADATA
    #: Further headers of the request, for transports that have them: text keys, and integer keys for TTHeader.
    headers: Mapping[str | int, str] = field(default_factory=lambda: _NO_HEADERS)
    log_id: str = ""
    #: Middlewares of these calls only, inside of the unary or stream ones.
    middlewares: tuple[Middleware, ...] = ()

    def merged(self, values: Mapping[str, Any]) -> CallOptions:
        """A copy with *values*; mappings and metadata are added to, everything else is replaced."""
        known = {item.name for item in fields(CallOptions)}
        _refuse_unknown("call option", values, known)
        merged = dict(values)
        for name in ("timeout", "attempt_timeout", "connect_timeout"):
            _positive(f"call option {name!r}", merged.get(name))
        for name in ("tags", "headers"):
            if name in merged:
                _check_texts(name, merged[name])
                merged[name] = MappingProxyType({**getattr(self, name), **merged[name]})
        if "metadata" in merged:
            merged["metadata"] = self.metadata.merged(_as_metadata(merged["metadata"]))
        if merged.get("target") is not None:
            check_address(merged["target"])
        if "middlewares" in merged:
            merged["middlewares"] = tuple(merged["middlewares"])
        return replace(self, **merged)


@dataclass(frozen=True)
class _Sourced:
    """Options that know who set each value."""

    #: Pairs of options of which only one can be set: the default of one gives way to an explicit other one.
    _rivals: ClassVar[Mapping[str, str]] = _NOTHING

    sources: Mapping[str, tuple[int, str]] = field(default_factory=lambda: _NOTHING, repr=False, compare=False)
    writer: str = field(default="a plugin", repr=False, compare=False)

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options of this class, in the order of the reference."""
        return [item.name for item in fields(cls) if item.name not in _FIELD_HIDDEN]

    @classmethod
    def from_code(cls: type[_Options], values: Mapping[str, Any]) -> _Options:
        """Options as code sets them; the rest are defaults.

        :raises ConfigError: an unknown name (with the nearest known one), or a value out of range.
        """
        _refuse_unknown("option", values, cls.names())
        sources = dict.fromkeys(values, (_CODE, "code"))
        return cls(**_tupled(cls, values), sources=MappingProxyType(sources))

    def with_defaults(self: _Options, **values: Any) -> _Options:
        """A copy in which *values* are set, except those that code set explicitly or another plugin overruled."""
        _refuse_unknown("option", values, self.names())
        weaker = {name: value for name, value in values.items() if self._gives_way(name)}
        return self._written(weaker, _PLUGIN_DEFAULT, "default of")

    def replace(self: _Options, **values: Any) -> _Options:
        """A copy in which *values* are set, whoever set them before."""
        _refuse_unknown("option", values, self.names())
        return self._written(values, _PLUGIN, "set by")

    def source(self, name: str) -> str:
        """Who set *name*: ``"default"``, ``"code"``, ``"default of <plugin>"`` or ``"set by <plugin>"``."""
        _refuse_unknown("option", [name], self.names())
        return self.sources.get(name, (_DEFAULT, "default"))[1]

    def effective(self) -> dict[str, tuple[Any, str]]:
        """Every option with its value and where that came from."""
        return {name: (getattr(self, name), self.source(name)) for name in self.names()}

    def written_by(self: _Options, writer: str) -> _Options:
        """A copy that notes *writer* as the source of what is set on it next."""
        return replace(self, writer=writer)

    def _gives_way(self, name: str) -> bool:
        ranks = [self.sources.get(each, (_DEFAULT, ""))[0] for each in (name, self._rivals.get(name, name))]
        return max(ranks) <= _PLUGIN_DEFAULT

    def _written(self: _Options, values: Mapping[str, Any], rank: int, verb: str) -> _Options:
        sources = {**self.sources, **dict.fromkeys(values, (rank, f"{verb} {self.writer}"))}
        return replace(self, **_tupled(type(self), values), sources=MappingProxyType(sources))


@dataclass(frozen=True)
class ClientOptions(_Sourced):
    """Everything that a client can be told. Given to :class:`elanus.Client` as keyword arguments."""

    _rivals = MappingProxyType({"resolver": "targets", "targets": "resolver"})

    #: The name of the destination in discovery; by default the IDL's service name.
    name: str = ""
    #: Fixed addresses instead of discovery: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``.
    targets: tuple[str, ...] = ()
    #: This service's own name, which servers get to see; by default that of the running server's handler, if any.
    caller: str = ""
    #: Seconds for a whole call, all attempts included; ``None`` is no limit.
    timeout: float | None = None
    #: Seconds for each attempt (Kitex's RPC timeout); ``None`` is no limit.
    attempt_timeout: float | None = None
    #: Seconds for making a connection. Kitex: 0.05.
    connect_timeout: float = 1.0
    #: Seconds that a started frame may stall before its connection counts as dead.
    read_write_timeout: float = 5.0
    #: Asked for each attempt; what it answers counts where neither the call nor the client sets a value.
    timeout_provider: Callable[[Call], Timeouts | None] | None = None
    transport: Choice = "ttheader"
    resolver: Choice = None
    #: Seconds for which an empty answer of the resolver leaves the last instances in place. Kitex: 0.
    empty_grace: float = 60.0
    #: What to do before the first call; ``None``: nothing.
    warm_up: WarmUp | None = None
    balancer: Choice = "weighted"
    retrier: Choice = None
    service_breaker: Choice = None
    instance_breaker: Choice = None
    tracers: tuple[Choice, ...] = ()
    #: Middlewares around every call, unary or stream, outermost first.
    middlewares: tuple[Middleware, ...] = ()
    unary_middlewares: tuple[Middleware, ...] = ()
    stream_middlewares: tuple[Middleware, ...] = ()
    #: Middlewares around each attempt on a picked instance.
    instance_middlewares: tuple[Middleware, ...] = ()
    send_middlewares: tuple[ItemMiddleware, ...] = ()
    receive_middlewares: tuple[ItemMiddleware, ...] = ()
    #: Rules asked before an instance is picked; each returns a reason to refuse, or ``None``; may be ``async``.
    acl: tuple[Callable[[Call], str | Awaitable[str | None] | None], ...] = ()
    #: Called with every error of an attempt; returns the error to raise instead.
    error_handler: Callable[[Call, Exception], Exception] | None = None
    #: Called when all attempts failed, or with ``None`` when one succeeded; returns the reply to use.
    fallback: Callable[[Call, Any, Exception | None], Awaitable[Any]] | None = None
    #: Readers and writers of metadata and headers (Kitex's MetaHandler), see :class:`elanus.MetadataHandler`.
    metadata_handlers: tuple[Any, ...] = ()
    pool: PoolOptions = PoolOptions()
    limits: Limits = DEFAULT_LIMITS
    #: TLS: a context for clients.
    ssl: ssl.SSLContext | None = None
    #: Hook modules or objects, or names of installed plugins, for this client only.
    plugins: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        for name in ("timeout", "attempt_timeout", "connect_timeout", "read_write_timeout"):
            _positive(f"option {name!r}", getattr(self, name))
        _typed(self, {"pool": PoolOptions, "limits": Limits, "warm_up": WarmUp})
        _listed(self, _MIDDLEWARES | {"instance_middlewares", "acl"})
        for address in self.targets:
            check_address(address)
        if self.targets and self.resolver is not None:
            raise ConfigError(
                "both addresses and a resolver are given",
                hint="Give the addresses, or name= with resolver=, but not both",
            )


@dataclass(frozen=True)
class ServerOptions(_Sourced):
    """Everything that a server can be told. Given to :class:`elanus.Server` as keyword arguments."""

    #: The name under which it registers; by default that of its first service.
    name: str = ""
    #: The protocols it answers on its one port.
    transports: tuple[Choice, ...] = ("ttheader",)
    registry: Choice = None
    #: The address that is registered, when it differs from the one that is bound.
    advertise: str = ""
    weight: int = DEFAULT_WEIGHT
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    tracers: tuple[Choice, ...] = ()
    limiter: Choice = None
    breaker: Choice = None
    #: Middlewares around every call, unary or stream, outermost first.
    middlewares: tuple[Middleware, ...] = ()
    unary_middlewares: tuple[Middleware, ...] = ()
    stream_middlewares: tuple[Middleware, ...] = ()
    send_middlewares: tuple[ItemMiddleware, ...] = ()
    receive_middlewares: tuple[ItemMiddleware, ...] = ()
    acl: tuple[Callable[[Call], str | Awaitable[str | None] | None], ...] = ()
    #: Called with every error of a handler; returns the error to send instead.
    error_handler: Callable[[Call, Exception], Exception] | None = None
    metadata_handlers: tuple[Any, ...] = ()
    #: Whether the time that the caller has left ends its handler. Kitex: off.
    enforce_deadline: bool = True
    #: Seconds that a handler may take whose caller sent no deadline; ``None`` is no limit.
    handler_timeout: float | None = None
    #: Refuse requests that name no service, as Kitex's WithRefuseTrafficWithoutServiceName.
    require_service_name: bool = False
    #: Threads for handlers that are plain functions.
    threads: int = 32
    #: Seconds that shutdown waits for calls in flight. Kitex: 5.
    drain_timeout: float = 5.0
    #: Seconds between telling peers to go and closing idle connections. Kitex: 0.1.
    drain_delay: float = 0.1
    #: Seconds that a frame may stall, or an answer wait to be taken, before its connection counts as dead.
    read_write_timeout: float = 5.0
    limits: Limits = DEFAULT_LIMITS
    #: Whether a server whose first registration fails keeps trying, instead of ending with the error.
    register_later: bool = False
    backlog: int = 1024
    reuse_port: bool = False
    #: TLS: a context for servers.
    ssl: ssl.SSLContext | None = None
    plugins: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        for name in ("handler_timeout", "read_write_timeout"):
            _positive(f"option {name!r}", getattr(self, name))
        _typed(self, {"limits": Limits})
        _listed(self, _MIDDLEWARES | {"acl"})
        if self.advertise:
            check_address(self.advertise)
        _at_least("ServerOptions", self, {"threads": 1, "drain_timeout": 0, "drain_delay": 0, "backlog": 1})
        if not self.transports:
            raise ConfigError("a server without transports", hint="Leave transports= out, or name at least one")


_ELSEWHERE.update(
    {name: f"It is an option of the client: Client({name}=...)" for name in ClientOptions.names()}
    | {name: f"It is an option of the server: Server({name}=...)" for name in ServerOptions.names()}
    | {"retrier": "It is taken by with_options() and by Client()"}
    | {item.name: f"It is an option of calls: client.with_options({item.name}=...)" for item in fields(CallOptions)}
)
