"""``docs/request-path.md`` tells the rooms of ``stages.py`` in their order, and the attributes that a call has."""

import re

import pytest

from elanus.call import Call
from elanus.stages import CLIENT_STAGES, SERVER_STAGES
from tests.docs.pages import ROOT, sections, tables

_PAGE = ROOT / "docs/request-path.md"


@pytest.mark.parametrize(
    ("side", "rooms"),
    [
        ("client", [*(name for name, _ in CLIENT_STAGES), "send"]),
        ("server", [*(name for name, _ in SERVER_STAGES), "handler"]),
    ],
)
def test_the_rooms_are_in_order(side: str, rooms: list[str]) -> None:
    text = _PAGE.read_text().partition(f"<!-- {side} -->")[2]
    assert [row[0].strip("`") for row in tables(text)[0]] == rooms


def test_a_call_has_the_attributes() -> None:
    rows = tables(sections(_PAGE)["What a call knows"])[0]
    named = {name for row in rows for name in re.findall(r"`(\w+)(?:\(\))?`", row[0])}
    assert named <= {name for name in dir(Call) if not name.startswith("_")}
