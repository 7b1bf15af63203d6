"""What a running server is made of: its options and parts, the composed chains, and what changes while it runs."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from elanus.configuration import ConfigChange, Configuration
from elanus.contracts.transport import LinkOptions
from elanus.errors import ConfigError, PluginError
from elanus.events import CONFIG_CHANGE, CONFIG_ERROR, SERVICE_CB, report_transitions
from elanus.limits import DEFAULT_LIMITS
from elanus.net.dispatch import HandlerDispatcher, unary_handler
from elanus.net.listener import Listener
from elanus.net.routing import Routes
from elanus.net.streams import item_endpoints, stream_handler
from elanus.plugins import installed_plugins
from elanus.service import MethodInfo, ServiceInfo
from elanus.shelf import Chosen, Shelf
from elanus.stages import ServerParts, server_chain, server_rooms
from elanus.wheel import wheel_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.registry import Registry
    from elanus.endpoint import Endpoint
    from elanus.events import EventBus
    from elanus.net.refusals import Refusals
    from elanus.options import ServerOptions
    from elanus.service import Instance

__all__ = ["ServerCore", "chosen_parts"]

_log = logging.getLogger("elanus.config")


class ServerCore:
    """Built in this order: options, parts, routes, chains, dispatcher. The port opens later.

    :param services: each with its handler.
    :param fallback: the service that gets what names none.
    """

    dispatcher: HandlerDispatcher
    listener: Listener
    executor: ThreadPoolExecutor
    registry: Registry | None

    def __init__(
        self,
        code: ServerOptions,
        services: Sequence[tuple[ServiceInfo, object]],
        fallback: ServiceInfo | None,
        events: EventBus,
        refusals: Refusals,
    ) -> None:
        self.options = self._base = self._code = code
        self._given = services
        self._fallback = fallback
        self._events = events
        self._refusals = refusals
        self._plugins = installed_plugins().with_local(code.plugins)
        self._configuration = Configuration(self._plugins, code.config)
        self._watching: asyncio.Task[None] | None = None
        #: By service and method: the rooms of its chain.
        self.rooms: Mapping[str, Sequence[str]] = {}
        self.address = ""
        self.announced: tuple[str, Instance] | None = None
        self.stopping: asyncio.Task[None] | None = None

    async def configure(self) -> None:
        """Fold the options: what code says, hooks, and configuration sources.

        :raises ConfigError: something in it is wrong.
        """
        plugins, code = self._plugins, self._code
        if self._configuration:
            await self._configuration.start()
        named = [service for service, _ in self._given]
        if plugins is installed_plugins():
            self._plugins = plugins = plugins.with_local(self._configuration.server(code, ()).plugins)
        base = plugins.configure_server(code)
        if base.config != code.config:
            raise PluginError("a plugin sets 'config', which was read before", hint="Set it in code, or ELANUS_CONFIG")
        self._base = base.spelled_out([(one.name, method) for one in named for method in one.methods])
        self.options = self._configuration.server(self._base, named)

    def assemble(self, *, listening: bool) -> None:
        """Everything but the port.

        :param listening: whether there will be one. Without it there is nothing to tell protocols apart by, and no
            transport need be installed.
        """
        options, plugins = self.options, self._plugins
        self._refusals.reporter = options.limit_reporter
        transports = [plugins.select("transport", choice) for choice in options.transports if listening]
        self.registry = None if options.registry is None else plugins.select("registry", options.registry)
        self._shelf = Shelf(plugins.select).restocked(chosen_parts(options))
        # No configuration holds functions, so these never change.
        self._middlewares = [*plugins.server_middlewares(options), *options.middlewares]
        self._services = services = _prepared([service for service, _ in self._given], options)
        fallback = next(
            (one for one in services if self._fallback is not None and one.name == self._fallback.name), None
        )
        routes = Routes(services, fallback, require_service=options.require_service_name)
        self.executor = ThreadPoolExecutor(options.threads, thread_name_prefix="elanus-handler")
        self._handlers = self._innermost()
        self.dispatcher = HandlerDispatcher(routes, self._composed(), options.limits.calls, self._refusals.call)
        link = LinkOptions(limits=options.limits, ssl=options.ssl, read_write_timeout=options.read_write_timeout)
        limiter = self._shelf["limiter"]
        self.listener = Listener(transports, self.dispatcher, options, link, self._refusals, limiter)
        if self._configuration:
            loop = asyncio.get_running_loop()
            self._watching = loop.create_task(self._configuration.watch(self._configuration_changed))

    def _innermost(self) -> dict[MethodInfo, Endpoint]:
        """Each method's handler as an endpoint."""
        options = self.options
        found = {}
        for service, (_, handler) in zip(self._services, self._given, strict=True):
            for method in service.methods.values():
                function = getattr(handler, method.name)
                if method.kind.streams:
                    sending, receiving = options.send_middlewares, options.receive_middlewares
                    items = item_endpoints(service.codec, method, sending, receiving, server=True)
                    found[method] = stream_handler(function, service.codec, method, items)
                else:
                    found[method] = unary_handler(function, self.executor)
        return found

    def _composed(self) -> dict[MethodInfo, Endpoint]:
        """The chains of all methods, of the parts that there are now."""
        options = self.options
        parts = ServerParts(
            options=options,
            wheel=wheel_of(asyncio.get_running_loop()),
            tracers=self._shelf.those("tracers."),
            limiter=self._shelf["limiter"],
            breaker=self._shelf["breaker"],
            middlewares=self._middlewares,
            refused=self._refusals.call,
        )
        report_transitions(parts.breaker, self._events, SERVICE_CB)
        every = [(service, method) for service in self._services for method in service.methods.values()]
        self.rooms = {str(method): server_rooms(parts, service, method) for service, method in every}
        return {method: server_chain(parts, service, method, self._handlers[method]) for service, method in every}

    def _configuration_changed(self, error: ConfigError | None) -> None:
        """A source has changed: be made of what it says now, or stay as it was and say why."""
        before = self.options
        try:
            if error is not None:
                raise error
            wanted = self._configuration.checked().server(self._base, self._services)
            options = wanted.kept(wanted.fixed, before)
            self._shelf = self._shelf.restocked(chosen_parts(options))
        except ConfigError as problem:
            _log.error("server of %s: the configuration stays as it was: %s", self._services[0].name, problem)
            self._events.emit(CONFIG_ERROR, str(problem), problem)
            return
        self.options = options
        self.dispatcher.replace(self._composed())  # calls in flight finish on theirs
        self.listener.limiter = self._shelf["limiter"]
        change = ConfigChange.between(before, wanted)
        if change.changed or change.needs_restart:
            _log.info("server of %s: the configuration has changed: %s", self._services[0].name, change)
            self._events.emit(CONFIG_CHANGE, str(change), change)

    async def aclose(self) -> None:
        """End what is left when the port is closed, or was never opened."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await self._configuration.aclose()
        if hasattr(self, "executor"):
            self.executor.shutdown(wait=False, cancel_futures=True)


def chosen_parts(options: ServerOptions) -> dict[str, Chosen]:
    """What *options* choose, by place, of that which can change while the server runs."""
    source = options.configured_at("tracers")
    wanted = {f"tracers.{number}": Chosen("tracer", choice, source) for number, choice in enumerate(options.tracers)}
    for kind in ("limiter", "breaker"):
        wanted[kind] = Chosen(kind, getattr(options, kind), options.configured_at(kind))
    return wanted


def _prepared(services: list[ServiceInfo], options: ServerOptions) -> list[ServiceInfo]:
    """The services with codecs that keep the server's limits, and with no method in common: a service that extends
    another may share its methods, which have a handler each here.
    """
    prepared, seen = [], set[MethodInfo]()
    for service in services:
        limited = options.limits != DEFAULT_LIMITS
        codec = service.codec.with_limits(options.limits) if limited else service.codec
        methods = {
            name: dataclasses.replace(method) if method in seen else method for name, method in service.methods.items()
        }
        seen.update(methods.values())
        prepared.append(dataclasses.replace(service, codec=codec, methods=methods))
    return prepared
