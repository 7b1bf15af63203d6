"""Values of options as a configuration source has them, turned into what the options take.

What an option takes is read off its annotation, so an option that is added can be set from a file, if a file can hold
it, without a word here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.contracts.config import Setting
from elanus.errors import ConfigError
from elanus.limits import Limits
from elanus.option_checks import nearest
from elanus.options import ClientOptions, PoolOptions, ServerOptions, WarmUp

__all__ = ["in_words", "option_value", "placed"]

if TYPE_CHECKING:
    from collections.abc import Iterable

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Reader: TypeAlias = Callable[[Setting], Any]


class _MisfitError(Exception):
    """The value is not of the kind that the option takes; the text says what would be."""


def _flag(setting: Setting) -> bool:
    if not isinstance(setting.value, bool):
        raise _MisfitError("Give true or false")
    return setting.value


def _whole(setting: Setting) -> int:
    if isinstance(setting.value, bool) or not isinstance(setting.value, int):
        raise _MisfitError("Give a whole number")
    return setting.value


def _seconds(setting: Setting) -> float:
    value = setting.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _MisfitError('Give seconds (0.2), or a text with a unit ("200ms", "1.5s", "2m", "1h")')
    return float(found[1]) * _SECONDS[found[2]]


def _text(setting: Setting) -> str:
    if not isinstance(setting.value, str):
        raise _MisfitError("Give a text")
    return setting.value


def _texts(setting: Setting) -> tuple[str, ...]:
    values = setting.value if isinstance(setting.value, list | tuple) else [setting.value]
    if not all(isinstance(value, str) for value in values):
        raise _MisfitError("Give a text, or a list of texts")
    return tuple(values)


def _text_map(setting: Setting) -> dict[str, str]:
    value = setting.value
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise _MisfitError("Give a table of texts")
    return dict(value)


def _choice(setting: Setting) -> Any:
    """A name; a table with a name and the part's options; or ``false`` for none."""
    value = setting.value
    if isinstance(value, str) or value is False:
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise _MisfitError('Give a name, a table with "name" and options, or false for none')
    options = {key: each for key, each in value.items() if key != "name"}
    return (value["name"], options) if options else value["name"]


def _choices(setting: Setting) -> tuple[Any, ...]:
    values = setting.value if isinstance(setting.value, list | tuple) else [setting.value]
    return tuple(_choice(Setting(value, setting.source)) for value in values)


def placed(error: ConfigError, source: str) -> ConfigError:
    """*error* with its place in front, once."""
    if error.message.startswith(f"{source}: "):
        return error
    return type(error)(f"{source}: {error.message}", hint=error.hint)


def _several(cls: type) -> Reader:
    """A table of the fields of *cls*."""

    def read(setting: Setting) -> Any:
        if not isinstance(setting.value, Mapping):
            raise _MisfitError(f"Give a table of the fields of {cls.__name__}")
        places = {name: setting.inner.get(name, setting.source) for name in setting.value}
        values = {
            name: option_value(cls, cls.__name__, name, Setting(value, places[name]))
            for name, value in setting.value.items()
        }
        try:
            return cls(**values)
        except ConfigError as error:
            alone = (name for name in values if _refused(cls, {name: values[name]}))
            raise placed(error, places.get(next(alone, ""), setting.source)) from error

    return read


def _refused(cls: type, values: Mapping[str, Any]) -> bool:
    try:
        cls(**values)
    except ConfigError:
        return True
    return False


#: By annotation: how a value is read, and how the kind is called in the reference.
_READERS: dict[str, tuple[Reader, str]] = {
    "bool": (_flag, "true or false"),
    "bool | None": (_flag, "true or false"),
    "int": (_whole, "whole number"),
    "float": (_seconds, "seconds"),
    "float | None": (_seconds, "seconds"),
    "str": (_text, "text"),
    "str | None": (_text, "text"),
    "tuple[str, ...]": (_texts, "texts"),
    "tuple[Plugin, ...]": (_texts, "names of plugins"),
    "Mapping[str, str]": (_text_map, "table of texts"),
    "Choice": (_choice, "name, or table"),
    "tuple[Choice, ...]": (_choices, "names, or tables"),
    "PoolOptions": (_several(PoolOptions), "table"),
    "Limits": (_several(Limits), "table"),
    "WarmUp | None": (_several(WarmUp), "table"),
}


def in_words(annotation: object) -> str | None:
    """What a configuration source may give for an option of this annotation; ``None``: nothing, code alone can."""
    found = _READERS.get(str(annotation))
    return None if found is None else found[1]


def _table_of(name: str) -> str:
    """The hint for an option *name* that another table takes; empty if none does."""
    tables = {"[client]": ClientOptions, "[server]": ServerOptions}
    taking = [
        table
        for table, cls in tables.items()
        if any(item.name == name and str(item.type) in _READERS for item in fields(cls))
    ]
    return f"It is an option of {' and '.join(taking)}" if taking else ""


def option_value(cls: type, owner: str, name: str, setting: Setting, *, known: Iterable[str] | None = None) -> Any:
    """What the option *name* of the class *cls* gets from *setting*.

    :param owner: for messages: ``"client"``, ``"client of EchoService"``.
    :param known: the names that may be set, where these are not all fields of *cls*.
    :raises ConfigError: names place, option and the nearest known one, or what the option takes.
    """
    types = {item.name: str(item.type) for item in fields(cls)}
    allowed = set(types if known is None else known)
    if name not in allowed:
        raise ConfigError(
            f"{setting.source}: unknown option {name!r} of {owner}", hint=_table_of(name) or nearest(name, allowed)
        )
    if types[name] not in _READERS:
        raise ConfigError(
            f"{setting.source}: option {name!r} of {owner} takes an object of Python, which no configuration holds",
            hint=f"Set it in code: {name}=...",
        )
    try:
        return _READERS[types[name]][0](setting)
    except _MisfitError as misfit:
        what = f"{setting.source}: option {name!r} of {owner} is {setting.value!r}"
        raise ConfigError(what, hint=str(misfit)) from None
