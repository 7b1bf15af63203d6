"""Generates readers and writers of whole messages around one small struct of numbers and strings.

Most requests and replies are such structs, and for them the way into thriftpy2 and out again, with the check before it,
costs several times what two ``struct`` calls and a slice do. These functions know one form of a message: every field
there, in the IDL's order. They give ``None`` or raise for anything else, and the codec then takes the general way. That
one also finds the words for what is wrong, so these never have to say why.
"""

from __future__ import annotations

import keyword
import struct as struct_module
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus_codec_thrift.schema import Field, Form, Kind, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.codec import Payload

__all__ = ["Reader", "Writer", "flat_functions"]

#: With more fields thriftpy2 is as fast.
_MOST_FIELDS = 6
_CODES = {Kind.I8: "b", Kind.I16: "h", Kind.I32: "i", Kind.ENUM: "i", Kind.I64: "q", Kind.DOUBLE: "d", Kind.BOOL: "B"}
_SIZES = {"b": 1, "h": 2, "i": 4, "q": 8, "d": 8, "B": 1}

#: From a message to its object.
Reader: TypeAlias = "Callable[[Payload], Any]"
#: From an object to its message.
Writer: TypeAlias = "Callable[[Any], bytes | None]"


def flat_functions(head: bytes, struct: Struct) -> tuple[Reader | None, Writer | None]:
    """How to read and to write a message that is *head*, a *struct*, and the wrapper's STOP.

    :returns: a reader and a writer, or ``None`` for both when the struct is not of that kind. For messages and values
        that they do not know they in turn give ``None``, or raise whatever comes up.
    """
    fields = struct.fields
    fit = 1 <= len(fields) <= _MOST_FIELDS and struct.form is Form.STRUCT
    if not fit or not all(item.type.kind in _CODES or item.type.kind in (Kind.STRING, Kind.BINARY) for item in fields):
        return None, None
    # What is optional is often absent, and then trying this would be lost time.
    if any(item.optional or keyword.iskeyword(item.name) for item in fields):
        return None, None
    scope: dict[str, Any] = {"HEAD": head, "new": struct.cls.__new__, "CLS": struct.cls}
    lines = [*_reader(head, fields, scope), *_writer(head, fields, scope)]
    exec(compile("\n".join(lines), f"<elanus_codec_thrift: {struct.name} as a message>", "exec"), scope)
    return scope["read"], scope["write"]


def _reader(head: bytes, fields: tuple[Field, ...], scope: dict[str, Any]) -> list[str]:
    lines = ["def read(d):"]
    layout, targets, tests, size, at = f"{len(head)}s", ["head"], ["head != HEAD"], len(head), "0"
    for index, item in enumerate(fields):
        header, value = f"h{index}", f"v{index}"
        scope[f"H{index}"] = item.header
        layout += "3s"
        targets.append(header)
        tests.append(f"{header} != H{index}")
        size += 3
        code = _CODES.get(item.type.kind)
        if code is not None:
            layout += code
            targets.append(value)
            size += _SIZES[code]
            if code == "B":
                tests.append(f"{value} > 1")
            continue
        layout += "I"
        targets.append("n")
        size += 4
        lines += _unpacked(layout, targets, tests, at, scope)
        lines.append(f"    p = {_sum(at, size)}")
        lines.append("    e = p + n")
        lines.append(f"    {value} = {'str(d[p:e], UTF8)' if item.type.kind is Kind.STRING else 'bytes(d[p:e])'}")
        layout, targets, tests, size, at = "", [], [], 0, "e"
    scope["UTF8"] = "utf-8"
    scope["END"] = b"\0\0"  # of the struct, and of the wrapper
    if layout:
        lines += _unpacked(layout, targets, tests, at, scope)
    # A string that is cut off ends after the data, and there is no END there.
    lines.append(f"    if d[{_sum(at, size)}:{_sum(at, size + 2)}] != END: return None")
    lines.append("    o = new(CLS)")
    for index, item in enumerate(fields):
        lines.append(f"    o.{item.name} = v{index}{' == 1' if item.type.kind is Kind.BOOL else ''}")
    lines.append("    return o")
    return lines


def _sum(at: str, size: int) -> str:
    return str(size) if at == "0" else f"{at} + {size}" if size else at


def _unpacked(layout: str, targets: list[str], tests: list[str], at: str, scope: dict[str, Any]) -> list[str]:
    name = f"unpack_{len(scope)}"
    scope[name] = struct_module.Struct(">" + layout).unpack_from
    position = "" if at == "0" else f", {at}"
    return [f"    {', '.join(targets)}, = {name}(d{position})", f"    if {' or '.join(tests)}: return None"]


def _writer(head: bytes, fields: tuple[Field, ...], scope: dict[str, Any]) -> list[str]:
    lines = ["def write(o):"]
    parts: list[str] = []
    layout, values = f"{len(head)}s", ["HEAD"]
    for index, item in enumerate(fields):
        kind, value = item.type.kind, f"v{index}"
        layout += "3s"
        values.append(f"H{index}")
        lines.append(f"    {value} = o.{item.name}")
        if kind is Kind.BOOL:
            lines.append(f"    if {value} is not True and {value} is not False: return None")
        if kind in _CODES:
            lines.append(f"    if {value} is None: return None")
            layout += _CODES[kind]
            values.append(value)
            continue
        wanted = "str" if kind is Kind.STRING else "bytes"
        lines.append(f"    if {value}.__class__ is not {wanted}: return None")
        if kind is Kind.STRING:
            lines.append(f"    {value} = {value}.encode()")
        layout += "I"
        values.append(f"len({value})")
        parts += [_packed(layout, values, scope), value]
        layout, values = "", []
    layout += "2s"
    values.append("END")
    parts.append("END" if layout == "2s" else _packed(layout, values, scope))
    joined = " + ".join(parts) if len(parts) <= 3 else f"b''.join(({', '.join(parts)}))"
    lines.append(f"    return {joined}")
    return lines


def _packed(layout: str, values: list[str], scope: dict[str, Any]) -> str:
    name = f"pack_{len(scope)}"
    scope[name] = struct_module.Struct(">" + layout).pack
    return f"{name}({', '.join(values)})"
