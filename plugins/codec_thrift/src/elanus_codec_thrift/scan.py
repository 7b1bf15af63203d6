"""Facts that thriftpy2's parser reads and forgets, from the same tokens: names of constants, ``optional`` fields.

The parsed module holds ``const i64 X = 10`` and ``typedef i64 X`` alike, as the number 10; and it keeps ``required``
but not ``optional``, which says what a writer is likely to leave out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Scan", "scan"]

_STRUCTS = ("STRUCT", "UNION", "EXCEPTION")


@dataclass(slots=True)
class Scan:
    """What :func:`scan` found in one file."""

    constants: set[str] = field(default_factory=set)
    #: Pairs of struct and field.
    optional: set[tuple[str, str]] = field(default_factory=set)


def scan(lexer: Any, text: str) -> Scan:
    """Read *text*, which thriftpy2's parser has accepted, with a *lexer* of its own."""
    found = Scan()
    lexer.input(text)
    tokens = iter(lexer)
    for token in tokens:
        if token.type == "CONST":
            found.constants.add(_name_before(tokens, "="))
        elif token.type in _STRUCTS:
            _scan_struct(next(tokens).value, tokens, found)
    return found


def _name_before(tokens: Iterator[Any], end: str) -> str:
    """The last identifier before *end*: the name in ``const map<string, Color> NAME = ...``."""
    name = ""
    for token in tokens:
        if token.type == end:
            break
        if token.type == "IDENTIFIER":
            name = token.value
    return name


def _scan_struct(struct: str, tokens: Iterator[Any], found: Scan) -> None:
    depth = 0
    for token in tokens:
        if token.type in "{[(":
            depth += 1
        elif token.type in "}])":
            depth -= 1
            if depth == 0 and token.type == "}":
                return
        elif token.type == "OPTIONAL" and depth == 1:
            found.optional.add((struct, _field_name(tokens)))


def _field_name(tokens: Iterator[Any]) -> str:
    """The name that follows a field's type: skip one type name, or a container with its brackets."""
    first = next(tokens)
    if first.type in ("MAP", "LIST", "SET"):
        _skip_brackets(tokens, "<", ">")
    token = next(tokens)
    while token.type == "(":  # annotations of the type
        _skip_brackets(tokens, "(", ")", depth=1)
        token = next(tokens)
    return str(token.value)


def _skip_brackets(tokens: Iterator[Any], opening: str, closing: str, depth: int = 0) -> None:
    for token in tokens:
        if token.type == opening:
            depth += 1
        elif token.type == closing:
            depth -= 1
            if depth == 0:
                return
