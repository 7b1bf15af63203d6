"""The group of all commands."""

from __future__ import annotations

import logging
import os
import sys

import click

from elanus import __version__
from elanus.cli.call import call
from elanus.cli.exits import reported
from elanus.cli.instances import instances
from elanus.cli.options import options
from elanus.cli.plugins import plugins
from elanus.cli.serve import serve
from elanus.plugins import installed_plugins

__all__ = ["build"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="elanus")
@click.option("-v", "--verbose", count=True, help="Log what happens; twice for more.")
def cli(verbose: int) -> None:
    """Services that talk to each other, and to Kitex.

    Exit codes: 0 success, 1 the call failed, 2 usage or configuration, 3 a business status, 4 a declared exception.
    """
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # What `python -m` does: modules of the current folder can be named.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes elanus commands in SHELL.

    For bash: elanus completion bash > ~/.local/share/bash-completion/completions/elanus
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "elanus", "_ELANUS_COMPLETE").source())


cli.add_command(serve)
cli.add_command(call)
cli.add_command(instances)
cli.add_command(options)
cli.add_command(plugins)


def build() -> click.Group:
    """The command line with the commands of every installed plugin."""
    with reported():
        installed_plugins().add_commands(cli)
    return cli
