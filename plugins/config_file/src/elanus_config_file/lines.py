"""On which line each key of a TOML document stands: what ``tomllib`` does not tell.

No second parser of TOML: it is given only what ``tomllib`` has accepted, so it checks nothing, and of values it knows
just enough to find their end. Its tests compare the keys that it finds with those of ``tomllib``.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Path", "key_lines"]

#: The way to a value from the top: keys of tables, and positions in arrays.
Path: TypeAlias = "tuple[str | int, ...]"

_TOKEN = re.compile(
    r"""
      (?P<skip>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<text>\"{3}(?:\\[\s\S]|[^\\])*?\"{3,5}|'{3}[\s\S]*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<bare>[A-Za-z0-9_-]+)
    | (?P<other>[\s\S])
    """,
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def key_lines(text: str) -> Mapping[Path, int]:
    """The line, from 1, on which each key of *text* first stands; also of tables that only a longer key implies.

    :param text: a document that ``tomllib`` accepts.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


def _tokens(text: str) -> list[_Token]:
    found, line = [], 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            found.append(_Token(str(match.lastgroup), match[0], line))
        line += match[0].count("\n")
    return [*found, _Token("newline", "\n", line), _Token("end", "", line)]


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens = _tokens(text)
        self._at = 0
        #: Of each array of tables, by its path: the position of its last table.
        self._last: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._next.kind != "end":
            if self._next.kind == "newline":
                self._at += 1
            elif self._next.text == "[":
                table = self._header()
            else:
                self._assignment(table)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _header(self) -> Path:
        line = self._take().line
        several = self._next.text == "["
        self._at += several
        path = self._key((), line, one_more=several)
        self._at += 1 + several  # the closing brackets
        return path

    def _key(self, table: Path, line: int, *, one_more: bool = False) -> Path:
        """The path of a key, dotted or not, from *table*; each step of it is noted."""
        path = table
        while True:
            token = self._take()
            path = (*path, token.text if token.kind == "bare" else _unquoted(token.text))
            self.lines.setdefault(path, line)
            dotted = self._next.text == "."
            if one_more and not dotted:
                self._last[path] = self._last.get(path, -1) + 1
            if path in self._last:  # what is said of an array of tables is said of its last one
                path = (*path, self._last[path])
                self.lines.setdefault(path, line)
            if not dotted:
                return path
            self._at += 1

    def _assignment(self, table: Path) -> None:
        path = self._key(table, self._next.line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._next.text == "[":
            self._array(path)
        elif self._next.text == "{":
            self._inline_table(path)
        else:
            while self._next.kind not in ("newline", "end") and self._next.text not in (",", "]", "}"):
                self._at += 1

    def _array(self, path: Path) -> None:
        self._at += 1
        position = 0
        while self._next.text != "]":
            if self._next.kind == "newline" or self._next.text == ",":
                self._at += 1
                continue
            self.lines.setdefault((*path, position), self._next.line)
            self._value((*path, position))
            position += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._next.text != "}":
            if self._next.kind == "newline" or self._next.text == ",":
                self._at += 1
                continue
            self._assignment(path)
        self._at += 1


def _unquoted(text: str) -> str:
    key: str = tomllib.loads(f"key = {text}")["key"]
    return key
