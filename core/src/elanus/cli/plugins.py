"""``elanus plugins``: what is installed, what it offers, and what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from elanus.cli.exits import CALL_FAILED, reported
from elanus.cli.parameters import plugin_option
from elanus.plugins import installed_plugins

if TYPE_CHECKING:
    from elanus.plugins import PluginRecord

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@plugin_option
def plugins(as_json: bool) -> None:
    """List the installed plugins: name, distribution, version, what they offer, state, and their first fault.

    The exit code is 1 when one of them has a fault.
    """
    with reported():
        rows = [_row(record) for record in installed_plugins().records()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _print(rows)
    else:
        click.echo("No plugins are installed. Try: pip install elanus[thrift]")
    if any(row["faults"] for row in rows):
        raise SystemExit(CALL_FAILED)


def _print(rows: list[dict[str, Any]]) -> None:
    table = [("PLUGIN", "DISTRIBUTION", "VERSION", "STATE", "OFFERS")]
    table += [(r["name"], r["distribution"], r["version"], r["state"], _offers(r["offers"])) for r in rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row, record in zip(table, [None, *rows], strict=True):
        click.echo("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]).rstrip())
        for fault in record["faults"][:1] if record is not None else ():
            click.secho(f"    {fault.splitlines()[0]}", fg="red")


def _row(record: PluginRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "state": record.state,
        "kinds": record.kinds,
        "offers": record.offers,
        "faults": [str(fault) for fault in record.faults],
    }


def _offers(offers: dict[str, list[str]]) -> str:
    return "; ".join(f"{kind} {', '.join(names)}" for kind, names in offers.items())
