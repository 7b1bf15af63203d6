"""Default values of fields, given the Python types that their Thrift types have.

thriftpy2 keeps what it read: text for a binary, a dictionary for a struct in a list, a marker for a type that is
declared further down.
"""

from __future__ import annotations

from typing import Any

from elanus.errors import ConfigError
from elanus_codec_thrift.schema import Kind, ThriftType

__all__ = ["converted"]


def converted(type_: ThriftType, value: Any, path: str, where: str) -> Any:
    """*value* as a value of *type_*.

    :param path: the IDL file, and *where*: the struct and field, for the error.
    :raises ConfigError: it is none.
    """
    try:
        return _convert(type_, value)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"{path}: the default {value!r} of {where} is no {type_}", phase="load", hint="Correct the IDL"
        ) from error


def _convert(type_: ThriftType, value: Any) -> Any:
    if isinstance(value, tuple) and value[:1] == ("UNKNOWN_CONST",):
        value = value[2]
    kind = type_.kind
    if kind is Kind.BINARY:
        return value.encode() if isinstance(value, str) else bytes(value)
    if kind is Kind.DOUBLE:
        return float(value)
    if kind is Kind.BOOL:
        return bool(value)
    if kind is Kind.STRING:
        return _checked(value, str)
    if type_.struct is not None:
        return _struct(type_, value)
    if kind is Kind.MAP:
        return {_convert(type_.key_type, key): _convert(type_.element, item) for key, item in value.items()}
    if kind is Kind.LIST:
        return [_convert(type_.element, item) for item in value]
    if kind is Kind.SET:
        items = [_convert(type_.element, item) for item in value]
        return set(items) if type_.element.hashable else items
    return _checked(value, int)


def _checked(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{value!r} is no {wanted.__name__}")
    return value


def _struct(type_: ThriftType, value: Any) -> Any:
    struct = type_.struct
    assert struct is not None
    if isinstance(value, struct.cls):
        given = {item.name: getattr(value, item.name, None) for item in struct.fields}
    else:
        given = _checked(value, dict)
    made = struct.cls.__new__(struct.cls)
    for name in given:
        if name not in struct.by_name:
            raise KeyError(name)
    for item in struct.fields:
        held = given.get(item.name)
        setattr(made, item.name, None if held is None else _convert(item.type, held))
    return made
