"""Checks that options of every kind share. Each raises a :exc:`~elanus.ConfigError` that names the option."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ELSEWHERE",
    "at_least",
    "check_texts",
    "listed",
    "nearest",
    "positive",
    "refuse_unknown",
    "tupled",
    "typed",
]

#: Words that fit another kind of options, with where they belong.
ELSEWHERE: dict[str, str] = {}


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for a *name* that nobody knows: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(known)}" if known else "There is none"


def refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names of options that are not among the *known* ones."""
    known = set(known)
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}", hint=ELSEWHERE.get(name) or nearest(name, known))


def tupled(type_: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists become tuples, since options are frozen; where several values may be given, a single one may be bare."""
    several = {item.name for item in fields(type_) if str(item.type).startswith("tuple[")}
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name in several & found.keys():
        if found[name] is not None and (not isinstance(found[name], tuple) or _is_choice(found[name])):
            found[name] = (found[name],)
    return found


def _is_choice(value: tuple[Any, ...]) -> bool:
    """Whether it is one part by name with its options, not several parts."""
    match value:
        case (str(), Mapping()):
            return True
    return False


def check_texts(what: str, values: Mapping[Any, Any]) -> None:
    """Refuse what is not text to text; keys may be integers."""
    if not all(isinstance(key, str | int) and isinstance(value, str) for key, value in values.items()):
        raise ConfigError(f"{what} {dict(values)!r} are not all texts", hint="Give keys and values as str")


def typed(options: object, types: Mapping[str, type]) -> None:
    """Refuse values that are not of the class of elanus that belongs to their name."""
    for name, type_ in types.items():
        value = getattr(options, name)
        if value is not None and not isinstance(value, type_):
            raise ConfigError(f"option {name!r} is {value!r}", hint=f"Give an elanus.{type_.__name__}")


def listed(options: object, names: set[str]) -> None:
    """Refuse what is no tuple of functions."""
    for name in sorted(names):
        value = getattr(options, name)
        if not isinstance(value, tuple) or not all(callable(item) for item in value):
            raise ConfigError(f"option {name!r} is {value!r}", hint="Give a list of functions")


def positive(what: str, value: object) -> None:
    """Refuse what is no number of seconds above 0; ``None`` passes."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{what} is {value!r}", hint="Give seconds above 0, or leave it out for no limit")


def at_least(what: str, options: object, smallest: Mapping[str, float]) -> None:
    """Refuse numbers below the smallest that belongs to their name."""
    for name, bound in smallest.items():
        value = getattr(options, name)
        if value < bound:
            raise ConfigError(f"{name!r} of {what} is {value!r}", hint=f"Give at least {bound}")
