"""``elanus serve``: run a server that a module holds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from elanus.cli.exits import USAGE, fail, reported
from elanus.cli.parameters import plugin_option, run, uvloop_option

if TYPE_CHECKING:
    from elanus.server import Server

__all__ = ["serve"]


@click.command()
@click.argument("target", metavar="MODULE:SERVER")
@click.option("--bind", default="127.0.0.1:8888", show_default=True, metavar="ADDRESS", help="host:port or unix:/path.")
@uvloop_option
@plugin_option
def serve(target: str, bind: str, uvloop: bool) -> None:
    """Run the elanus.Server called SERVER in MODULE (or what the function SERVER returns) until SIGTERM or SIGINT."""
    server = _find(target)
    with reported():
        run(_serve(server, bind), uvloop=uvloop)


async def _serve(server: Server, bind: str) -> None:
    @server.on_start
    def announce() -> None:
        click.echo(f"serving {', '.join(server.services())} on {server.address}", err=True)

    await server.serve(bind)


def _find(target: str) -> Server:
    from elanus.server import Server

    module_name, colon, attribute = target.partition(":")
    if not colon:
        fail(f"{target!r} names no server. Write MODULE:SERVER, such as app:server", USAGE)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        fail(f"no module {error.name!r} here. Run elanus in the folder that has it", USAGE)
    found = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, Server):
        found = found()
    if not isinstance(found, Server):
        servers = [name for name, value in vars(module).items() if isinstance(value, Server)]
        fail(f"{target} is no elanus.Server. Servers in {module_name}: {', '.join(servers) or 'none'}", USAGE)
    return found
