"""Options that several commands share."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeVar

import click

from elanus.cli.exits import USAGE, fail, reported

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["literals", "pairs", "plugin_option", "run", "uvloop_option"]

F = TypeVar("F", bound="Callable[..., Any]")


def _activate(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    from elanus.plugins import register

    with reported():
        for name in names:
            register(name)
    return names


def plugin_option(function: F) -> F:
    """``-p NAME``: name a plugin, so that it configures clients and servers."""
    return click.option(
        "-p",
        "--plugin",
        "plugin_names",
        multiple=True,
        callback=_activate,
        expose_value=False,
        metavar="NAME",
        help="Activate an installed plugin, or a module with hooks. May be repeated.",
    )(function)


def uvloop_option(function: F) -> F:
    """``--uvloop``: run on uvloop, which must be installed."""
    return click.option("--uvloop", is_flag=True, help="Run on uvloop (pip install elanus[uvloop]).")(function)


def run(main: Coroutine[Any, Any, Any], *, uvloop: bool) -> Any:
    """Run *main* to its end on the chosen event loop."""
    if not uvloop:
        return asyncio.run(main)
    try:
        import uvloop as module
    except ImportError:
        main.close()
        fail("--uvloop: uvloop is not installed. Try: pip install elanus[uvloop]", USAGE)
    return module.run(main)


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` options as a dict."""
    split = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE", context, parameter)
        split[key] = rest
    return split


def literals(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """As :func:`pairs`, with values as in JSON where they are JSON (``true``, numbers, lists), and texts otherwise."""
    return {key: _literal(value) for key, value in pairs(context, parameter, values).items()}


def _literal(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
