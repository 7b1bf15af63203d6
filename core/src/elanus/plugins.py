"""Finds plugins, keeps each one's faults to itself, and checks what hooks return. The only file that calls hooks."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from elanus import hookspecs
from elanus.errors import ConfigError, ElanusError, PluginError
from elanus.plugin_record import (
    KINDS,
    PluginRecord,
    UnusableError,
    check_core_version,
    check_hooks,
    checked_providers,
    fault_of,
    has_hooks,
    unusable,
    wrong_result,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import click

    from elanus.contracts.provider import Provider
    from elanus.endpoint import Middleware
    from elanus.options import ClientOptions, ServerOptions
    from elanus.service import ServiceInfo

__all__ = ["KINDS", "PluginRecord", "PluginSet", "installed_plugins", "register", "unregister"]


class PluginSet:
    """Plugins and what they offer: those of the process, or (*parent* given) those of one client or server besides."""

    def __init__(self, parent: PluginSet | None = None) -> None:
        self._parent = parent
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._records: list[PluginRecord] = []
        #: Order of activation, which is the order in which contributions are folded.
        self._active: list[PluginRecord] = []
        self._offers: dict[str, dict[str, tuple[Provider[Any], PluginRecord]]] = {}

    def records(self) -> list[PluginRecord]:
        """Every plugin, with what it offers filled in."""
        for kind in KINDS:
            self._offered(kind)
        return list(self._records)

    # -- finding ------------------------------------------------------------------------------------------------

    def scan(self) -> None:
        """Load the installed plugins, each on its own, in the order of their names."""
        from importlib.metadata import entry_points  # 30 ms that a process without plugins need not pay

        for entry_point in sorted(entry_points(group=hookspecs.PROJECT), key=lambda item: item.name):
            self._load(entry_point)

    def _load(self, entry_point: EntryPoint) -> None:
        distribution = entry_point.dist
        record = PluginRecord(entry_point.name)
        if distribution is not None:
            record.distribution = distribution.metadata["Name"]
            record.version = distribution.version
        try:
            check_core_version(record, distribution)
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:  # a script that was taken for a plugin ends nobody else's process
            record.faults.append(
                error if isinstance(error, PluginError) else fault_of(record, "cannot be loaded", error)
            )
            self._records.append(record)
            return
        self._add(record, plugin)

    def activate(self, plugin: Any) -> PluginRecord:
        """Name a plugin, so that its contributions run.

        :param plugin: the name of an installed plugin, the path of a module (``"house.defaults"`` or
            ``"house:defaults"``), or a module or object with hook implementations.
        :raises PluginError: it cannot be found, imported or registered.
        """
        record = self._named(plugin) if isinstance(plugin, str) else self._known(plugin)
        if record is None:
            record = PluginRecord(getattr(plugin, "__name__", None) or type(plugin).__name__)
            self._add(record, plugin)
        if record.unusable:
            raise record.faults[0]
        if not has_hooks(record.plugin):
            raise PluginError(f"{record} has no hooks", hint="Mark functions called elanus_... with @elanus.hookimpl")
        if not self._is_active(record):
            record.active = record.active or self._parent is None
            self._active.append(record)
        return record

    def with_local(self, named: Sequence[Any]) -> PluginSet:
        """These and, for one client or server alone, those that are *named* besides, as for :meth:`activate`."""
        if not named:
            return self
        local = PluginSet(self)
        for plugin in named:
            local.activate(plugin)
        return local

    def _is_active(self, record: PluginRecord) -> bool:
        return record in self._active or (self._parent is not None and self._parent._is_active(record))

    def remove(self, plugin: Any) -> None:
        """Undo :meth:`activate` of a module or object."""
        record = self._known(plugin)
        if record is None:
            raise PluginError(f"{plugin!r} is not registered", hint="Give the same object as to register()")
        record.active = False
        if record in self._active:
            self._active.remove(record)
        if record.distribution:
            return  # it is installed: what it offers can be named as before
        self._records.remove(record)
        if self._pluggy.is_registered(record.plugin):
            self._pluggy.unregister(record.plugin)
        self._offers.clear()

    def _known(self, plugin: Any) -> PluginRecord | None:
        return next((record for record in self._all_records() if record.plugin is plugin), None)

    def _named(self, name: str) -> PluginRecord:
        named = next((record for record in self._all_records() if record.name == name), None)
        if named is not None:
            return named
        record = PluginRecord(name)
        try:
            plugin = _import(name)
        except Exception as error:
            raise PluginError(
                f"no plugin or module {name!r}: {error}",
                hint="`elanus plugins` lists what is installed; a module must be importable from here",
            ) from error
        known = self._known(plugin)
        if known is not None:
            return known
        self._add(record, plugin)
        return record

    def _add(self, record: PluginRecord, plugin: Any) -> None:
        """Register *plugin*, or keep the reason why not."""
        record.plugin = plugin
        self._records.append(record)
        self._offers.clear()
        try:
            check_hooks(record, plugin)
            self._pluggy.register(plugin, name=f"{record.name}@{id(plugin)}")
        except Exception as error:
            if self._pluggy.is_registered(plugin):
                self._pluggy.unregister(plugin)
            record.faults.append(error if isinstance(error, UnusableError) else unusable(record, error))

    # -- offers -------------------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """The names of one kind that can be selected."""
        inherited = self._parent.names(kind) if self._parent is not None else []
        return sorted({*inherited, *self._offered(kind)})

    def select(self, kind: str, choice: Any) -> Any:
        """Build what *choice* names; an object of the kind is returned as it is.

        :param choice: a name, a pair of a name and its options, or an object.
        :raises PluginError: no such name (says what is installed, and what to install), or a broken plugin.
        :raises ConfigError: the object is not of the kind, or the options do not fit.
        """
        contract = _contract(kind)
        if isinstance(choice, contract):
            return choice
        name, options = _as_name(kind, choice, contract)
        provider, record = self._provider(kind, name)
        try:
            built = provider.build(options)
        except ElanusError:
            raise
        except Exception as error:
            raise fault_of(record, f"cannot build {kind} {name!r}", error) from error
        if not isinstance(built, contract):
            fault = PluginError(
                f"{record}: {kind} {name!r} built {type(built).__name__}, which is no {contract.__name__}",
                hint=f"Tell its author: it must derive from {contract.__module__}.{contract.__name__}",
            )
            if str(fault) not in map(str, record.faults):
                record.faults.append(fault)
            raise fault
        return built

    def codec_for(self, suffix: str) -> Any:
        """A codec that loads IDL files of this suffix.

        :raises PluginError: no installed plugin claims it.
        """
        scope: PluginSet | None = self
        while scope is not None:
            for name, (provider, _) in scope._offered("codec").items():
                if suffix in provider.suffixes:
                    return self.select("codec", name)
            scope = scope._parent
        remedy = "Install a codec for such files; pip install elanus[all] brings those of this project"
        raise self._missing("codec", suffix, f"no installed codec loads {suffix!r} files", remedy)

    def _provider(self, kind: str, name: str) -> tuple[Provider[Any], PluginRecord]:
        scope: PluginSet | None = self
        while scope is not None:
            found = scope._offered(kind).get(name)
            if found is not None:
                return found
            scope = scope._parent
        others = [other for other in KINDS if other != kind and name in self.names(other)]
        remedy = f"Try: pip install elanus-{kind}-{name.replace('_', '-')}"
        if others:
            remedy = f"{name!r} is offered as: {', '.join(others)}"
        raise self._missing(kind, name, f"no installed plugin offers {kind} {name!r}", remedy)

    def _missing(self, kind: str, name: str, message: str, remedy: str) -> PluginError:
        """The error for a name that nobody offers. A broken plugin that may be the one is its cause."""
        near = difflib.get_close_matches(name, self.names(kind), 1)
        broken = [record for record in self._all_records() if record.faults]
        suspects = [record for record in broken if record.may_offer(kind, name)]
        if not suspects and not near:  # what an unloadable plugin would offer is unknown: it may be any of them
            suspects = [record for record in broken if record.unusable][:2]
        hints = [f"Did you mean {near[0]!r}?"] if near else []
        hints.append(f"Installed: {', '.join(self.names(kind)) or 'none'}")
        hints += [f"Broken: {record.faults[0]}" for record in suspects]
        if len(broken) > len(suspects):
            hints.append(f"other plugins with faults: {len(broken) - len(suspects)}, see `elanus plugins`")
        if not near and not suspects:
            hints.append(remedy)
        error = PluginError(message, hint=". ".join(hints).replace("?.", "?"))
        error.__cause__ = suspects[0].faults[0] if suspects else None
        return error

    def _all_records(self) -> list[PluginRecord]:
        inherited = self._parent._all_records() if self._parent is not None else []
        return [*inherited, *self._records]

    def _offered(self, kind: str) -> dict[str, tuple[Provider[Any], PluginRecord]]:
        if kind not in self._offers:
            offered: dict[str, tuple[Provider[Any], PluginRecord]] = {}
            self._offers[kind] = offered
            for record, providers in self._call(KINDS[kind][0], self._records):
                for provider in checked_providers(record, kind, providers):
                    self._take(kind, provider, record, offered)
        return self._offers[kind]

    def _take(
        self, kind: str, provider: Provider[Any], record: PluginRecord, offered: dict[str, tuple[Provider[Any], Any]]
    ) -> None:
        if provider.name in offered:
            other = offered[provider.name][1]
            # The distribution that is named after what it offers has the name, whichever comes first.
            first, second = (record, other) if record.is_home_of(provider.name) else (other, record)
            fault = PluginError(
                f"{second} offers {kind} {provider.name!r}, which {first} already offers",
                hint="Uninstall one of them, or ask an author to choose another name",
            )
            second.faults.append(fault)
            if first is other:
                return
            other.offers[kind].remove(provider.name)
        offered[provider.name] = (provider, record)
        for suffix in provider.suffixes:
            other = next(owner for loader, owner in offered.values() if suffix in loader.suffixes)
            if other is not record:
                record.faults.append(PluginError(f"{record}: {suffix!r} files are loaded by {other} already"))
        names = record.offers.setdefault(kind, [])
        if provider.name not in names:
            names.append(provider.name)

    # -- contributions ------------------------------------------------------------------------------------------

    def configure_client(self, service: ServiceInfo, options: ClientOptions) -> ClientOptions:
        """Fold every active ``elanus_configure_client``."""
        from elanus.options import ClientOptions

        folded: ClientOptions = self._fold("elanus_configure_client", options, ClientOptions, {"service": service})
        return folded

    def configure_server(self, options: ServerOptions) -> ServerOptions:
        """Fold every active ``elanus_configure_server``."""
        from elanus.options import ServerOptions

        folded: ServerOptions = self._fold("elanus_configure_server", options, ServerOptions, {})
        return folded

    def _fold(self, hook: str, options: Any, type_: type, arguments: dict[str, Any]) -> Any:
        if self._parent is not None:
            options = self._parent._fold(hook, options, type_, arguments)
        for record in self._active:
            function = self._implementation(hook, record)
            if function is None:
                continue
            changed = _run(record, hook, function, {**arguments, "options": options.written_by(record.name)})
            if changed is not None and not isinstance(changed, type_):
                raise wrong_result(record, hook, type_.__name__, changed)
            options = changed if changed is not None else options
        return options

    def client_middlewares(self, service: ServiceInfo, options: ClientOptions) -> list[Middleware]:
        """The middlewares of every active plugin, outermost first."""
        return self._gather("elanus_client_middlewares", {"service": service, "options": options})

    def server_middlewares(self, options: ServerOptions) -> list[Middleware]:
        """The middlewares of every active plugin, outermost first."""
        return self._gather("elanus_server_middlewares", {"options": options})

    def _gather(self, hook: str, arguments: dict[str, Any]) -> list[Middleware]:
        gathered = self._parent._gather(hook, arguments) if self._parent is not None else []
        for record in self._active:
            function = self._implementation(hook, record)
            if function is None:
                continue
            given = _run(record, hook, function, arguments)
            if not isinstance(given, Sequence) or not all(callable(item) for item in given):
                raise wrong_result(record, hook, "a sequence of middlewares", given)
            gathered.extend(given)
        return gathered

    def add_commands(self, cli: click.Group) -> None:
        """Let every installed plugin add its commands; one that fails is kept as its fault."""
        for _ in self._call("elanus_commands", self._records, {"cli": cli}):
            pass

    # -- calling ------------------------------------------------------------------------------------------------

    def _call(
        self, hook: str, records: Sequence[PluginRecord], arguments: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[PluginRecord, Any]]:
        """What each plugin's *hook* returns. What one raises is its own fault and ends nothing else."""
        for record in records:
            function = self._implementation(hook, record)
            if function is None:
                continue
            try:
                result = _run(record, hook, function, arguments or {})
            except PluginError as error:
                record.faults.append(error)
            except ConfigError as error:
                record.faults.append(fault_of(record, f"{hook}() failed", error))
            else:
                yield record, result

    def _implementation(self, hook: str, record: PluginRecord) -> Callable[..., Any] | None:
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            if implementation.plugin is record.plugin:
                function, names = implementation.function, implementation.argnames
                return lambda arguments: function(**{name: arguments[name] for name in names})
        # A plugin of the process that one client names is registered with the process.
        return None if self._parent is None else self._parent._implementation(hook, record)


def _run(record: PluginRecord, hook: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return function(arguments)
    except ConfigError as error:
        told = PluginError(f"{record}: {hook}(): {error.message}", hint=error.hint)
        raise told from error
    except Exception as error:
        raise fault_of(record, f"{hook}() failed", error) from error


def _contract(kind: str) -> type:
    _, module, name = KINDS[kind]
    contract: type = getattr(importlib.import_module(module), name)
    return contract


def _as_name(kind: str, choice: Any, contract: type) -> tuple[str, Mapping[str, object]]:
    if isinstance(choice, str):
        return choice, {}
    match choice:
        case (str(name), Mapping() as options):
            return name, options
    raise ConfigError(
        f"{choice!r} is no {kind}",
        hint=f'Give a name, a pair ("name", {{options}}), or an object of {contract.__module__}.{contract.__name__}',
    )


def _import(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


_process: PluginSet | None = None


def installed_plugins() -> PluginSet:
    """The plugins of this process: found at the first use, with those in ``ELANUS_PLUGINS`` active.

    :raises PluginError: ``ELANUS_PLUGINS`` names something that cannot be loaded.
    """
    global _process
    if _process is None:
        found = PluginSet()
        found.scan()
        for name in os.environ.get("ELANUS_PLUGINS", "").replace(",", " ").split():
            try:
                found.activate(name)
            except PluginError as error:
                raise PluginError(f"ELANUS_PLUGINS: {error.message}", hint=error.hint) from error
        _process = found
    return _process


def register(plugin: Any) -> None:
    """Make a plugin's contributions count for every client and server built from now on.

    :param plugin: a module or object with :data:`elanus.hookimpl` functions, the path of a module, or the name of an
        installed plugin. Its offers can be selected by name from now on.
    :raises PluginError: it cannot be found, or one of its hooks is wrong.
    """
    installed_plugins().activate(plugin)


def unregister(plugin: Any) -> None:
    """Undo :func:`register` of a module or object. What was built before stays as it is."""
    installed_plugins().remove(plugin)
