"""A small complete codec: JSON of plain values. For tests that shall need no plugin, and to be read by codec authors.

A service is described by a few lines of text, in a file that ends in ``.jsonidl`` or in a string::

    # A comment. Every name below is the reader's own.
    exception NotFound(key)

    service Store {
      get(key) throws NotFound
      oneway note(text)
      server-stream list(prefix)
      client-stream add(item)
      bidi-stream chat(line)
    }

Values are what JSON has: ``None``, booleans, numbers, text, lists, and dictionaries with text keys. A codec of your own
will have types: where this one ignores ``argument_type`` and ``result_type``, yours builds what they say.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

from elanus.contracts.codec import Codec, Idl
from elanus.errors import CodecError, ConfigError
from elanus.limits import DEFAULT_LIMITS, Limits
from elanus.service import MethodInfo, MethodKind, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from elanus.contracts.codec import Payload

__all__ = ["Declared", "JsonCodec"]

_NAME = r"[A-Za-z_]\w*"
_NAMES = rf"\(\s*((?:{_NAME}\s*(?:,\s*{_NAME}\s*)*)?)\)"
_EXCEPTION = re.compile(rf"exception\s+({_NAME})\s*{_NAMES}$")
_SERVICE = re.compile(rf"service\s+({_NAME})\s*\{{$")
_METHOD = re.compile(
    rf"(?:({'|'.join(kind.value for kind in MethodKind)})\s+)?({_NAME})\s*{_NAMES}(?:\s+throws\s+(.+))?$"
)


class Declared(Exception):
    """A declared exception: each one of an IDL is a subclass with its own fields, given by position or by name."""

    fields: tuple[str, ...] = ()

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self.fields, values, strict=False), **named)
        super().__init__(*(given.get(name) for name in self.fields))
        self.__dict__.update({name: given.get(name) for name in self.fields})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.args == self.args

    __hash__ = Exception.__hash__


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The ``argument_type`` of a method, by which :meth:`JsonCodec.from_json` knows that arguments are meant."""

    parameters: tuple[str, ...]


class JsonCodec(Codec):
    """Turns plain values into JSON and back, within the limits. Holds no state of any call.

    :param limits: what decoding refuses to go beyond.
    """

    wire = "json"
    suffixes = (".jsonidl",)

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    # -- the IDL ------------------------------------------------------------------------------------------------

    def load(self, path: str | PathLike[str], include_directories: Sequence[str | PathLike[str]] = ()) -> Idl:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        return self.loads(text, str(path))

    def loads(self, text: str, path: str = "<text>") -> Idl:
        """As :meth:`load`, from the text itself.

        :param path: what errors call it.
        :raises ConfigError: a line that makes no sense; names the path and the line.
        """
        exceptions: dict[str, type[Declared]] = {}
        services: dict[str, ServiceInfo] = {}
        methods: dict[str, MethodInfo] | None = None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            if methods is None and (match := _EXCEPTION.match(line)):
                exceptions[match[1]] = type(match[1], (Declared,), {"fields": _split(match[2]), "__module__": path})
            elif methods is None and (match := _SERVICE.match(line)):
                methods = {}
                services[match[1]] = ServiceInfo(match[1], self, methods)
            elif methods is not None and line == "}":
                methods = None
            elif methods is not None and (match := _METHOD.match(line)):
                methods[match[2]] = _method(next(reversed(services)), match, exceptions, f"{path}:{number}")
            else:
                raise ConfigError(f"{path}:{number}: cannot read {line!r}", hint="See elanus.testing.json_codec")
        return Idl(path, services, exceptions)

    def with_limits(self, limits: Limits) -> Codec:
        return JsonCodec(limits)

    # -- unary calls --------------------------------------------------------------------------------------------

    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        return _dumped(method, dict(zip(method.parameters, arguments, strict=True)))

    def decode_arguments(self, method: MethodInfo, payload: Payload) -> Sequence[Any]:
        values = self._object(method, payload)
        return [values.get(name) for name in method.parameters]  # unknown ones are skipped, absent ones are None

    def encode_result(self, method: MethodInfo, reply: Any) -> bytes:
        return _dumped(method, {} if reply is None else {"result": reply})

    def encode_exception(self, method: MethodInfo, error: BaseException) -> bytes | None:
        if not isinstance(error, tuple(method.extra["throws"].values())):
            return None
        values = dict(zip(error.fields, error.args, strict=True))  # type: ignore[attr-defined]  # it is a Declared
        return _dumped(method, {"exception": type(error).__name__, "fields": values})

    def decode_result(self, method: MethodInfo, payload: Payload) -> Any:
        values = self._object(method, payload)
        if "exception" not in values:
            return values.get("result")
        declared = method.extra["throws"].get(values["exception"])
        if declared is None:
            raise CodecError(f"the reply carries an exception {values['exception']!r} that is not declared")
        raise declared(**_named(values.get("fields"), declared.fields))

    # -- streams ------------------------------------------------------------------------------------------------

    def encode_item(self, method: MethodInfo, item: Any, *, reply: bool) -> bytes:
        return _dumped(method, item)

    def decode_item(self, method: MethodInfo, payload: Payload, *, reply: bool) -> Any:
        return self._loaded(method.name, payload)

    # -- JSON for people ----------------------------------------------------------------------------------------

    def from_json(self, type_: Any, text: str | bytes) -> Any:
        value = self._loaded("from_json", text if isinstance(text, bytes) else text.encode())
        if isinstance(type_, Arguments):
            named = _named(value, type_.parameters)
            return [named.get(name) for name in type_.parameters]
        if isinstance(type_, type) and issubclass(type_, Declared):
            return type_(**_named(value, type_.fields))
        return value

    def to_json(self, value: Any) -> str:
        if isinstance(value, Declared):
            value = dict(zip(value.fields, value.args, strict=True))
        return _dumped(None, value).decode()

    # -- within the limits --------------------------------------------------------------------------------------

    def _object(self, method: MethodInfo, payload: Payload) -> Mapping[str, Any]:
        value = self._loaded(method.name, payload)
        if not isinstance(value, dict):
            raise CodecError(f"an object is wanted, not {type(value).__name__}", method=method.name)
        return value

    def _loaded(self, method: str, payload: Payload) -> Any:
        try:
            value = json.loads(bytes(payload))
        except (ValueError, RecursionError) as error:
            raise CodecError(f"no JSON: {error}", method=method) from error
        self._check(method, value, ())
        return value

    def _check(self, method: str, value: Any, path: tuple[str, ...]) -> None:
        limits = self._limits
        if len(path) > limits.depth:
            raise CodecError(f"nested deeper than limits.depth={limits.depth}", method=method, path=path)
        if isinstance(value, str) and len(value.encode(errors="replace")) > limits.string_bytes:
            raise CodecError(f"text over limits.string_bytes={limits.string_bytes}", method=method, path=path)
        if isinstance(value, (list, dict)):
            if len(value) > limits.container_items:
                raise CodecError(f"over limits.container_items={limits.container_items}", method=method, path=path)
            items = value.items() if isinstance(value, dict) else ((f"[{i}]", item) for i, item in enumerate(value))
            for key, item in items:
                self._check(method, item, (*path, key))


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _method(service: str, match: re.Match[str], exceptions: Mapping[str, type[Declared]], place: str) -> MethodInfo:
    kind, name, parameters, throws = match.groups()
    unknown = [each for each in _split(throws or "") if each not in exceptions]
    if unknown:
        raise ConfigError(f"{place}: {name} throws {', '.join(unknown)}, which is not declared above")
    return MethodInfo(
        name,
        service,
        MethodKind(kind or "unary"),
        _split(parameters),
        argument_type=Arguments(_split(parameters)),
        extra={"throws": {each: exceptions[each] for each in _split(throws or "")}},
    )


def _named(value: Any, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CodecError(f"an object with the keys {', '.join(known) or 'none'} is wanted")
    unknown = [key for key in value if key not in known]
    if unknown:
        raise CodecError(f"there is no {unknown[0]!r}; known: {', '.join(known) or 'none'}", path=(unknown[0],))
    return value


def _dumped(method: MethodInfo | None, value: Any) -> bytes:
    """JSON of *value*.

    :raises CodecError: something in it is no plain value; says what, and where.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=None).encode()
    except (TypeError, ValueError, RecursionError) as error:
        path = _misfit(value, ())
        raise CodecError(str(error), path=path, method=None if method is None else method.name) from error


def _misfit(value: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    """The path to the first value in *value* that JSON does not have."""
    if len(path) > 100:
        return path
    if isinstance(value, (list, tuple)):
        value = {f"[{i}]": item for i, item in enumerate(value)}
    if not isinstance(value, dict):
        return path
    for key, item in value.items():
        try:
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return _misfit(item, (*path, str(key)))
    return path
