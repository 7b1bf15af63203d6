"""Generates, for each struct of an IDL, the function that sees before writing what thriftpy2's writer would not.

The Cython writer raises for most values that do not fit. It silently writes nonsense for some: a struct of another
class as what it is, a ``str`` where a list belongs as a list of its letters, anything as a bool, a float as an integer
without its fraction. And it leaves a ``required`` field out, which the peer then answers with an error of its own.
Strings and doubles cost nothing here: what the writer itself raises is enough.
"""

from __future__ import annotations

import keyword
from collections.abc import Collection, Mapping
from operator import index
from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.schema import Field, Form, Kind, Struct, ThriftType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["UnfitError", "generate_verifiers", "is_items"]

_LISTS = (Kind.LIST, Kind.SET)
_INTEGERS = (Kind.I8, Kind.I16, Kind.I32, Kind.I64, Kind.ENUM)
#: The writer itself raises for every value that is none of these.
_TRUSTED = (Kind.STRING, Kind.BINARY, Kind.DOUBLE)


class UnfitError(Exception):
    """The value must not be written. Where and why is looked for afterwards, by the slow reader of values."""


def is_items(value: object) -> bool:
    """Whether *value* can be written as a list or set."""
    return isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, memoryview, Mapping))


def _all_integers(values: Iterable[Any]) -> None:
    for value in values:
        index(value)


def generate_verifiers(structs: Sequence[Struct]) -> None:
    """Set ``verify`` of every one of *structs*, which must include all that they refer to."""
    scope: dict[str, Any] = {"Unfit": UnfitError, "is_items": is_items, "Mapping": Mapping}
    scope |= {"index": index, "all_integers": _all_integers}
    numbers = {id(struct): number for number, struct in enumerate(structs)}
    looked_into = _with_something_to_see(structs)
    lines: list[str] = []
    for number, struct in enumerate(structs):
        scope[f"K{number}"] = struct.cls
        if id(struct) in looked_into:
            lines += _Function(numbers, looked_into).lines(struct)
    exec(compile("\n".join(lines), "<elanus_codec_thrift: generated verifiers>", "exec"), scope)
    for number, struct in enumerate(structs):
        struct.verify = scope.get(f"e{number}")


def _with_something_to_see(structs: Sequence[Struct]) -> set[int]:
    return {
        id(struct)
        for struct in structs
        if struct.form is Form.UNION or any(item.required or _inspected(item.type) for item in struct.fields)
    }


def _inspected(type_: ThriftType) -> bool:
    return type_.kind not in _TRUSTED


def _read(item: Field) -> str:
    return f"getattr(o, {item.name!r})" if keyword.iskeyword(item.name) else f"o.{item.name}"


class _Function:
    """Writes ``e<number>(o)``, which raises when the object *o* must not be written."""

    def __init__(self, numbers: dict[int, int], looked_into: set[int]) -> None:
        self._numbers = numbers
        self._looked_into = looked_into
        self._lines: list[str] = []

    def lines(self, struct: Struct) -> list[str]:
        self._emit(0, f"def e{self._numbers[id(struct)]}(o):")
        if struct.form is Form.UNION:
            count = " + ".join(f"({_read(item)} is not None)" for item in struct.fields) or "0"
            self._emit(1, f"if {count} > 1: raise Unfit")
        for item in struct.fields:
            self._field(item)
        return self._lines

    def _emit(self, level: int, line: str) -> None:
        self._lines.append("    " * level + line)

    def _field(self, item: Field) -> None:
        if not (_inspected(item.type) or item.required):
            return
        self._emit(1, f"v = {_read(item)}")
        if item.required:
            self._emit(1, "if v is None: raise Unfit")
        if _inspected(item.type):
            self._emit(1, "if v is not None:")
            self._value(2, item.type, "v", 0)

    def _value(self, level: int, type_: ThriftType, name: str, inside: int) -> None:
        kind = type_.kind
        if kind is Kind.BOOL:
            self._emit(level, f"if {name} is not True and {name} is not False: raise Unfit")
        elif kind in _INTEGERS:
            self._emit(level, f"if {name}.__class__ is not int: index({name})")
        elif type_.struct is not None:
            number = self._numbers[id(type_.struct)]
            cls = f"K{number}"
            self._emit(level, f"if {name}.__class__ is not {cls} and not isinstance({name}, {cls}): raise Unfit")
            if id(type_.struct) in self._looked_into:
                self._emit(level, f"e{number}({name})")
        elif kind in _LISTS:
            self._emit(level, f"if {name}.__class__ is not list and not is_items({name}): raise Unfit")
            self._loop(level, type_.element, f"{name}", f"x{inside}", inside)
        elif kind is Kind.MAP:
            self._emit(level, f"if {name}.__class__ is not dict and not isinstance({name}, Mapping): raise Unfit")
            self._loop(level, type_.key_type, name, f"k{inside}", inside)
            self._loop(level, type_.element, f"{name}.values()", f"x{inside}", inside)

    def _loop(self, level: int, type_: ThriftType, source: str, name: str, inside: int) -> None:
        if type_.kind in _INTEGERS:
            # The sum of integers is one, and of anything else is not; this takes a third of the time of a loop.
            self._emit(level, f"if sum({source}).__class__ is not int: all_integers({source})")
        if not _inspected(type_) or type_.kind in _INTEGERS:
            return
        self._emit(level, f"for {name} in {source}:")
        self._value(level + 1, type_, name, inside + 1)
