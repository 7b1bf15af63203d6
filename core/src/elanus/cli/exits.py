"""Exit codes of the command line, and errors put into words for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

import click

from elanus.errors import ConfigError, ElanusError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUSINESS_STATUS", "CALL_FAILED", "DECLARED_EXCEPTION", "USAGE", "fail", "reported"]

#: The call failed: refused, lost, timed out, or answered with an error.
CALL_FAILED = 1
#: The command line, the IDL, or the configuration is wrong.
USAGE = 2
#: The business said no.
BUSINESS_STATUS = 3
#: The method raised an exception that its IDL declares.
DECLARED_EXCEPTION = 4


def fail(message: str, code: int) -> NoReturn:
    """Print *message* to standard error and exit with *code*."""
    click.secho(f"elanus: {message}", fg="red", err=True)
    raise SystemExit(code)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Errors of elanus become a line on standard error and an exit code; any other is a bug and keeps its traceback."""
    try:
        yield
    except ConfigError as error:
        fail(str(error), USAGE)
    except ElanusError as error:
        fail(str(error), CALL_FAILED)
