"""The server: services, their handlers, and one port on which they are served."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.errors import ConfigError, StateError
from elanus.events import EventBus
from elanus.net.advertising import advertised
from elanus.net.refusals import Refusals
from elanus.option_checks import refuse_unknown
from elanus.options import ServerOptions
from elanus.server_core import ServerCore
from elanus.service import Instance, MethodInfo, MethodKind, ServiceInfo

if TYPE_CHECKING:
    from elanus.contracts.registry import Registration, Registry
    from elanus.contracts.transport import Dispatcher, ServerLink

__all__ = ["Server"]

_log = logging.getLogger("elanus.server")

#: Seconds between two looks at whether every request has its answer.
_LOOK_AGAIN = 0.005
#: Seconds for saying goodbye to the registry, however little time there is for calls.
_LEAST_FAREWELL = 1.0

Hook: TypeAlias = Callable[[], Awaitable[None] | None]


class Server:
    """Serves one service or several on one port. ::

        server = elanus.Server()
        server.add_service(echo.EchoService, Echo())
        await server.serve("127.0.0.1:8888")

    :param options: fields of :class:`elanus.ServerOptions`, such as ``drain_timeout=10``.
    :raises ConfigError: an option is unknown or out of range; names the nearest known one.
    """

    def __init__(self, **options: Any) -> None:
        self._options = ServerOptions.from_code(options)
        self._services: dict[str, tuple[ServiceInfo, object]] = {}
        self._fallback: ServiceInfo | None = None
        self._start_hooks: list[Hook] = []
        self._shutdown_hooks: list[Hook] = []
        self._running: ServerCore | None = None
        self._events = EventBus()
        self._refusals = Refusals(self._events)
        self._state = "new"
        self._stopped: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        where = f" on {self._running.address}" if self._running is not None and self._running.address else ""
        return f"<Server of {', '.join(self._services) or 'nothing'}{where}, {self._state}>"

    # -- before the start ---------------------------------------------------------------------------------------

    def add_service(self, service: ServiceInfo, handler: object, *, fallback: bool = False) -> None:
        """Serve *service* with *handler*, an object with one method per IDL method.

        :param handler: each method takes one argument per IDL parameter. ``async def`` runs in the loop, a plain
            ``def`` in a thread. Streaming methods are async generators, or take an async iterator.
        :param fallback: this service gets requests that name no service, where two have a method of the same name.
        :raises ConfigError: a method is missing or takes other arguments; a service is added twice; a second fallback.
        :raises StateError: the server was started.
        """
        if self._state != "new":
            raise StateError(f"cannot add {service} to a server that is {self._state}", hint="Add services first")
        if not isinstance(service, ServiceInfo):
            raise ConfigError(f"{service!r} is no service", hint="Give one of a loaded IDL")
        if service.name in self._services:
            raise ConfigError(f"service {service.name!r} is added twice", hint="One handler per service name")
        if fallback and self._fallback is not None:
            raise ConfigError(f"{self._fallback} and {service} are both the fallback", hint="Choose one")
        _check_handler(service, handler)
        self._services[service.name] = (service, handler)
        if fallback:
            self._fallback = service

    def services(self) -> Mapping[str, ServiceInfo]:
        """The services that were added, by IDL name."""
        return {name: service for name, (service, _) in self._services.items()}

    def on_start(self, hook: Hook) -> Hook:
        """Run *hook* (``async`` or not) once the port answers, before the server is registered. A decorator, too."""
        self._start_hooks.append(hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        """Run *hook* (``async`` or not) first of all when the server stops. A decorator, too."""
        self._shutdown_hooks.append(hook)
        return hook

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def options(self) -> ServerOptions:
        """The options in force; ``server.options.effective()`` also says where each came from."""
        return self._options if self._running is None else self._running.options

    def effective(self, service: str, method: str) -> dict[str, tuple[Any, str]]:
        """Every option as it holds for one method, with where it came from: ``"default"``, ``"code"``, a plugin, or a
        place in a configuration such as ``"elanus.toml:12"``. Plugins and configuration count from the start on.

        :raises ConfigError: there is no such method.
        """
        known = [f"{one.name}/{name}" for one in self.services().values() for name in one.methods]
        refuse_unknown("method", [f"{service}/{method}"], known)
        return self.options.effective_for(service, method)

    @property
    def address(self) -> str:
        """The bound address, with the port that the system chose.

        :raises StateError: the server is not listening.
        """
        if self._running is None or not self._running.address:
            raise StateError(f"the server is {self._state} and not bound", hint="await server.start(address) first")
        return self._running.address

    @property
    def dispatcher(self) -> Dispatcher:
        """Core's side of the server, for transports that need no socket.

        :raises StateError: the server is not running.
        """
        if self._running is None:
            raise StateError(f"the server is {self._state}", hint="await server.start() first")
        return self._running.dispatcher

    def adopt(self, link: ServerLink) -> None:
        """Take a connection that did not come through the port: it is drained and closed with the others. For
        transports that need no socket.

        :raises StateError: the server takes no new connections: it is not running, or about to stop.
        :raises LimitExceededError: it has as many as it may.
        """
        if self._running is None or self._running.stopping is not None:
            raise StateError(f"the server is {self._state}", hint="await server.start() first")
        self._running.listener.adopt(link)

    def rooms(self, service: str, method: str) -> Sequence[str]:
        """The rooms that a call of *method* walks through, outermost first. What nobody named is not among them.

        :raises ConfigError: there is no such method.
        :raises StateError: the server is not running.
        """
        if self._running is None:
            raise StateError(f"the server is {self._state}", hint="await server.start() first")
        rooms = self._running.rooms.get(f"{service}/{method}")
        if rooms is None:
            raise ConfigError(f"there is no method {service}/{method}", hint=f"Known: {', '.join(self._running.rooms)}")
        return rooms

    @property
    def events(self) -> EventBus:
        """What has happened to this server apart from single calls: the last 200 events, and callbacks for new ones."""
        return self._events

    @property
    def refused(self) -> Mapping[str, int]:
        """How many calls and connections were refused since the start, by the name of the limit."""
        return self._refusals.totals

    @property
    def calls(self) -> int:
        """Calls in flight."""
        return 0 if self._running is None else self._running.dispatcher.calls

    @property
    def registrations(self) -> Sequence[Registration]:
        """How the announcements in its registry stand: since when, lost since when, and the last error."""
        registry = None if self._running is None else self._running.registry
        return () if registry is None else registry.status()

    @property
    def connections(self) -> int:
        """Open connections that have shown what they speak."""
        return 0 if self._running is None else len(self._running.listener.links)

    async def start(self, bind: str | None = None) -> str:
        """Start and return; ``stop()`` ends it.

        :param bind: ``"host:port"`` (port 0: the system chooses), ``"[v6]:port"``, ``"unix:/path"``; ``None`` opens no
            port, for transports that need none.
        :returns: the bound address.
        :raises ConfigError: no service was added, or two conflict.
        :raises TransportError: the address cannot be bound.
        :raises StateError: it was started before.
        """
        if self._state != "new":
            raise StateError(f"the server is {self._state}", hint="Make a new Server to start again")
        self._state = "starting"
        async with contextlib.AsyncExitStack() as undo:
            running = await self._assembled(undo, listening=bind is not None)
            if bind is not None:
                running.address = await running.listener.open(bind)
                undo.push_async_callback(running.listener.close)
            for hook in self._start_hooks:
                await _run_hook(hook)
            if running.registry is not None:
                await self._register(running, running.registry, undo)
            if running.stopping is not None:
                raise StateError("the server was stopped while it started")
            undo.pop_all()
            self._state = "running"
        if bind is not None:
            _log.info("serving %s on %s", ", ".join(self._services), running.address)
        return running.address

    async def _assembled(self, undo: contextlib.AsyncExitStack, *, listening: bool) -> ServerCore:
        """Everything but the port."""
        undo.callback(self._failed)
        if not self._services:
            raise ConfigError("no service to serve", hint="Call server.add_service(service, handler) first")
        services = list(self._services.values())
        core = ServerCore(self._options, services, self._fallback, self._events, self._refusals)
        undo.push_async_callback(core.aclose)
        await core.configure()
        if self._state != "starting":
            raise StateError("the server was stopped while it started")
        core.assemble(listening=listening)
        self._running = core
        return core

    async def _register(self, running: ServerCore, registry: Registry, undo: contextlib.AsyncExitStack) -> None:
        """Announce this server, now that its port answers."""
        options = running.options
        if not options.advertise and not running.address:
            raise ConfigError("a server without a port cannot be registered", hint="Give an address, or advertise=")
        if registry is not options.registry:
            undo.push_async_callback(registry.aclose)
        name = options.name or next(iter(self._services))
        instance = Instance(options.advertise or advertised(running.address), options.weight, dict(options.tags))
        await registry.register(name, instance, insist=options.register_later)
        running.announced = (name, instance)
        _log.info("registered %s as %s in %s", instance, name, registry.name)

    def _failed(self) -> None:
        self._refusals.close()
        self._running = None
        self._state = "failed"

    async def serve(self, bind: str) -> None:
        """Start, and run until :meth:`stop`, SIGTERM or SIGINT; then shut down in good order.

        A second signal ends the wait for calls in flight. Raises as :meth:`start`.
        """
        await self.start(bind)
        loop = asyncio.get_running_loop()
        self._stopped = loop.create_future()
        handled = _handle_signals(loop, self._on_signal)
        try:
            await asyncio.shield(self._stopped)
        finally:
            try:
                await self.stop()
            finally:
                for number in handled:
                    loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        assert self._stopped is not None
        if self._stopped.done():
            _log.warning("second %s: not waiting for calls in flight any longer", signal.Signals(number).name)
            if self._running is not None:
                self._running.dispatcher.hurry()
            return
        _log.info("%s: shutting down", signal.Signals(number).name)
        self._stopped.set_result(None)

    async def stop(self) -> None:
        """Shut down in good order. Calling it again, or from two tasks, waits for the same shutdown.

        The order: shutdown hooks, deregister, stop listening, tell every peer, close idle connections after
        ``drain_delay``, wait for calls in flight up to ``drain_timeout``, close the rest. Source: Kitex v0.16.3.
        """
        running = self._running
        if running is None:
            self._state = "stopped"
            return
        if running.stopping is None:
            self._state = "stopping"
            running.stopping = asyncio.get_running_loop().create_task(self._stop(running))
        await asyncio.shield(running.stopping)

    async def _stop(self, running: ServerCore) -> None:
        try:
            await self._shut_down(running)
        finally:
            self._options = running.options
            await running.aclose()
            self._running = None
            self._state = "stopped"
            if self._stopped is not None and not self._stopped.done():
                self._stopped.set_result(None)

    async def _shut_down(self, running: ServerCore) -> None:
        for hook in self._shutdown_hooks:
            try:
                await _run_hook(hook)
            except Exception:
                _log.exception("a shutdown hook failed")
        until = monotonic() + running.options.drain_timeout
        await self._withdraw(running, until)
        running.listener.stop_accepting()
        running.listener.drain()
        if not running.listener.empty:
            await asyncio.sleep(running.options.drain_delay)
        running.listener.close_idle()
        # A request that waits for its turn on a connection is no call of the dispatcher's yet.
        while running.listener.busy and not running.dispatcher.hurried and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)
        cancelled = await running.dispatcher.drain(max(0.0, until - monotonic()))
        if cancelled:
            _log.warning("%d calls were cancelled: drain_timeout=%g s", cancelled, running.options.drain_timeout)
        await running.listener.close()
        self._refusals.close()

    async def _withdraw(self, running: ServerCore, until: float) -> None:
        """Deregister, and leave at least half of the time to the calls in flight."""
        registry = running.registry
        if registry is None or running.announced is None:
            return
        left = max(until - monotonic(), _LEAST_FAREWELL)
        await _bounded(registry.deregister(*running.announced), left / 3)
        if registry is not running.options.registry:  # what the user made, the user closes
            # Also when the registry could not be reached: nothing may go on trying.
            await _bounded(registry.aclose(), left / 6)


async def _bounded(farewell: Awaitable[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await farewell
    except Exception as error:
        _log.warning("the server could not be deregistered (%r); its entry expires by itself", error)


async def _run_hook(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


def _handle_signals(loop: asyncio.AbstractEventLoop, handle: Callable[[int], None]) -> list[int]:
    handled: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not in a thread other than the main one, and not on Windows: there the caller stops the server.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, handle, number)
            handled.append(number)
    return handled


def _check_handler(service: ServiceInfo, handler: object) -> None:
    """A forgotten method fails here, not at the first call; all that is wrong is said at once."""
    name = type(handler).__name__
    missing = [method for method in service.methods if not callable(getattr(handler, method, None))]
    faults = [f"{name} has no method {', '.join(missing)} of {service.name}"] if missing else []
    hints = ["Write one method per IDL method"] if missing else []
    for method in service.methods.values():
        fault = None if method.name in missing else _fault(name, method, getattr(handler, method.name))
        if fault is not None:
            faults.append(fault[0])
            hints.append(fault[1])
    if faults:
        raise ConfigError("; ".join(faults), hint=". ".join(dict.fromkeys(hints)))


def _fault(name: str, method: MethodInfo, function: Callable[..., Any]) -> tuple[str, str] | None:
    """What is wrong with the handler of a method, and what to do."""
    wanted = 1 if method.kind.streams else len(method.parameters)
    try:
        inspect.signature(function).bind(*range(wanted))
    except TypeError as error:
        names = "the async iterator of requests" if method.kind.client_streams else ", ".join(method.parameters)
        return (
            f"{name}.{method.name}() cannot be called with the parameters of {method} ({names or 'none'}): {error}",
            "Give it one parameter per IDL parameter",
        )
    except ValueError:
        return None  # a builtin without a signature
    if method.kind.server_streams and inspect.iscoroutinefunction(function):
        return f"{name}.{method.name}() must be an async generator", "Yield each reply of the stream"
    if method.kind is MethodKind.CLIENT_STREAM and not inspect.iscoroutinefunction(function):
        return f"{name}.{method.name}() must be `async def`", "Iterate over the requests, return the reply"
    return None
