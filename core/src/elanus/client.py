"""The client: assembled once from options and plugins, then one coroutine per call."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import warnings
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.call import Call, running_call, shielded
from elanus.contracts.transport import LinkOptions
from elanus.deadline import Deadline
from elanus.errors import ConfigError, StateError
from elanus.events import DISCOVERY_CHANGE, EventBus
from elanus.limits import DEFAULT_LIMITS
from elanus.net.discovery import Change, FixedInstances, WatchedInstances
from elanus.net.pool import Pool
from elanus.net.send import unary_send
from elanus.net.streams import ItemEndpoints, item_endpoints, stream_send
from elanus.net.warm_up import warm_up
from elanus.net.watching import watch_key
from elanus.options import CallOptions, ClientOptions
from elanus.plugins import PluginSet, installed_plugins
from elanus.result import Result
from elanus.service import Instance, MethodInfo, ServiceInfo
from elanus.stages import ClientParts, client_chain
from elanus.streams import ClientStream
from elanus.wheel import wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from elanus.endpoint import Endpoint
    from elanus.errors import BizStatusError
    from elanus.events import Happening
    from elanus.options import WarmUp

__all__ = ["Client"]

_STATES = {"new": "not started", "running": "running", "closed": "closed"}

#: Seconds that closing waits for calls in flight.
_CLOSE_GRACE = 5.0


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
        self._core = _ClientCore(service, options)
        self._call_options = CallOptions()
        self._chains = _Chains(self._core, self._core.retrier)
        _warn_of_hidden_methods(service, type(self))

    @property
    def service(self) -> ServiceInfo:
        """The service that this client calls."""
        return self._core.service

    @property
    def options(self) -> ClientOptions:
        """The options in force; ``client.options.effective()`` also says where each came from."""
        return self._core.options

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that calls can go to, as known now."""
        return self._core.running().instances.instances

    @property
    def events(self) -> EventBus:
        """What has happened to this client, such as changes of the instances; watch it, or ask for the last 200."""
        return self._core.events

    def connections(self) -> dict[str, int]:
        """Open connections, by address."""
        return self._core.running().pool.connections()

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
            ``target``, ``tags``, ``metadata``, ``headers``, ``log_id``, ``middlewares``), or ``retrier``. Tags,
            metadata and headers are added to those of this client; the rest replaces them.
        """
        derived = Client.__new__(Client)
        derived._core = self._core
        derived._chains = self._chains
        retrier = values.pop("retrier", self._chains.retrier)
        derived._call_options = self._call_options.merged(values)
        if "middlewares" in values or retrier is not self._chains.retrier:
            chosen = self._core.select("retrier", retrier)
            derived._chains = _Chains(self._core, chosen, derived._call_options.middlewares)
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


class _ClientCore:
    """What a client and those derived from it share. Built in this order: options, parts; and at the start: wheel,
    pool, instances.
    """

    def __init__(self, service: ServiceInfo, values: Mapping[str, Any]) -> None:
        self._running: _Running | None = None
        self._state = "new"
        self._items: dict[MethodInfo, ItemEndpoints] = {}
        self.events = EventBus()
        self.events.watch(DISCOVERY_CHANGE, _weakly(self))
        self.service = service
        options = ClientOptions.from_code(values)
        plugins = installed_plugins()
        if options.plugins:
            plugins = PluginSet(plugins)
            for plugin in options.plugins:
                plugins.activate(plugin)
        self.options = options = plugins.configure_client(service, options)
        self._plugins = plugins
        self.codec = service.codec if options.limits == DEFAULT_LIMITS else service.codec.with_limits(options.limits)
        self.callee = options.name or service.name
        self._transport = plugins.select("transport", options.transport)
        self._balancer = plugins.select("balancer", options.balancer)
        self._resolver = self.select("resolver", options.resolver)
        self._tracers = [plugins.select("tracer", choice) for choice in options.tracers]
        self._service_breaker = self.select("breaker", options.service_breaker)
        self._instance_breaker = self.select("breaker", options.instance_breaker)
        self.retrier = self.select("retrier", options.retrier)
        self._middlewares = [*plugins.client_middlewares(service, options), *options.middlewares]

    def select(self, kind: str, choice: Any) -> Any:
        """Build what *choice* names; ``None`` for ``None``."""
        return None if choice is None else self._plugins.select(kind, choice)

    def parts(self, call_middlewares: Sequence[Any], retrier: Any) -> ClientParts:
        """What the rooms are made of; *retrier* may differ from the client's own."""
        running = self.running()
        return ClientParts(
            options=self.options,
            wheel=running.wheel,
            instances=running.instances,
            tracers=self._tracers,
            retrier=retrier,
            service_breaker=self._service_breaker,
            instance_breaker=self._instance_breaker,
            middlewares=self._middlewares,
            call_middlewares=call_middlewares,
        )

    def send(self, method: MethodInfo) -> Endpoint:
        """The innermost endpoint of a method."""
        running = self.running()
        make = stream_send if method.kind.streams else unary_send
        lane = self._transport.lane(method)
        return make(running.pool, self.codec, method, lane, self.options.connect_timeout)

    def items(self, method: MethodInfo) -> ItemEndpoints:
        """The way of the messages of a streaming method."""
        if method not in self._items:
            sending, receiving = self.options.send_middlewares, self.options.receive_middlewares
            self._items[method] = item_endpoints(self.codec, method, sending, receiving, server=False)
        return self._items[method]

    def running(self) -> _Running:
        """What exists between start and close.

        :raises StateError: before the start, after the close, or in another event loop.
        """
        if self._running is None:
            hint = "Use `async with elanus.Client(...)`, and make calls inside of it"
            raise StateError(f"the client of {self.service.name} is {_STATES[self._state]}", hint=hint)
        return self._running

    async def start(self) -> None:
        if self._state != "new":
            raise StateError(f"the client of {self.service.name} is {self._state}", hint="Make a new client")
        if self._resolver is None and not self.options.targets:
            raise ConfigError(
                f"the client of {self.service.name} knows no instances",
                hint='Give addresses, or resolver= with name=, for example resolver="file"',
            )
        loop = asyncio.get_running_loop()
        options = self.options
        link = LinkOptions(limits=options.limits, ssl=options.ssl, read_write_timeout=options.read_write_timeout)
        pool = Pool(self._transport, link, options.pool)
        instances: FixedInstances | WatchedInstances
        if self._resolver is None:
            fixed = [Instance(address) for address in options.targets]
            instances = FixedInstances(self.callee, fixed, self._balancer)
        else:
            instances = self._watched(self.callee)
        self._running = _Running(loop, wheel_of(loop), pool, instances)
        self._state = "running"
        if options.warm_up is not None:
            await self._warm_up(options.warm_up, self._running)

    def _watched(self, name: str) -> WatchedInstances:
        """The instances of *name*, as the client's resolver finds them; its watch is shared with other clients."""
        choice = self.options.resolver
        local = id(self._plugins) if self.options.plugins else 0  # a local plugin's "file" may be another's
        return WatchedInstances(
            name,
            self._resolver,
            self._balancer,
            self.events,
            key=(local, watch_key(choice)),
            owned=self._resolver is not choice,
            empty_grace=self.options.empty_grace,
        )

    async def _warm_up(self, plan: WarmUp, running: _Running) -> None:
        others = [self._watched(name) for name in plan.names] if self._resolver is not None else []
        running.others.extend(others)
        lanes = [self._transport.lane(method) for method in self.service.methods.values()]
        try:
            await warm_up(plan, [running.instances, *others], running.pool, lanes, self.options.connect_timeout)
        except BaseException:
            await self.aclose()
            raise

    def instances_changed(self, happening: Happening) -> None:
        """An instance is gone: its connections go after their calls, and its breaker is forgotten."""
        change = happening.value
        if self._running is None or not isinstance(change, Change):
            return
        for instance in change.removed:
            self._running.pool.drop(instance.address)
            if self._instance_breaker is not None:
                self._instance_breaker.forget(instance.address)

    async def aclose(self) -> None:
        running, self._running = self._running, None
        self._state = "closed"
        if running is not None:
            try:
                await running.pool.aclose(_CLOSE_GRACE)
            finally:
                await running.close_watches()

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running is not None:
            warnings.warn(
                f"unclosed elanus client of {self.service.name}; use `async with`, or await client.aclose()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            running.abandon()


@dataclasses.dataclass(frozen=True, slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    wheel: Any
    pool: Pool
    instances: FixedInstances | WatchedInstances
    #: Further destinations that were warmed up.
    others: list[WatchedInstances] = dataclasses.field(default_factory=list)

    async def close_watches(self) -> None:
        """Stop watching."""
        for instances in (self.instances, *self.others):
            await instances.aclose()

    def abandon(self) -> None:
        """Free the sockets of a client that nobody closed, as far as its loop still lives."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._close_in_loop)

    def _close_in_loop(self) -> None:
        task = self.loop.create_task(self.pool.aclose(0.0))
        task.add_done_callback(lambda _: self.loop.create_task(self.close_watches()))


class _Chains:
    """The composed endpoints of one structure: a client's own, or of one derived with middlewares or a retrier."""

    def __init__(self, core: _ClientCore, retrier: Any, middlewares: Sequence[Any] = ()) -> None:
        self._core = core
        self._middlewares = middlewares
        self.retrier = retrier
        self.endpoints: dict[MethodInfo, Endpoint] = {}

    def endpoint(self, method: MethodInfo) -> Endpoint:
        """The endpoint of a method, composed at its first use."""
        endpoint = self.endpoints.get(method)
        if endpoint is None:
            parts = self._core.parts(self._middlewares, self.retrier)
            endpoint = self.endpoints[method] = client_chain(parts, method, self._core.send(method))
        return endpoint


def _prepare(core: _ClientCore, options: CallOptions, method: MethodInfo, arguments: Sequence[Any]) -> Call:
    """A call with everything that it starts from: options, budget, and what the running handler's call hands on."""
    call = Call(core.service, method, arguments, options, caller=core.options.caller, callee=core.callee)
    parent = running_call()
    call.metadata = options.metadata
    call.headers = options.headers
    call.log_id = options.log_id
    if parent is not None:
        _inherit(call, parent)
    timeout = options.timeout or core.options.timeout
    if timeout is not None:
        deadline = Deadline(monotonic() + timeout)
        if call.deadline is None or deadline < call.deadline:
            call.deadline = deadline
            call.limit = ("timeout", timeout)
    return call


def _weakly(core: _ClientCore) -> Callable[[Happening], None]:
    """A watcher that does not keep the client alive: it is to be freed when nobody uses it any more."""
    reference = weakref.ref(core)

    def watcher(happening: Happening) -> None:
        alive = reference()
        if alive is not None:
            alive.instances_changed(happening)

    return watcher


def _taken(call: Call) -> BizStatusError:
    """The business status of *call*, taken off it: raised while on it, its traceback would close a circle."""
    status, call.biz_status = call.biz_status, None
    assert status is not None
    status.locate(call)
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
