"""``elanus options``: what a configuration says, checked, without starting anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from elanus import client_core, server_core
from elanus.cli.exits import reported
from elanus.cli.parameters import plugin_option
from elanus.configuration import ENVIRONMENT, ConfigChange, Configuration, choice_of
from elanus.options import ClientOptions, ServerOptions
from elanus.plugins import installed_plugins
from elanus.service import ServiceInfo
from elanus.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["options"]

#: Parts that are built to see whether their own options fit: policies, which open nothing.
_POLICIES = {"balancer", "breaker", "limiter", "retrier"}


@click.command()
@click.option("--config", "source", metavar="SOURCE", help=f"A file, or a source by name. Default: ${ENVIRONMENT}.")
@click.option("--server", "serving", is_flag=True, help="Of servers, not of clients.")
@click.option("--service", default="", metavar="NAME", help="For this service, by its IDL name.")
@click.option("--method", default="", metavar="NAME", help="For this method of the service.")
@click.option("--against", metavar="SOURCE", help="Show only what differs from this one.")
@click.option("--all", "every", is_flag=True, help="Show options that nobody has set, too.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@plugin_option
def options(
    source: str | None, serving: bool, service: str, method: str, against: str | None, every: bool, as_json: bool
) -> None:
    """Check a configuration, all of it up to the first mistake, and show what would hold: each value, and where it
    comes from.
    """
    if method and not service:
        raise click.UsageError("--method needs --service")
    with reported():
        configuration = _read(source)
        if not configuration:
            raise click.UsageError(f"say which configuration: --config FILE, or ${ENVIRONMENT}")
        _check_parts(configuration)
        new = _folded(configuration, serving, service, method)
        _warn(configuration, new, serving, service, method)
        old = None if against is None else _folded(_checked(_read(against)), serving, service, method)
    if old is not None:
        _show_change(ConfigChange.between(old, new), as_json)
    else:
        _show(_effective(new, service, method), as_json=as_json, every=every)


def _read(source: str | None) -> Configuration:
    return Configuration(installed_plugins(), None if source is None else [choice_of(source)])


def _checked(configuration: Configuration) -> Configuration:
    _check_parts(configuration)
    return configuration


def _check_parts(configuration: Configuration) -> None:
    """Build every policy that is named anywhere.

    :raises ConfigError: one is not installed, or its options do not fit.
    """
    services: dict[str, None] = {"": None}
    services |= {scope.split("/")[1]: None for scope in configuration.scopes() if "/" in scope}
    for service in services:
        client, server = _folded(configuration, False, service, ""), _folded(configuration, True, service, "")
        assert isinstance(client, ClientOptions)
        assert isinstance(server, ServerOptions)
        chosen = {**client_core.chosen_parts(client), **server_core.chosen_parts(server)}
        named = {place: one for place, one in chosen.items() if one.kind in _POLICIES and one.source is not None}
        Shelf(installed_plugins().select).restocked(named)


def _warn(
    configuration: Configuration, new: ClientOptions | ServerOptions, serving: bool, service: str, method: str
) -> None:
    """Say on standard error what is no mistake, and still looks like one."""
    side = "server" if serving else "client"
    services = dict.fromkeys(scope.split("/")[1] for scope in configuration.scopes() if scope.startswith(f"{side}/"))
    if service and service not in services:
        known = f"There are tables for: {', '.join(services)}" if services else "There is none for any service"
        click.echo(
            f"elanus: no table [{side}.services.{service}]: what holds for every {side} is shown. {known}",
            err=True,
        )
    values = _effective(new, service, method)
    (timeout, _), (attempt, place) = (values.get(name, (None, "")) for name in ("timeout", "attempt_timeout"))
    if timeout and attempt and attempt > timeout:
        click.echo(
            f"elanus: {place}: attempt_timeout {attempt} is longer than timeout {timeout}, which ends it",
            err=True,
        )


def _folded(configuration: Configuration, serving: bool, service: str, method: str) -> ClientOptions | ServerOptions:
    """The options for a service of which nothing is known but its name and the methods that are spoken of."""
    side = "server" if serving else "client"
    methods = [scope.split("/")[2] for scope in configuration.scopes() if scope.startswith(f"{side}/{service}/")]
    info: Any = ServiceInfo(service, None, dict.fromkeys([*methods, *filter(None, [method])]))  # type: ignore[arg-type]
    if serving:
        return configuration.server(ServerOptions(), [info] if service else [])
    return configuration.client(ClientOptions(), info)


def _effective(options: ClientOptions | ServerOptions, service: str, method: str) -> dict[str, tuple[Any, str]]:
    if isinstance(options, ServerOptions):
        return options.effective_for(service, method) if method else options.effective()
    return options.effective_for(method) if method else options.effective()


def _show(effective: dict[str, tuple[Any, str]], *, as_json: bool, every: bool) -> None:
    rows = {name: pair for name, pair in effective.items() if name != "methods" and (every or pair[1] != "default")}
    if as_json:
        click.echo(
            json.dumps({name: {"value": value, "from": place} for name, (value, place) in rows.items()}, default=str)
        )
    elif not rows:
        click.echo("Nothing wrong, and nothing set here.")
    else:
        _table([("OPTION", "VALUE", "FROM"), *((name, _text(value), place) for name, (value, place) in rows.items())])


def _show_change(change: ConfigChange, as_json: bool) -> None:
    both = [(change.changed, ""), (change.needs_restart, "restart")]
    rows = [
        (name, _text(old), _text(new), place, note) for part, note in both for name, (old, new, place) in part.items()
    ]
    if as_json:
        keys = ("option", "before", "after", "from", "needs")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    elif not rows:
        click.echo("No difference.")
    else:
        _table([("OPTION", "BEFORE", "AFTER", "FROM", "NEEDS"), *rows])


def _text(value: Any) -> str:
    match value:
        case (str(name), dict(inner)):
            return f"{name} {json.dumps(inner)}"
    return str(value)


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
