"""The page of all options is that of the code, and every option has words."""

import dataclasses

import pytest

import elanus
from elanus.option_values import in_words
from tests.docs.options_page import comments, page
from tests.docs.pages import ROOT, sections, tables

_CLASSES = (
    elanus.CallOptions,
    elanus.ClientOptions,
    elanus.HandlerOptions,
    elanus.Limits,
    elanus.MethodOptions,
    elanus.PoolOptions,
    elanus.ServerOptions,
    elanus.Timeouts,
    elanus.WarmUp,
)


def test_the_page_is_up_to_date() -> None:
    found = (ROOT / "docs/options.md").read_text()
    assert found == page(), "run: python -m tests.docs.options_page > docs/options.md"


@pytest.mark.parametrize("cls", _CLASSES)
def test_every_option_has_words(cls: type) -> None:
    words = comments(cls)
    assert [name for name, text in words.items() if not text.endswith((".", ")."))] == []
    assert set(words) >= {item.name for item in dataclasses.fields(cls)} - {"sources", "writer"}


def test_the_page_has_every_class() -> None:
    told = [
        line.split("`")[1] for text in sections(ROOT / "docs/options.md").values() for line in text.split("\n")[2:3]
    ]
    assert set(told[1:]) == {f"elanus.{cls.__name__}" for cls in _CLASSES}


def test_every_table_has_a_cell_for_each_column() -> None:
    for heading, text in sections(ROOT / "docs/options.md").items():
        for rows in tables(text):
            assert len({len(row) for row in rows}) == 1, heading


@pytest.mark.parametrize("cls", [elanus.ClientOptions, elanus.ServerOptions])
def test_what_code_alone_can_set_is_an_object_of_python(cls: type) -> None:
    """An option whose type no file can give by mistake would be left out in silence."""
    alone = {item.name for item in dataclasses.fields(cls) if in_words(item.type) is None} - {"sources", "writer"}
    objects = {"acl", "config", "error_handler", "fallback", "limit_reporter", "metadata_handlers", "methods", "ssl"}
    assert alone <= objects | {"timeout_provider"} | {name for name in alone if name.endswith("middlewares")}
