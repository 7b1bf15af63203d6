"""Values as JSON and back, for people: ``elanus call``, logs, fixtures.

| Thrift | JSON |
|---|---|
| struct, union, exception | object; fields that are ``None`` are left out |
| list, set | array |
| map | object; keys that are no strings are written as strings, structs and containers as their JSON |
| enum | its name, or the number when it has none |
| binary | base64 |
| double | number; ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` as strings |

Read back, an enum may be a number too, and ``null`` is a field that is not there.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from elanus.errors import CodecError
from elanus_codec_thrift.explaining import range_of, shown
from elanus_codec_thrift.schema import Field, Form, Kind, Struct, ThriftType
from elanus_codec_thrift.verifying import is_items

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parse_json", "read_struct", "read_value", "write_json"]

_SPECIAL = ("NaN", "Infinity", "-Infinity")
_KEY_WORDS = {"true": True, "false": False}


def parse_json(text: str | bytes) -> Any:
    """*text* as Python's plain values.

    :raises CodecError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {error}", hint="Give one JSON value") from error


# Reading: plain values of JSON to values of a type. `path` is where, for the error.


def read_struct(struct: Struct, plain: Any, path: tuple[str, ...] = ()) -> Any:
    """A value of *struct* from a JSON object.

    :raises CodecError: something does not fit; names its path.
    """
    if not isinstance(plain, dict):
        raise CodecError(f"{struct.name}: expects a JSON object, got {shown(plain)}", path=path)
    value = struct.cls()
    for name, given in plain.items():
        field = struct.by_name.get(name)
        if field is None:
            raise _unknown(name, struct, path)
        if given is not None:
            setattr(value, name, read_value(field.type, given, (*path, name)))
    _check_whole(struct, value, plain, path)
    return value


def _check_whole(struct: Struct, value: Any, plain: Mapping[str, Any], path: tuple[str, ...]) -> None:
    for field in struct.fields:
        if field.required and getattr(value, field.name) is None:
            raise CodecError(f"{struct.name}: the field {field.name!r} is required", path=path)
    if struct.form is Form.UNION and len(plain) > 1:
        raise CodecError(f"{struct.name} is a union, and {len(plain)} of its fields are given", path=path)


def _unknown(name: str, struct: Struct, path: tuple[str, ...]) -> CodecError:
    near = get_close_matches(name, struct.by_name, n=1, cutoff=0.5)
    known = ", ".join(struct.by_name) or "none"
    hint = f"Did you mean {near[0]!r}?" if near else f"Its fields are: {known}"
    return CodecError(f"{name!r} is no field of {struct.name}", path=(*path, name), hint=hint)


def read_value(type_: ThriftType, plain: Any, path: tuple[str, ...] = ()) -> Any:
    """A value of *type_* from one of JSON.

    :raises CodecError: it does not fit; names its path.
    """
    kind = type_.kind
    if type_.struct is not None:
        return read_struct(type_.struct, plain, path)
    if kind in (Kind.LIST, Kind.SET):
        return _read_items(type_, plain, path)
    if kind is Kind.MAP:
        return _read_map(type_, plain, path)
    if kind is Kind.BINARY:
        return _read_binary(plain, path)
    if kind is Kind.DOUBLE:
        return _read_double(plain, path)
    if kind is Kind.ENUM and isinstance(plain, str):
        return _read_enum(type_, plain, path)
    if kind in (Kind.BOOL, Kind.STRING):
        return _checked(type_, plain, bool if kind is Kind.BOOL else str, path)
    return _read_integer(type_, plain, path)


def _checked(type_: ThriftType, plain: Any, wanted: type, path: tuple[str, ...]) -> Any:
    if not isinstance(plain, wanted):
        raise CodecError(f"expects {type_}, got {shown(plain)}", path=path)
    return plain


def _read_integer(type_: ThriftType, plain: Any, path: tuple[str, ...]) -> int:
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise CodecError(f"expects {type_}, got {shown(plain)}", path=path)
    least, most = range_of(type_.kind)
    if not least <= plain <= most:
        raise CodecError(f"{plain} is out of the range of {type_}, which is {least} to {most}", path=path)
    return plain


def _read_enum(type_: ThriftType, plain: str, path: tuple[str, ...]) -> int:
    members = _members(type_)
    if plain in members:
        return members[plain]
    near = get_close_matches(plain, members, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Its names are: {', '.join(members)}"
    raise CodecError(f"{type_} has no name {plain!r}", path=path, hint=hint)


def _members(type_: ThriftType) -> dict[str, int]:
    members = getattr(type_.enum, "__members__", None)
    return {name: int(member) for name, member in members.items()} if members else dict(type_.enum._NAMES_TO_VALUES)


def _read_double(plain: Any, path: tuple[str, ...]) -> float:
    if plain in _SPECIAL and isinstance(plain, str):
        return float(plain)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise CodecError(f"expects double, got {shown(plain)}", path=path)
    try:
        return float(plain)
    except OverflowError as error:
        raise CodecError("the number is out of the range of double", path=path) from error


def _read_binary(plain: Any, path: tuple[str, ...]) -> bytes:
    if not isinstance(plain, str):
        raise CodecError(f"expects binary as base64 text, got {shown(plain)}", path=path)
    try:
        return base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CodecError(f"not base64: {error}", path=path) from error


def _read_items(type_: ThriftType, plain: Any, path: tuple[str, ...]) -> Any:
    _checked(type_, plain, list, path)
    items = [read_value(type_.element, item, (*path, f"[{index}]")) for index, item in enumerate(plain)]
    return set(items) if type_.kind is Kind.SET and type_.element.hashable else items


def _read_map(type_: ThriftType, plain: Any, path: tuple[str, ...]) -> dict[Any, Any]:
    _checked(type_, plain, dict, path)
    made = {}
    for key, item in plain.items():
        inner = (*path, f"[{key!r}]")
        made[_read_key(type_.key_type, key, inner)] = read_value(type_.element, item, inner)
    return made


def _read_key(type_: ThriftType, key: str, path: tuple[str, ...]) -> Any:
    kind = type_.kind
    if kind in (Kind.STRING, Kind.BINARY) or (kind is Kind.DOUBLE and key in _SPECIAL):
        return read_value(type_, key, path)
    if kind is Kind.ENUM and key in _members(type_):
        return _members(type_)[key]
    try:
        plain = json.loads(key)
    except ValueError:
        plain = key  # the type's own error says it better
    return read_value(type_, plain, path)


# Writing: values of a type to plain values of JSON.


def write_json(value: Any, type_: ThriftType | None, struct: Struct | None) -> str:
    """*value* as JSON text, as *type_* or *struct* say; by its Python type where neither is known.

    :raises CodecError: it holds something that no Thrift type has.
    """
    try:
        if struct is not None:
            plain = _plain_struct(struct, value)
        else:
            plain = _plain(type_, value) if type_ is not None else _plain_guess(value)
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise CodecError("the value is nested too deep for JSON, or holds itself") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CodecError(f"the value cannot be written as JSON: {error}") from error


def _plain_struct(struct: Struct, value: Any) -> dict[str, Any]:
    pairs: Iterable[tuple[Field, Any]] = ((item, getattr(value, item.name)) for item in struct.fields)
    return {item.name: _plain(item.type, held) for item, held in pairs if held is not None}


def _plain(type_: ThriftType, value: Any) -> Any:
    kind = type_.kind
    if type_.struct is not None:
        return _plain_struct(type_.struct, value)
    if kind is Kind.MAP:
        return {_key_text(_plain(type_.key_type, key)): _plain(type_.element, item) for key, item in value.items()}
    if kind in (Kind.LIST, Kind.SET):
        return [_plain(type_.element, item) for item in value]
    if kind is Kind.ENUM:
        return next((name for name, number in _members(type_).items() if number == value), int(value))
    if kind is Kind.BINARY and isinstance(value, str):
        return _plain_guess(value.encode())
    if kind is Kind.STRING and isinstance(value, bytes):
        return value.decode(errors="replace")
    return _plain_guess(value)


def _key_text(plain: Any) -> str:
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain_guess(value: Any) -> Any:
    """*value* by its Python type: for replies that are no structs."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    struct = getattr(type(value), "__elanus_struct__", None)
    if struct is not None:
        return _plain_struct(struct, value)
    if isinstance(value, Mapping):
        return {_key_text(_plain_guess(key)): _plain_guess(item) for key, item in value.items()}
    if is_items(value):
        return [_plain_guess(item) for item in value]
    return getattr(value, "name", value)
