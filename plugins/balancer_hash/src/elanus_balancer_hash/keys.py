"""Where the key of a call comes from, and the bytes that stand for it: the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["KeyFunction", "key_bytes", "key_function"]

#: Gives the key of a call: a text, bytes or a whole number; ``None`` when the call has none.
KeyFunction: TypeAlias = "Callable[[Call], str | bytes | int | None]"

_HINT = "Give 'argument:NAME', 'argument:NAME.FIELD', 'metadata:NAME', or a function of the call"


def key_function(source: str) -> KeyFunction:
    """The function that *source* describes.

    ``"argument:request.user_id"`` is a field of the parameter ``request``; a parameter may be given by its position
    (``"argument:0.user_id"``), and fields are attributes or, of a mapping, its keys. ``"metadata:user"`` is a value of
    the call's metadata, transient before persistent.

    :raises ConfigError: it describes nothing of the kind.
    """
    kind, _, name = source.partition(":")
    if kind == "argument" and all(name.split(".")):
        return _argument(name)
    if kind == "metadata" and name:
        return _metadata(name)
    raise ConfigError(f"option 'key' of balancer 'hash' is {source!r}", hint=_HINT)


def _argument(path: str) -> KeyFunction:
    name, *fields = path.split(".")
    position = int(name) if name.isdecimal() else None

    def key(call: Call) -> Any:
        arguments, index = call.arguments, position
        if index is None:
            parameters = call.method.parameters
            if name not in parameters:  # another method of the service
                return None
            index = parameters.index(name)
        if index >= len(arguments):
            return None
        value = arguments[index]
        for field in fields:
            value = _field(value, field)
        return value

    return key


def _field(value: Any, field: str) -> Any:
    if isinstance(value, dict):
        return value.get(field)
    found = getattr(value, field, None)
    if found is None and isinstance(value, Mapping):
        return value.get(field)
    return found


def _metadata(name: str) -> KeyFunction:
    def key(call: Call) -> str | None:
        metadata = call.metadata
        return metadata.transient.get(name) or metadata.persistent.get(name)

    return key


def key_bytes(key: object, call: Call) -> bytes:
    """What is hashed for *key*: a text as UTF-8, a number as its decimal digits; empty for ``None``.

    :raises ConfigError: the key is of a type that may look different in another process.
    """
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, int):
        return b"%d" % key
    if key is None:
        return b""
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(key)
    raise ConfigError(
        f"the key of {call.method} for balancer 'hash' is of type {type(key).__name__}",
        hint="A key is a text, bytes or a whole number, so that it is the same in every process",
    )
