"""The client: assembled once from options and plugins, then one coroutine per call."""

from __future__ import annotations

import warnings
from asyncio import get_running_loop
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.call import Call, running_call, shielded
from elanus.client_core import OF_THE_METHOD, Chains, ClientCore
from elanus.deadline import Deadline
from elanus.errors import ConfigError
from elanus.options import CallOptions
from elanus.result import Result
from elanus.service import MethodInfo, ServiceInfo
from elanus.streams import ClientStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from elanus.errors import BizStatusError
    from elanus.events import EventBus
    from elanus.net.pool_report import GroupReport, PoolCounters
    from elanus.options import ClientOptions
    from elanus.service import Instance

__all__ = ["Client"]


class Client:
    """Calls one service. ::

        async with elanus.Client(echo.EchoService, "127.0.0.1:8888") as client:
            reply = await client.echo(echo.Request(message="hi"))

    Every method of the service is a method of the client. Unary ones are awaited; streaming ones return a
    :class:`elanus.ClientStream`. A method whose name an attribute of the client has is reached by :meth:`call`.

    :param service: from a loaded IDL.
    :param targets: one address or several: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``. Leave it out when a
        resolver finds the instances.
    :param options: fields of :class:`elanus.ClientOptions`, such as ``timeout=0.5`` or ``balancer="weighted_random"``.
    :raises ConfigError: an option is unknown or out of range; names the nearest known one.
    :raises PluginError: a part that is named is not installed, or its plugin is broken.
    """

    def __init__(self, service: ServiceInfo, targets: str | Sequence[str] | None = None, **options: Any) -> None:
        if not isinstance(service, ServiceInfo):
            raise ConfigError(
                f"{service!r} is no service", hint="Give one of a loaded IDL: elanus.load('x.thrift').YourService"
            )
        if targets is not None:
            options["targets"] = targets
        self._core = ClientCore(service, options)
        self._call_options = CallOptions()
        self._chains = Chains(self._core)
        _warn_of_hidden_methods(service, type(self))

    @property
    def service(self) -> ServiceInfo:
        """The service that this client calls."""
        return self._core.service

    @property
    def options(self) -> ClientOptions:
        """The options in force; ``client.options.effective()`` also says where each came from."""
        return self._core.options

    def effective(self, method: str) -> dict[str, tuple[Any, str]]:
        """Every option as it holds for calls of *method*, with where it came from: ``"default"``, ``"code"``,
        ``"call"`` (:meth:`with_options`), a plugin, or a place in a configuration such as ``"elanus.toml:12"``.

        :raises ConfigError: the service has no such method.
        """
        info = self._method(method)
        found = self._core.options.effective_for(method)
        found.setdefault("idempotent", (info.idempotent, "IDL"))
        for name in ("timeout", "attempt_timeout", "connect_timeout"):
            value = getattr(self._call_options, name)
            if value is not None:
                found[name] = (value, "call")
        if self._chains.retrier is not OF_THE_METHOD:
            found["retrier"] = (self._chains.retrier, "call")
        if self._chains.fallback is not None:
            found["fallback"] = (self._chains.fallback or None, "call")
        return found

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that calls can go to, as known now."""
        return self._core.running().instances.instances

    @property
    def events(self) -> EventBus:
        """What has happened to this client, such as changes of the instances; watch it, or ask for the last 200."""
        return self._core.events

    def rooms(self, method: str) -> list[str]:
        """The rooms that a call of *method* walks through, outermost first. What nobody named is not among them.

        :raises ConfigError: the service has no such method.
        """
        return self._chains.rooms(self._method(method))

    def connections(self) -> dict[str, int]:
        """Open connections, by address."""
        return self._core.running().pool.connections()

    def pool_counters(self) -> PoolCounters:
        """How many connections were made, used again, closed and lost, and how many calls had to wait for one."""
        return self._core.running().pool.counters()

    def pool_report(self) -> Sequence[GroupReport]:
        """Every connection, by instance: its age, since when it is idle, how many calls it carries."""
        return self._core.running().pool.report()

    def __repr__(self) -> str:
        return f"<Client of {self._core}>"

    async def start(self) -> None:
        """Make the client ready for calls. ``async with`` does it.

        :raises StateError: it was started before.
        """
        await self._core.start()

    async def aclose(self) -> None:
        """Wait for calls in flight, 5 seconds at most, and close every connection. Doing it twice is no error."""
        await self._core.aclose()

    async def __aenter__(self) -> Client:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def with_options(self, **values: Any) -> Client:
        """This client with other options for its calls; it shares everything else, and costs microseconds.

        :param values: fields of :class:`elanus.CallOptions` (``timeout``, ``attempt_timeout``, ``connect_timeout``,
            ``target``, ``tags``, ``metadata``, ``headers``, ``log_id``, ``middlewares``), ``retrier`` (``None``: no
            retrier) or ``fallback`` (``None``: no fallback). Tags, metadata and headers are added to those of this
            client; the rest replaces them.
        """
        derived = Client.__new__(Client)
        derived._core = self._core
        derived._chains = self._chains
        structure = {name: values.pop(name) for name in ("retrier", "fallback") if name in values}
        derived._call_options = self._call_options.merged(values)
        if structure or "middlewares" in values:
            retrier, fallback = self._chains.retrier, self._chains.fallback
            if "retrier" in structure:
                retrier = self._core.select("retrier", structure["retrier"])
            if "fallback" in structure:
                fallback = structure["fallback"] or False
            derived._chains = Chains(self._core, retrier, fallback, derived._call_options.middlewares)
        return derived

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method by its IDL name: an awaitable for the reply, or for streaming methods a stream.

        :raises ConfigError: the service has no such method.
        """
        return self._caller(self._method(method))(*arguments, **named)

    async def invoke(self, method: str, *arguments: Any, **named: Any) -> Result:
        """As :meth:`call` for unary methods, and also gives metadata, instance and timeline."""
        info = self._method(method)
        if info.kind.streams:
            raise ConfigError(f"{info} is a stream", hint=f"Use client.call({method!r}, ...)")
        endpoint = self._chains.endpoint(info)
        call = _prepare(self._core, self._call_options, info, _bound(info, arguments, named))
        try:
            reply = await endpoint(call)
        finally:
            call.error = None  # see _unary_caller
        if call.biz_status is not None:
            raise _taken(call)
        return Result.of(call, reply)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in self._core.service.methods:
                raise AttributeError(_no_method(self._core.service, name))
            caller = self._caller(self._core.service.methods[name])
            self.__dict__[name] = caller
            return caller

    def _method(self, name: str) -> MethodInfo:
        method = self._core.service.methods.get(name)
        if method is None:
            raise ConfigError(_no_method(self._core.service, name))
        return method

    def _caller(self, method: MethodInfo) -> Callable[..., Any]:
        return self._stream_caller(method) if method.kind.streams else self._unary_caller(method)

    # Callers are kept in the client's __dict__. One that referred to the client would keep a dropped client, and its
    # sockets, until the collector comes by; so they know its parts instead.

    def _unary_caller(self, method: MethodInfo) -> Callable[..., Any]:
        core, chains, options, count = self._core, self._chains, self._call_options, len(method.parameters)

        async def caller(*arguments: Any, **named: Any) -> Any:
            if named or len(arguments) != count:
                arguments = _bound(method, arguments, named)
            endpoint = chains.endpoints.get(method) or chains.endpoint(method)
            call = _prepare(core, options, method, arguments)
            try:
                reply = await endpoint(call)
            except BaseException:
                call.error = None  # its traceback holds this frame, and the frame the call: a circle
                raise
            if call.biz_status is not None:
                raise _taken(call)
            return reply

        caller.__name__ = method.name
        caller.__qualname__ = str(method)
        return caller

    def _stream_caller(self, method: MethodInfo) -> Callable[..., ClientStream]:
        core, chains, options = self._core, self._chains, self._call_options

        def caller(*arguments: Any, **named: Any) -> ClientStream:
            endpoint = chains.endpoint(method)
            if not method.kind.client_streams:
                arguments = _bound(method, arguments, named)
            elif arguments or named:
                raise TypeError(f"{method.name}() takes no arguments: send them on the stream that it returns")
            return ClientStream(_prepare(core, options, method, arguments), endpoint, core.items(method))

        caller.__name__ = method.name
        caller.__qualname__ = str(method)
        return caller


def _prepare(core: ClientCore, options: CallOptions, method: MethodInfo, arguments: Sequence[Any]) -> Call:
    """A call with everything that it starts from: options, budget, and what the running handler's call hands on."""
    if core.loop is not get_running_loop():
        raise core.elsewhere()
    call = Call(core.service, method, arguments, options, caller=core.options.caller, callee=core.callee)
    parent = running_call()
    call.metadata = options.metadata
    call.headers = options.headers
    call.log_id = options.log_id
    if parent is not None:
        _inherit(call, parent)
    timeout = options.timeout or core.budgets[method]
    if timeout is not None and timeout != inf:
        deadline = Deadline(monotonic() + timeout)
        if call.deadline is None or deadline < call.deadline:
            call.deadline = deadline
            call.limit = ("timeout", timeout)
    return call


def _taken(call: Call) -> BizStatusError:
    """The business status of *call*, taken off it: raised while on it, its traceback would close a circle."""
    status, call.biz_status = call.biz_status, None
    assert status is not None
    status.locate(call)
    status.timeline = call.history(status)
    return status


def _inherit(call: Call, parent: Call) -> None:
    """A handler's outgoing call has what is left of its time, its persistent metadata, and its log id."""
    if parent.deadline is not None and not shielded():
        call.deadline = parent.deadline
        call.limit = ("deadline", max(parent.remaining() or 0.0, 0.0))
    call.caller = call.caller or parent.callee or parent.service.name
    call.caller_method = parent.method.name
    call.log_id = call.log_id or parent.log_id
    if parent.metadata.persistent:
        call.metadata = parent.metadata.forwarded().merged(call.metadata)


def _bound(method: MethodInfo, arguments: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """Positional and keyword arguments in the order of the IDL's parameters.

    :raises TypeError: as a call of a function with these parameters would.
    """
    parameters = method.parameters
    if len(arguments) > len(parameters):
        raise TypeError(
            f"{method.name}() takes {len(parameters)} arguments ({_listed(parameters)}), not {len(arguments)}"
        )
    values = dict(zip(parameters, arguments, strict=False))
    for name, value in named.items():
        if name not in parameters:
            raise TypeError(f"{method.name}() has no parameter {name!r}; it has {_listed(parameters)}")
        if name in values:
            raise TypeError(f"{method.name}() got parameter {name!r} twice")
        values[name] = value
    missing = [name for name in parameters if name not in values]
    if missing:
        raise TypeError(f"{method.name}() lacks {_listed(missing)}")
    return tuple(values[name] for name in parameters)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _no_method(service: ServiceInfo, name: str) -> str:
    return f"{service.name} has no method {name!r}; it has: {_listed(sorted(service.methods))}"


def _warn_of_hidden_methods(service: ServiceInfo, client: type) -> None:
    hidden = [name for name in service.methods if name.startswith("_") or hasattr(client, name)]
    for name in hidden:
        warnings.warn(
            f"{service.name}.{name} is hidden by an attribute of the client; call it with client.call({name!r}, ...)",
            stacklevel=3,
        )
