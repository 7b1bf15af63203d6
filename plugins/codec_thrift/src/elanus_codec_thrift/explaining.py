"""Finds out which value does not fit its type, after the fast writer has failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.schema import Form, Kind, Struct, ThriftType
from elanus_codec_thrift.verifying import is_items

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Finding", "find_in_struct", "range_of", "shown"]

_BITS = {Kind.I8: 8, Kind.I16: 16, Kind.I32: 32, Kind.ENUM: 32, Kind.I64: 64}
_SHOWN = 60

#: Path and cause of the first value that does not fit.
Finding = tuple[tuple[str, ...], str]


def range_of(kind: Kind) -> tuple[int, int]:
    """The smallest and the largest integer that *kind* holds."""
    half = 1 << (_BITS[kind] - 1)
    return -half, half - 1


def find_in_struct(struct: Struct, value: Any, depth: int) -> Finding | None:
    """The first thing in *value* that cannot be written as *struct*; ``None`` when everything can.

    :param depth: how many levels of structs and containers may be inside one another.
    """
    return next(_struct(struct, value, (), depth), None)


def _struct(struct: Struct, value: Any, path: tuple[str, ...], depth: int) -> Iterator[Finding]:
    if depth <= 0:
        yield path, "nested deeper than the limit 'depth' allows, or it holds itself"
        return
    if not isinstance(value, struct.cls):
        yield path, f"expects {struct.name}, got {_kind_of(value, struct)}"
        return
    if struct.form is Form.UNION:
        given = [item.name for item in struct.fields if getattr(value, item.name, None) is not None]
        if len(given) > 1:
            yield path, f"{struct.name} is a union, and {len(given)} of its fields are set: {', '.join(given)}"
    for item in struct.fields:
        inner = (*path, item.name)
        held = getattr(value, item.name, None)
        if held is not None:
            yield from _value(item.type, held, inner, depth - 1)
        elif item.required:
            yield inner, f"{struct.name} requires it, and it is None"


def _value(type_: ThriftType, value: Any, path: tuple[str, ...], depth: int) -> Iterator[Finding]:
    if type_.struct is not None:
        yield from _struct(type_.struct, value, path, depth)
    elif type_.kind in (Kind.LIST, Kind.SET):
        yield from _items(type_, value, path, depth)
    elif type_.kind is Kind.MAP:
        yield from _map(type_, value, path, depth)
    else:
        cause = _cause(type_, value)
        if cause is not None:
            yield path, cause


def _items(type_: ThriftType, value: Any, path: tuple[str, ...], depth: int) -> Iterator[Finding]:
    if not is_items(value):
        yield path, f"expects {type_}, got {shown(value)}"
        return
    if depth <= 0:
        yield path, "nested deeper than the limit 'depth' allows, or it holds itself"
        return
    for index, item in enumerate(value):
        yield from _value(type_.element, item, (*path, f"[{index}]"), depth - 1)


def _map(type_: ThriftType, value: Any, path: tuple[str, ...], depth: int) -> Iterator[Finding]:
    if not isinstance(value, Mapping):
        yield path, f"expects {type_}, got {shown(value)}"
        return
    if depth <= 0:
        yield path, "nested deeper than the limit 'depth' allows, or it holds itself"
        return
    for key, item in value.items():
        yield from _value(type_.key_type, key, (*path, f"[key {key!r}]"), depth - 1)
        yield from _value(type_.element, item, (*path, f"[{key!r}]"), depth - 1)


def _cause(type_: ThriftType, value: Any) -> str | None:
    kind = type_.kind
    if kind is Kind.BOOL:
        fits = isinstance(value, bool)
    elif kind is Kind.DOUBLE:
        fits = isinstance(value, (int, float)) or hasattr(value, "__float__")
    elif kind is Kind.STRING:
        return _text_cause(value)
    elif kind is Kind.BINARY:
        fits = isinstance(value, (bytes, bytearray, memoryview, str))
    else:
        return _integer_cause(type_, value)
    return None if fits else f"expects {type_}, got {shown(value)}"


def _integer_cause(type_: ThriftType, value: Any) -> str | None:
    if not hasattr(value, "__index__"):
        return f"expects {type_}, got {shown(value)}"
    least, most = range_of(type_.kind)
    if least <= value <= most:
        return None
    return f"{shown(value)} is out of the range of {type_.kind.word}, which is {least} to {most}"


def _text_cause(value: Any) -> str | None:
    if isinstance(value, bytes):
        return None
    if not isinstance(value, str):
        return f"expects string, got {shown(value)}"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"cannot be written as UTF-8: {error.reason} at character {error.start}"
    return None


def _kind_of(value: Any, struct: Struct) -> str:
    if type(value).__name__ == struct.name and struct.form is not Form.ARGUMENTS:
        return f"a {struct.name} of another load of its IDL"
    return shown(value)


def shown(value: Any) -> str:
    """*value* and its type, as an error shows it: no longer than a line."""
    text = repr(value)
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    return f"{text} ({type(value).__name__})"
