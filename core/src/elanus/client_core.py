"""What a client is made of: its options and parts, what exists while it runs, and its composed chains."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from elanus.configuration import ConfigChange, Configuration
from elanus.contracts.transport import LinkOptions
from elanus.errors import ConfigError, PluginError, StateError
from elanus.events import (
    CONFIG_CHANGE,
    CONFIG_ERROR,
    DISCOVERY_CHANGE,
    INSTANCE_CB,
    SERVICE_CB,
    EventBus,
    report_ejections,
    report_transitions,
)
from elanus.limits import DEFAULT_LIMITS
from elanus.net.discovery import Change, FixedInstances, WatchedInstances
from elanus.net.pool import Pool
from elanus.net.send import unary_send
from elanus.net.streams import ItemEndpoints, item_endpoints, stream_send
from elanus.net.warm_up import warm_up
from elanus.net.watching import watch_key
from elanus.option_checks import refuse_unknown
from elanus.options import ClientOptions
from elanus.plugins import installed_plugins
from elanus.service import Instance, MethodInfo, ServiceInfo
from elanus.shelf import Chosen, Shelf
from elanus.stages import ClientParts, client_chain, client_rooms
from elanus.wheel import wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.endpoint import Endpoint
    from elanus.events import Happening
    from elanus.options import WarmUp

__all__ = ["OF_THE_METHOD", "Chains", "ClientCore", "chosen_parts"]

_log = logging.getLogger("elanus.config")

_STATES = {"new": "not started", "running": "running", "closed": "closed"}

#: Seconds that closing waits for calls in flight.
_CLOSE_GRACE = 5.0


class ClientCore:
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
        #: Every structure whose chains are composed of these parts.
        self.structures: weakref.WeakSet[Chains] = weakref.WeakSet()
        self._watching: asyncio.Task[None] | None = None
        #: The event loop that it was started in.
        self.loop: asyncio.AbstractEventLoop | None = None
        code = ClientOptions.from_code(values)
        self._plugins = plugins = installed_plugins().with_local(code.plugins)
        self._configuration = Configuration(plugins, code.config)
        if plugins is installed_plugins():
            self._plugins = plugins = plugins.with_local(self._configuration.client(code, service).plugins)
        self._base = base = plugins.configure_client(service, code)
        if base.config != code.config:
            raise PluginError("a plugin sets 'config', which was read before", hint="Set it in code, or ELANUS_CONFIG")
        self._shelf = Shelf(plugins.select)
        self.options = ClientOptions()
        self.codec = service.codec
        self._adopt(self._configuration.client(base, service))
        # No configuration holds functions, so these never change.
        self._middlewares = [*plugins.client_middlewares(service, self.options), *self.options.middlewares]

    def _adopt(self, options: ClientOptions) -> None:
        """Be made of *options* from now on: whole or, where a part cannot be built, not at all.

        :raises ConfigError: a part cannot be built, or there is no such method.
        """
        service = self.service
        refuse_unknown(f"method of {service.name}:", options.methods, service.methods)
        self._shelf = self._shelf.restocked(chosen_parts(options))
        report_transitions(self._shelf["service_breaker"], self.events, SERVICE_CB)
        report_transitions(self._shelf["instance_breaker"], self.events, INSTANCE_CB)
        report_ejections(self._shelf["balancer"], self.events)
        if self.options.limits != options.limits:
            limited = options.limits != DEFAULT_LIMITS
            self.codec = service.codec.with_limits(options.limits) if limited else service.codec
        self.options = options
        self.callee = options.name or service.name
        self._transport = self._shelf["transport"]
        #: By method: seconds for a call whose own options say nothing.
        self.budgets = {method: options.for_method(name).timeout for name, method in service.methods.items()}
        for chains in self.structures:
            chains.endpoints.clear()  # calls in flight finish on theirs

    def select(self, kind: str, choice: Any) -> Any:
        """Build what *choice* names; ``None`` for ``None`` and for ``False``."""
        return None if choice is None or choice is False else self._plugins.select(kind, choice)

    def retrier_of(self, method: MethodInfo) -> Any:
        """The retrier of a method's calls: its own, or the client's."""
        own = f"methods.{method.name}.retrier"
        return self._shelf[own if own in self._shelf else "retrier"]

    def parts(self, call_middlewares: Sequence[Any], retrier: Any, fallback: Any = None) -> ClientParts:
        """What the rooms of one method are made of."""
        running = self.running()
        return ClientParts(
            options=self.options,
            wheel=running.wheel,
            instances=running.instances,
            tracers=self._shelf.those("tracers."),
            retrier=retrier,
            service_breaker=self._shelf["service_breaker"],
            instance_breaker=self._shelf["instance_breaker"],
            middlewares=self._middlewares,
            call_middlewares=call_middlewares,
            call_fallback=fallback,
        )

    def send(self, method: MethodInfo) -> Endpoint:
        """The innermost endpoint of a method."""
        running = self.running()
        make = stream_send if method.kind.streams else unary_send
        lane = self._transport.lane(method)
        connect_timeout = self.options.for_method(method.name).connect_timeout
        assert connect_timeout is not None, "the client always has one"
        return make(running.pool, self.codec, method, lane, connect_timeout)

    def items(self, method: MethodInfo) -> ItemEndpoints:
        """The way of the messages of a streaming method."""
        if method not in self._items:
            sending, receiving = self.options.send_middlewares, self.options.receive_middlewares
            self._items[method] = item_endpoints(self.codec, method, sending, receiving, server=False)
        return self._items[method]

    def running(self) -> _Running:
        """What exists between start and close.

        :raises StateError: before the start, or after the close.
        """
        if self._running is None:
            hint = "Use `async with elanus.Client(...)`, and make calls inside of it"
            raise StateError(f"the client of {self.service.name} is {_STATES[self._state]}", hint=hint)
        return self._running

    def elsewhere(self) -> StateError:
        """The error for whoever uses the client in another event loop than the one that it was started in."""
        return StateError(
            f"the client of {self.service.name} was started in another event loop",
            hint="Make one client for each event loop, and start it there",
        )

    def __str__(self) -> str:
        """Service, where its instances come from, and state: for the client's ``repr``."""
        options = self.options
        choice = options.resolver
        resolver = choice if isinstance(choice, str) else getattr(choice, "name", choice and choice[0])
        where = ", ".join(options.targets) if choice is None else f"{self.callee!r} in {resolver}"
        return f"{self.service.name} at {where or 'nowhere'}, {_STATES[self._state]}"

    async def start(self) -> None:
        if self._state != "new":
            raise StateError(f"the client of {self.service.name} is {self._state}", hint="Make a new client")
        try:
            await self._start()
        except BaseException:
            if self._running is None:
                await self._configuration.aclose()
            raise

    async def _start(self) -> None:
        if self._configuration:
            await self._configuration.start()
            self._adopt(self._configuration.client(self._base, self.service))
        if self._shelf["resolver"] is None and not self.options.targets:
            raise ConfigError(
                f"the client of {self.service.name} knows no instances",
                hint='Give addresses, or resolver= with name=, for example resolver="file"',
            )
        loop = self.loop = asyncio.get_running_loop()
        options = self.options
        link = LinkOptions(limits=options.limits, ssl=options.ssl, read_write_timeout=options.read_write_timeout)
        pool = Pool(self._transport, link, options.pool)
        instances: FixedInstances | WatchedInstances
        if self._shelf["resolver"] is None:
            fixed = [Instance(address) for address in options.targets]
            instances = FixedInstances(self.callee, fixed, self._shelf["balancer"])
        else:
            instances = self._watched(self.callee)
        self._running = _Running(loop, wheel_of(loop), pool, instances)
        self._state = "running"
        if self._configuration:
            self._watching = loop.create_task(self._configuration.watch(_configuring(self)))
        if options.warm_up is not None:
            await self._warm_up(options.warm_up, self._running)

    def _watched(self, name: str) -> WatchedInstances:
        """The instances of *name*, as the client's resolver finds them; its watch is shared with other clients."""
        choice = self.options.resolver
        local = id(self._plugins) if self.options.plugins else 0  # a local plugin's "file" may be another's
        return WatchedInstances(
            name,
            self._shelf["resolver"],
            self._shelf["balancer"],
            self.events,
            key=(local, watch_key(choice)),
            owned=self._shelf["resolver"] is not choice,
            empty_grace=self.options.empty_grace,
        )

    async def _warm_up(self, plan: WarmUp, running: _Running) -> None:
        others = [self._watched(name) for name in plan.names] if self._shelf["resolver"] is not None else []
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
            if self._shelf["instance_breaker"] is not None:
                self._shelf["instance_breaker"].forget(instance.address)

    def configuration_changed(self, error: ConfigError | None) -> None:
        """A source has changed: be made of what it says now, or stay as it was and say why."""
        if self._running is None:
            return
        before, balancer = self.options, self._shelf["balancer"]
        try:
            if error is not None:
                raise error
            wanted = self._configuration.checked().client(self._base, self.service)
            self._adopt(wanted.kept(wanted.fixed, before))
        except ConfigError as problem:
            _log.error("client of %s: the configuration stays as it was: %s", self.service.name, problem)
            self.events.emit(CONFIG_ERROR, str(problem), problem)
            return
        if self._shelf["balancer"] is not balancer:
            for instances in (self._running.instances, *self._running.others):
                instances.rebalance(self._shelf["balancer"])
        change = ConfigChange.between(before, wanted)
        if change.changed or change.needs_restart:
            _log.info("client of %s: the configuration has changed: %s", self.service.name, change)
            self.events.emit(CONFIG_CHANGE, str(change), change)

    async def aclose(self) -> None:
        if self._running is not None and self.loop is not asyncio.get_running_loop():
            raise self.elsewhere()
        running, self._running = self._running, None
        self._state = "closed"
        if running is not None:
            try:
                await running.pool.aclose(_CLOSE_GRACE)
            finally:
                await running.close_watches()
                await self._close_configuration()

    async def _close_configuration(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await self._configuration.aclose()

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running is not None:
            if self._watching is not None:
                with contextlib.suppress(RuntimeError):
                    running.loop.call_soon_threadsafe(self._watching.cancel)
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


#: Each method's calls have its own, or the client's.
OF_THE_METHOD: Any = object()


class Chains:
    """The composed endpoints of one structure: a client's own, or of one derived with middlewares, a retrier or a
    fallback.
    """

    def __init__(
        self,
        core: ClientCore,
        retrier: Any = OF_THE_METHOD,
        fallback: Any = None,
        middlewares: Sequence[Any] = (),
    ) -> None:
        self._core = core
        self._middlewares = middlewares
        #: The retrier of all methods, ``None`` for none, or :data:`OF_THE_METHOD`.
        self.retrier = retrier
        #: The fallback of all methods, ``False`` for none; ``None``: as method and client have it.
        self.fallback = fallback
        self.endpoints: dict[MethodInfo, Endpoint] = {}
        core.structures.add(self)

    def endpoint(self, method: MethodInfo) -> Endpoint:
        """The endpoint of a method, composed at its first use."""
        endpoint = self.endpoints.get(method)
        if endpoint is None:
            endpoint = self.endpoints[method] = client_chain(self._parts(method), method, self._core.send(method))
        return endpoint

    def rooms(self, method: MethodInfo) -> list[str]:
        """The names of the rooms in the chain of a method, outermost first."""
        return client_rooms(self._parts(method), method)

    def _parts(self, method: MethodInfo) -> ClientParts:
        retrier = self._core.retrier_of(method) if self.retrier is OF_THE_METHOD else self.retrier
        return self._core.parts(self._middlewares, retrier, self.fallback)


def chosen_parts(options: ClientOptions) -> dict[str, Chosen]:
    """What *options* choose, by place."""
    kinds = {
        "transport": "transport",
        "balancer": "balancer",
        "resolver": "resolver",
        "service_breaker": "breaker",
        "instance_breaker": "breaker",
        "retrier": "retrier",
    }
    wanted = {name: Chosen(kind, getattr(options, name), options.configured_at(name)) for name, kind in kinds.items()}
    for number, choice in enumerate(options.tracers):
        wanted[f"tracers.{number}"] = Chosen("tracer", choice, options.configured_at("tracers"))
    for name, own in options.methods.items():
        if own.retrier is not None:
            place = f"methods.{name}.retrier"
            wanted[place] = Chosen("retrier", own.retrier, options.configured_at(place))
    return wanted


def _configuring(core: ClientCore) -> Callable[[ConfigError | None], None]:
    """As :func:`_weakly`, for changes of the configuration."""
    reference = weakref.ref(core)

    def changed(error: ConfigError | None) -> None:
        alive = reference()
        if alive is not None:
            alive.configuration_changed(error)

    return changed


def _weakly(core: ClientCore) -> Callable[[Happening], None]:
    """A watcher that does not keep the client alive: it is to be freed when nobody uses it any more."""
    reference = weakref.ref(core)

    def watcher(happening: Happening) -> None:
        alive = reference()
        if alive is not None:
            alive.instances_changed(happening)

    return watcher
