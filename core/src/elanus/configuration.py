"""What the configuration sources of one client or server say, folded into its options; and word of their changes.

In one scope the later source counts before the earlier, and a narrower scope before a wider one. All of it gives way to
what code says in the same scope.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from elanus.errors import ConfigError
from elanus.option_checks import nearest
from elanus.option_values import option_value, placed
from elanus.options import ClientOptions, HandlerOptions, MethodOptions, ServerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    from elanus.contracts.config import Config, Setting
    from elanus.service import ServiceInfo
    from elanus.sourced import Sourced

__all__ = ["ENVIRONMENT", "ConfigChange", "Configuration", "choice_of"]

_log = logging.getLogger("elanus.config")

#: Names the process-wide source: a file (a path with a dot or a slash), or a source by name.
ENVIRONMENT = "ELANUS_CONFIG"

_SIDES: dict[str, tuple[type[Sourced], type]] = {
    "client": (ClientOptions, MethodOptions),
    "server": (ServerOptions, HandlerOptions),
}
#: Options that only code can set: what configuration is read at all, and mappings that have scopes of their own.
_CODE_ONLY = {"config", "methods"}


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What a change of the configuration did to a client or a server. The value of ``config_change``.

    Both by option, those of methods as ``"methods.echo.timeout"``, with the value before, the new one, and where that
    came from.
    """

    changed: Mapping[str, tuple[Any, Any, str]]
    #: What counts only after a restart; the old value still holds.
    needs_restart: Mapping[str, tuple[Any, Any, str]]

    @classmethod
    def between(cls, before: Sourced, after: Sourced) -> ConfigChange:
        """What leads from *before* to *after*."""
        differences = before.differences(after)
        return cls(
            {name: new for name, new in differences.items() if name not in after.fixed},
            {name: new for name, new in differences.items() if name in after.fixed},
        )

    def __str__(self) -> str:
        parts = [f"{name}: {old!r} -> {new!r} ({source})" for name, (old, new, source) in self.changed.items()]
        parts += [f"needs a restart: {name} ({source})" for name, (_, _, source) in self.needs_restart.items()]
        return "; ".join(parts) or "nothing new"


class _Selecting(Protocol):
    def select(self, kind: str, choice: Any) -> Any: ...


class Configuration:
    """The sources of one client or server.

    :param choices: as in ``config=``; ``None``: what the environment names.
    :raises ConfigError: a source cannot be read, or says something that no client and no server understands.
    """

    def __init__(self, plugins: _Selecting, choices: Sequence[Any] | None) -> None:
        chosen = _of_environment() if choices is None else tuple(choices)
        self._sources: list[Config] = [plugins.select("config", choice) for choice in chosen]
        self._owned = [source for source, choice in zip(self._sources, chosen, strict=True) if source is not choice]
        self.check()

    def __bool__(self) -> bool:
        return bool(self._sources)

    def scopes(self) -> list[str]:
        """Every scope of which a source says something."""
        return list(dict.fromkeys(scope for source in self._sources for scope in source.scopes()))

    async def start(self) -> None:
        """Let every source have its first look.

        :raises ConfigError: one cannot be read, or what it says is wrong.
        """
        for source in self._sources:
            await source.start()
        self.check()

    async def aclose(self) -> None:
        """Close the sources that were made here."""
        for source in self._owned:
            await source.aclose()

    # -- folding ------------------------------------------------------------------------------------------------

    def client(self, options: ClientOptions, service: ServiceInfo) -> ClientOptions:
        """*options* with what the sources say of clients of *service*.

        :raises ConfigError: with the place of what is wrong.
        """
        for scope in ("client", f"client/{service.name}"):
            for name, setting in self._settings(scope):
                options = _set(options, scope, name, setting)
        for method, settings in self._methods("client", service):
            for name, setting in settings:
                value = option_value(MethodOptions, f"method {method!r}", name, setting)
                options = _configured(options, {"methods": {method: {name: value}}}, setting.source)
        return options

    def server(self, options: ServerOptions, services: Iterable[ServiceInfo]) -> ServerOptions:
        """*options* with what the sources say of servers, and of the methods of *services*.

        :raises ConfigError: with the place of what is wrong.
        """
        for name, setting in self._settings("server"):
            options = _set(options, "server", name, setting)
        for service in services:
            for name, setting in self._settings(f"server/{service.name}"):
                value = option_value(HandlerOptions, _owner(f"server/{service.name}"), name, setting)
                every = {f"{service.name}/{method}": {name: value} for method in service.methods}
                options = _configured(options, {"methods": every}, setting.source)
            for method, settings in self._methods("server", service):
                for name, setting in settings:
                    value = option_value(HandlerOptions, f"method {method!r}", name, setting)
                    key = f"{service.name}/{method}"
                    options = _configured(options, {"methods": {key: {name: value}}}, setting.source)
        return options

    def check(self) -> None:
        """Refuse what no client and no server would understand, whichever it is meant for.

        :raises ConfigError: with the place of the first mistake, by source and scope.
        """
        for source in self._sources:
            for scope in source.scopes():
                _check_scope(scope, source.settings(scope))

    def checked(self) -> Configuration:
        """Itself, after :meth:`check`."""
        self.check()
        return self

    def _settings(self, scope: str) -> Iterator[tuple[str, Setting]]:
        for source in self._sources:
            yield from source.settings(scope).items()

    def _methods(self, side: str, service: ServiceInfo) -> Iterator[tuple[str, list[tuple[str, Setting]]]]:
        """The methods of *service* of which something is said, each with what is said."""
        prefix = f"{side}/{service.name}/"
        for scope in self.scopes():
            method = scope.removeprefix(prefix)
            settings = list(self._settings(scope)) if scope.startswith(prefix) else []
            if settings and method not in service.methods:
                where = settings[0][1].source
                raise ConfigError(
                    f"{where}: {service.name} has no method {method!r}", hint=nearest(method, service.methods)
                )
            if settings:
                yield method, settings

    # -- changes ------------------------------------------------------------------------------------------------

    def watch(self, changed: Callable[[ConfigError | None], None]) -> Coroutine[Any, Any, None]:
        """What calls *changed* after each change of any source from now on, with the error if it cannot be read; it
        runs until it is cancelled.
        """
        return _watch_all([(source, source.changes()) for source in self._sources], changed)


async def _watch_all(
    followed: Sequence[tuple[Config, AsyncIterator[ConfigError | None]]], changed: Callable[[ConfigError | None], None]
) -> None:
    async with asyncio.TaskGroup() as group:
        for source, changes in followed:
            group.create_task(_watch_one(source, changes, changed))


async def _watch_one(
    source: Config, changes: AsyncIterator[ConfigError | None], changed: Callable[[ConfigError | None], None]
) -> None:
    try:
        async for error in changes:
            changed(error)
    except Exception:
        _log.exception("configuration %r failed, its changes are not seen any more", source.name)
    finally:
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()


def choice_of(text: str) -> Any:
    """The source that *text* names: a file, where it has a dot or a slash, or a source by its name."""
    return ("file", {"path": text}) if "." in text or "/" in text or os.sep in text else text


def _of_environment() -> tuple[Any, ...]:
    named = os.environ.get(ENVIRONMENT, "").strip()
    return (choice_of(named),) if named else ()


def _set(options: Any, scope: str, name: str, setting: Setting) -> Any:
    value = option_value(type(options), _owner(scope), name, setting, known=_settable(type(options)))
    return _configured(options, {name: value}, setting.source)


def _configured(options: Any, values: Mapping[str, Any], source: str) -> Any:
    try:
        return options.configured(values, source)
    except ConfigError as error:
        raise placed(error, source) from error


def _settable(cls: type[Sourced]) -> list[str]:
    return [name for name in cls.names() if name not in _CODE_ONLY]


def _owner(scope: str) -> str:
    side, _, service = scope.partition("/")
    return f"{side} of {service}" if service else side


def _check_scope(scope: str, settings: Mapping[str, Setting]) -> None:
    side, *rest = scope.split("/")
    where = next((setting.source for setting in settings.values()), "the configuration")
    if side not in _SIDES or len(rest) > 2 or not all(rest):
        hint = 'Known are "client" and "server", each with a service, or a service and a method, behind a slash'
        raise ConfigError(f"{where}: unknown scope {scope!r}", hint=hint)
    whole, small = _SIDES[side]
    if len(rest) == 2 or (side == "server" and rest):
        owner = f"method {rest[1]!r} of {side} of {rest[0]}" if len(rest) == 2 else _owner(scope)
        for name, setting in settings.items():
            value = option_value(small, owner, name, setting)
            try:
                small(**{name: value})
            except ConfigError as error:
                raise placed(error, setting.source) from error
        return
    options = whole()
    for name, setting in settings.items():
        options = _set(options, scope, name, setting)
