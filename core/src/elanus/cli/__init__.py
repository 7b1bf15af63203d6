"""The ``elanus`` command. Plugins add commands through the hook ``elanus_commands``."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the exit code is documented in :mod:`elanus.cli.exits`."""
    from elanus.cli.app import build

    build()()
