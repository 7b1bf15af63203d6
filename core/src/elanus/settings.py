"""Options of a plugin's part: a frozen dataclass, filled from what the user wrote and checked by its annotations."""

from __future__ import annotations

import difflib
import types
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_settings"]

_T = TypeVar("_T")


def read_settings(cls: type[_T], owner: str, values: Mapping[str, object]) -> _T:
    """An object of the dataclass *cls* from the options that a user gave to a provider.

    Fields may be annotated ``bool``, ``int``, ``float``, ``str``, ``tuple[str, ...]`` and unions of these with
    ``None``. A number for a ``float`` may be whole; for a tuple of strings a list, or one bare string, will do.
    What else must hold is for the ``__post_init__`` of *cls* to say.

    :param owner: for the message: ``"registry 'etcd'"``.
    :raises ConfigError: an unknown option (names the nearest known one), or a value of the wrong type.
    """
    known = {item.name for item in fields(cls)}  # type: ignore[arg-type]  # any dataclass
    hints = typing.get_type_hints(cls)
    filled = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{owner} has no option {name!r}", hint=_nearest(name, known))
        filled[name] = _fitted(owner, name, value, hints[name])
    return cls(**filled)


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(sorted(known))}" if known else "It has none"


def _fitted(owner: str, name: str, value: object, hint: Any) -> object:
    for wanted in _alternatives(hint):
        fitted = _as(value, wanted)
        if fitted is not _MISFIT:
            return fitted
    words = " or ".join(_WORDS[wanted] for wanted in _alternatives(hint))
    raise ConfigError(f"option {name!r} of {owner} is {value!r}", hint=f"Give {words}")


def _alternatives(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]


_MISFIT = object()
_STRINGS = tuple[str, ...]
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    _STRINGS: "a list of texts",
    types.NoneType: "nothing at all",
}


def _as(value: Any, wanted: Any) -> object:
    if wanted == _STRINGS:
        return _as_strings(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is int and isinstance(value, bool):
        return _MISFIT
    return value if isinstance(value, wanted) else _MISFIT


def _as_strings(value: Any) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return _MISFIT
