"""The tables of the manual say what the code says."""

import dataclasses
import re
from pathlib import Path

import click

import elanus
import elanus.testing
from elanus import errors
from elanus.cli import exits
from elanus.cli.app import cli
from elanus_transport_ttheader.options import TTHeaderOptions
from tests.docs.pages import ROOT, sections, tables

_MANUAL = ROOT / "docs/manual.md"


def _marked(mark: str, page: Path = _MANUAL) -> list[list[str]]:
    """The table behind the comment *mark*."""
    _, found, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    assert found, f"{page.name} has no table {mark!r}"
    return tables(rest)[0]


def _code(cell: str) -> str:
    return cell.strip("*").strip("`")


def test_options_of_the_transport() -> None:
    rows = _marked("options: TTHeaderOptions")
    assert {_code(row[0]): eval(_code(row[1])) for row in rows} == dataclasses.asdict(TTHeaderOptions())


def test_errors() -> None:
    told = {_code(row[0]): (row[1] == "yes", row[2] == "yes") for row in _marked("errors")}
    wanted = {name: getattr(errors, name) for name in errors.__all__}
    assert told == {name: (cls.retryable, cls.sent) for name, cls in wanted.items()}


def test_exit_codes() -> None:
    told = {int(row[0]) for row in tables(sections(_MANUAL)["The command line"])[1]}
    assert told == {0, exits.CALL_FAILED, exits.USAGE, exits.BUSINESS_STATUS, exits.DECLARED_EXCEPTION}


def test_commands() -> None:
    rows = {re.split(r"[` ]", row[0])[1]: row[1] for row in tables(sections(_MANUAL)["The command line"])[0]}
    commands = {"elanus": cli, **cli.commands}
    assert set(rows) == set(commands)
    for name, command in commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in rows[name], f"{name} {parameter.opts[0]} is not in the manual"


def test_the_test_kit() -> None:
    named = re.findall(r"`(\w+)`", "".join(row[0] for row in tables(sections(_MANUAL)["Testing your service"])[0]))
    assert {*named} <= {*elanus.testing.__all__}
