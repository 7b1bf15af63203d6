"""``elanus instances``: what a resolver sees."""

from __future__ import annotations

import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from elanus.cli.exits import CALL_FAILED, fail, reported
from elanus.cli.parameters import literals, plugin_option, run
from elanus.net.discovery import Change
from elanus.plugins import installed_plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.resolver import Resolver
    from elanus.service import Instance

__all__ = ["instances"]


@click.command()
@click.argument("name")
@click.option("--resolver", required=True, help="By name, as offered by a plugin: file, consul, etcd, dns, ...")
@click.option("--option", multiple=True, callback=literals, metavar="KEY=VALUE", help="An option of the resolver.")
@click.option("--watch", is_flag=True, help="Go on, and print every change.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object a line.")
@plugin_option
def instances(name: str, resolver: str, option: dict[str, Any], watch: bool, as_json: bool) -> None:
    """List the instances of NAME as a resolver sees them; the exit code is 1 when there are none.

    Example: elanus instances acme.echo --resolver etcd --option endpoints=127.0.0.1:2379 --watch
    """
    with reported():
        found = installed_plugins().select("resolver", (resolver, option))
        run(_list(found, name, watch=watch, as_json=as_json), uvloop=False)


async def _list(resolver: Resolver, name: str, *, watch: bool, as_json: bool) -> None:
    before: Sequence[Instance] | None = None
    try:
        async with aclosing(resolver.watch(name)) as sets:
            async for now in sets:
                _print(name, before, now, as_json=as_json)
                before = now
                if not watch:
                    break
    finally:
        await resolver.aclose()
    if not before and not watch:
        fail(f"resolver {resolver.name!r} knows no instance of {name!r}", CALL_FAILED)


def _print(name: str, before: Sequence[Instance] | None, now: Sequence[Instance], *, as_json: bool) -> None:
    if as_json:
        rows = [{"address": one.address, "weight": one.weight, "tags": dict(one.tags)} for one in now]
        click.echo(json.dumps({"name": name, "at": time.time(), "instances": rows}))
        return
    if before is None:
        for one in now:
            click.echo(_line(one))
        return
    change = Change.between(name, before, now)
    stamp = time.strftime("%H:%M:%S")
    signs = (("+", "green", change.added), ("-", "red", change.removed), ("~", "yellow", change.updated))
    for sign, color, some in signs:
        for one in some:
            click.secho(f"{stamp} {sign} {_line(one)}", fg=color)


def _line(instance: Instance) -> str:
    tags = " ".join(f"{key}={value}" for key, value in sorted(instance.tags.items()))
    return f"{instance.address}  weight {instance.weight}  {tags}".rstrip()
