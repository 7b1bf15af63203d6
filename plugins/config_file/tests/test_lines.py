"""Lines of keys: the scanner finds exactly the keys that ``tomllib`` finds, each where it stands."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus_config_file.lines import Path, key_lines


def paths(value: Any, path: Path = ()) -> set[Path]:
    """The way to everything inside of *value*."""
    found: set[Path] = {path} if path else set()
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found |= paths(inner, (*path, key))
    return found


DOCUMENT = '''\
# a comment with [brackets] and a = sign
[client]
timeout = 1.5  # not here: timeout = 2
"quoted key" = "a # that is no comment, and [no] table"
'literal' = 'C:\\no\\escapes'
dotted.key . "with blanks" = 1979-05-27 07:32:00
many = [
    1, 2,   # with a comment, and ] in it
    [3, { a = 4, b = "}" }],
]
inline = { name = "budget", inner = { deep = [1, 2] } }
text = """
[this.is.no.table]
key = "of no table"
escaped \\""" quotes""\"""
literal_text = \'\'\'
[nor.this]
it's''\'\'\'
after = true

[client.services.EchoService.methods."echo é"]
timeout = 0.2
[[tracers]]
name = "a"
[[tracers]]
name = "b"
[tracers.options]
deep = 1
[[tracers.inner]]
x = 1
[[tracers.inner]]
x = 2
'''


def test_every_key_of_a_document_stands_where_it_is_said_to_stand() -> None:
    lines = key_lines(DOCUMENT)
    assert set(lines) == paths(tomllib.loads(DOCUMENT))
    text = DOCUMENT.splitlines()
    told = {
        ("client",): "[client]",
        ("client", "timeout"): "timeout = 1.5",
        ("client", "dotted", "key", "with blanks"): "dotted.key",
        ("client", "many", 1): "1, 2,",
        ("client", "many", 2, 1, "b"): "[3, {",
        ("client", "inline", "inner", "deep", 1): "inline =",
        ("client", "literal_text"): "literal_text",
        ("client", "after"): "after = true",
        ("client", "services", "EchoService"): "[client.services",
        ("client", "services", "EchoService", "methods", "echo é", "timeout"): "timeout = 0.2",
        ("tracers", 1, "name"): 'name = "b"',
        ("tracers", 1, "options", "deep"): "deep = 1",
        ("tracers", 1, "inner", 1, "x"): "x = 2",
    }
    for path, begins in told.items():
        assert text[lines[path] - 1].strip().startswith(begins), path


@pytest.mark.parametrize("text", ["", "\n\n", "a = 1", "# only a comment", "a = 1\r\n[b]\r\nc = 2\r\n", "[a]"])
def test_small_documents(text: str) -> None:
    assert set(key_lines(text)) == paths(tomllib.loads(text))


_KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text("ab.#=[]{}\"'\\ é", min_size=1, max_size=4)
)
_SCALARS = st.one_of(st.booleans(), st.integers(-99, 99), st.floats(-9, 9), st.text("ab#=[]{},\"'\\\né", max_size=8))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)
_TABLES = st.recursive(
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    lambda inner: st.dictionaries(_KEYS, st.one_of(_SCALARS, inner), max_size=3),
    max_leaves=6,
)


class Writer:
    """Writes tables as TOML in one of the ways that there are, and notes on which line each key of a value went."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.told: dict[Path, int] = {}

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def key(self, text: str) -> str:
        if text.replace("-", "").replace("_", "").isalnum() and text.isascii() and self.chance():
            return text
        if "'" not in text and self.chance():
            return f"'{text}'"
        return json.dumps(text)

    def value(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.key(key)} = {self.value(each)}" for key, each in value.items()) + "}"
        if isinstance(value, list):
            apart = ",\n  # and, [more\n" if self.chance() else " , "
            return "[" + apart.join(self.value(each) for each in value) + "]"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            if "'" not in value and "\\" not in value and self.chance():
                return f"'''{value}'''" if "\n" in value or self.chance() else f"'{value}'"
            if self.chance():
                return '"""' + json.dumps(value)[1:-1].replace("\\n", "\n") + '"""'
            return json.dumps(value)
        return repr(value)

    def table(self, path: tuple[str, ...], table: dict[str, Any]) -> None:
        header = ".".join(map(self.key, path))
        if path:
            self.add(f"  [ {header} ] # [comment]" if self.chance() else f"[{header}]")
        inner = {}
        for key, value in table.items():
            if isinstance(value, dict) and self.chance():
                inner[key] = value
                continue
            self.told[(*path, key)] = len(self.lines) + 1
            self.add(f"{self.key(key)} = {self.value(value)}" + self.draw(st.sampled_from(["", "  # x = 1", "\n"])))
        for key, value in inner.items():
            self.table((*path, key), value)

    def add(self, text: str) -> None:
        self.lines += text.split("\n")


@given(_TABLES, st.data())
def test_any_document(table: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.table((), table)
    text = "\n".join(writer.lines)
    parsed = tomllib.loads(text)
    lines = key_lines(text)
    assert set(lines) == paths(parsed)
    assert {path: lines[path] for path in writer.told} == writer.told
