"""The tables of ``docs/breakers.md`` say what the code does."""

import dataclasses
import re
from typing import Any

import pytest

from elanus import errors
from elanus.middlewares.outcomes import server_outcome, service_outcome
from elanus.service import Instance
from elanus.testing import make_call
from elanus_breaker_window import WindowSettings
from tests.docs.pages import ROOT, sections, tables

_PAGE = ROOT / "docs/breakers.md"
#: What the constructors of errors need.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "NoInstanceError": ("name", "resolver"),
    "ApplicationError": (6, "text"),
    "RpcTimeoutError": (1.0,),
    "BizStatusError": (7,),
}


def _outcomes() -> dict[str, tuple[str, str]]:
    """By class of errors: what the rows that name nothing but classes say, for the service and for the server."""
    found = {}
    for words, service, server in tables(sections(_PAGE)["What counts as what"])[0]:
        if re.fullmatch(r"(`\w+`(, | without a try|: [\w ]+)?)+", words):
            found.update(dict.fromkeys(re.findall(r"`(\w+)`", words), (service, server)))
    return found


@pytest.mark.parametrize(("name", "said"), _outcomes().items())
def test_what_counts_as_what(name: str, said: tuple[str, str]) -> None:
    cls = getattr(errors, name, TimeoutError)
    assert cls.__name__ == name
    error = cls(*_ARGUMENTS.get(name, ("text",)))
    call = make_call()
    call.instance = Instance("a:1")
    assert (service_outcome(call, error).value, server_outcome(call, error).value) == said


def test_what_a_server_refuses_has_a_row_of_its_own() -> None:
    (row,) = (row for row in tables(sections(_PAGE)["What counts as what"])[0] if "`refused`" in row[0])
    error = errors.ApplicationError(6, "request over limit")
    assert error.refused
    assert row[1:] == [service_outcome(make_call(), error).value, ""]


def test_every_class_of_errors_has_its_row() -> None:
    rows = tables(sections(_PAGE)["What counts as what"])[0]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    text = " ".join(row[0] for row in rows)
    roots = {"ElanusError", "RejectedError", "ProtocolError", "RemoteError"}
    assert "business status" in text
    assert set(errors.__all__) - named - roots == {"BizStatusError"}
    assert len(_outcomes()) >= 15


def test_the_settings() -> None:
    rows = next(rows for rows in tables(_PAGE.read_text()) if any("`error_rate`" in row[0] for row in rows))
    told = {row[0].strip("`"): eval(row[1].strip("`")) for row in rows}
    assert told == dataclasses.asdict(WindowSettings())
