"""From parsed files to what a person uses: services, classes, enums, constants, types, includes."""

from __future__ import annotations

import enum
import os
import uuid
from functools import partial
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from elanus.contracts.codec import Idl
from elanus.errors import ConfigError
from elanus.service import MethodInfo, MethodKind, ServiceInfo
from elanus_codec_thrift.checking import generate_checks
from elanus_codec_thrift.defaults import converted
from elanus_codec_thrift.messages import Message
from elanus_codec_thrift.parsing import parse_files
from elanus_codec_thrift.pickling import TypeKey, rebuild_enum, remember
from elanus_codec_thrift.schema import Field, Form, Kind, Struct, ThriftType
from elanus_codec_thrift.settling import give_settlers
from elanus_codec_thrift.structs import dress, is_shareable
from elanus_codec_thrift.verifying import generate_verifiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.codec import Codec
    from elanus_codec_thrift.parsing import Reference, SourceFile

__all__ = ["load_idl"]

_SIMPLE = {2: Kind.BOOL, 3: Kind.I8, 4: Kind.DOUBLE, 6: Kind.I16, 8: Kind.I32, 10: Kind.I64, 11: Kind.STRING}
#: thriftpy2's own code for what is a string on the wire.
_BINARY = 18
_CODES = {kind: kind.wire for kind in Kind} | {Kind.BINARY: _BINARY}
_FORMS = {"structs": Form.STRUCT, "unions": Form.UNION, "exceptions": Form.EXCEPTION}
#: Values of the annotation ``streaming.mode`` that Kitex's generator takes (thriftgo ``streaming.go``).
_STREAMING = {
    "unary": MethodKind.UNARY,
    "client": MethodKind.CLIENT_STREAM,
    "server": MethodKind.SERVER_STREAM,
    "bidirectional": MethodKind.BIDI_STREAM,
}


def load_idl(codec: Codec, path: str, include_directories: Sequence[str]) -> Idl:
    """Load the IDL file at *path* for *codec*.

    :raises ConfigError: as :meth:`elanus.contracts.codec.Codec.load`.
    """
    files, references = parse_files(path, include_directories)
    # The root and the files of the including ones are absolute from here on, so that a pickle can be read anywhere.
    directories = tuple(os.path.abspath(item) for item in include_directories)
    loader = _Loader(codec, directories, references)
    for file in files.values():
        loader.declare(file)
    loader.complete()
    for file in files.values():
        loader.publish(file)
    return loader.idls[os.path.realpath(path)]


class _Loader:
    """One load. Types first get their names, then their fields, since they may refer to each other in circles."""

    def __init__(self, codec: Codec, include_directories: tuple[str, ...], references: Mapping[int, Reference]) -> None:
        self.idls: dict[str, Idl] = {}
        self._codec = codec
        self._word = uuid.uuid4().hex
        self._include_directories = include_directories
        self._references = references
        self._resolving: list[int] = []
        #: By the class that the parser made.
        self._structs: dict[Any, Struct] = {}
        self._enums: dict[Any, Any] = {}
        self._services: dict[Any, ServiceInfo] = {}
        self._files: dict[Any, SourceFile] = {}

    # Declare: every type gets its object.

    def declare(self, file: SourceFile) -> None:
        """Note the types and services of *file*."""
        meta = _meta(file.module)
        for cls in meta.get("enums", ()):
            self._enums[cls] = self._enum(cls, self._key(file, cls.__name__))
        for group, form in _FORMS.items():
            for cls in meta.get(group, ()):
                self._declare(cls, Struct(cls.__name__, form, cls), file)
        for service in meta.get("services", ()):
            for name in _own_methods(service):
                arguments, result = _wrappers(service, name)
                for cls, form in ((arguments, Form.ARGUMENTS), (result, Form.RESULT)):
                    self._declare(cls, Struct(f"the {form.value} of {name}", form, cls, method=name), file)

    def _declare(self, cls: Any, struct: Struct, file: SourceFile) -> None:
        self._structs[cls] = struct
        self._files[cls] = file

    def _key(self, file: SourceFile, name: str) -> TypeKey:
        return TypeKey(file.path, self._include_directories, file.digest, name, self._word)

    def _enum(self, cls: Any, key: TypeKey) -> Any:
        """An ``IntEnum`` of the parser's class; that class itself when a name is one that Python's enums refuse."""
        try:
            make: Any = enum.IntEnum  # as a function, with a name known at run time only
            made = make(cls.__name__, dict(cls._NAMES_TO_VALUES), module=cls.__module__)
        except (ValueError, TypeError):
            return cls
        made.__reduce_ex__ = lambda self, protocol: (rebuild_enum, (key, int(self)))
        remember(key, made)
        return made

    # Complete: every struct gets its fields, its behaviour and its generated functions.

    def complete(self) -> None:
        """Give all declared structs their fields and functions."""
        for cls, struct in self._structs.items():
            struct.complete(tuple(self._fields(cls, struct, self._files[cls])))
        structs = list(self._structs.values())
        for cls, struct in self._structs.items():
            # Defaults may be structs themselves, so all of them have their fields first.
            self._give_defaults(cls, struct)
            named = struct.method is None
            key = self._key(self._files[cls], struct.name) if named else None
            dress(struct, key)
            if key is not None:
                remember(key, cls)
        for struct in structs:
            struct.blank = _factory(struct)
        for struct in structs:
            struct.cls.thrift_spec = {item.id: _spec(item) for item in struct.fields}
        generate_checks(structs)
        generate_verifiers(structs)
        give_settlers(structs)

    def _fields(self, cls: Any, struct: Struct, file: SourceFile) -> list[Field]:
        optional = file.scan.optional
        fields = []
        for number, (code, name, *spec, required) in cls.thrift_spec.items():
            type_ = self._type(code, spec[0] if spec else None)
            if type_ is None or not -(1 << 15) <= number < 1 << 15:
                raise _bad_field(file, cls, struct, number, name)
            may_be_absent = not required and (struct.name, name) in optional
            fields.append(Field(number, name, type_, required=bool(required), optional=may_be_absent))
        return fields

    def _give_defaults(self, cls: Any, struct: Struct) -> None:
        defaults = dict(cls.default_spec)
        for item in struct.fields:
            default = defaults.get(item.name)
            if default is not None:
                item.default = converted(item.type, default, self._files[cls].path, f"{struct.name}.{item.name}")

    def _type(self, code: Any, spec: Any) -> ThriftType | None:
        """What thriftpy2's *code* and *spec* say; ``None`` when they name no type."""
        if isinstance(code, int) and code < 0:
            return self._resolve(code)
        if code == 8 and spec is not None:
            return ThriftType(Kind.ENUM, enum=self._enums[spec])
        if code == _BINARY:
            return ThriftType(Kind.BINARY)
        if code == Kind.STRUCT.wire and spec in self._structs:
            return ThriftType(Kind.STRUCT, struct=self._structs[spec])
        if code == Kind.MAP.wire:
            key, value = self._inner(spec[0]), self._inner(spec[1])
            return ThriftType(Kind.MAP, key, value) if key and value else None
        if code in (Kind.LIST.wire, Kind.SET.wire):
            value = self._inner(spec)
            return ThriftType(Kind.LIST if code == Kind.LIST.wire else Kind.SET, value=value) if value else None
        return ThriftType(_SIMPLE[code]) if isinstance(code, int) and code in _SIMPLE else None

    def _inner(self, spec: Any) -> ThriftType | None:
        return self._type(*spec) if isinstance(spec, tuple) else self._type(spec, None)

    def _resolve(self, number: int) -> ThriftType | None:
        """The type that was declared after its use."""
        reference = self._references[number]
        if number in self._resolving:
            raise _no_type(reference)  # a typedef of itself
        self._resolving.append(number)
        found: Any = reference.file.module
        for part in reference.name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            type_ = self._inner((getattr(found, "_ttype", 0), found))
        else:
            type_ = None if found is None else self._inner(found)
        if type_ is None:
            raise _no_type(reference)
        self._resolving.pop()
        return type_

    # Publish: what the file declares, under its names.

    def publish(self, file: SourceFile) -> None:
        """Make the :class:`Idl` of *file*; those of its includes are made already."""
        services = {cls.__name__: self._service(cls, file) for cls in _meta(file.module).get("services", ())}
        names = {}
        for name, value in vars(file.module).items():
            if not name.startswith("__") and name not in services:
                names[name] = self._published(name, value, file)
        self.idls[file.path] = Idl(file.path, services, names)

    def _published(self, name: str, value: Any, file: SourceFile) -> Any:
        if isinstance(value, ModuleType):
            return self.idls[os.path.realpath(vars(value)["__thrift_file__"])]
        if isinstance(value, type):
            return self._enums.get(value, value)
        if name in file.scan.constants:
            return self._constant(name, value, file)
        type_ = self._inner(value)
        if type_ is None:
            raise ConfigError(f"{file.path}: {name!r} stands for an unknown type", phase="load", hint=_DECLARE)
        if type_.struct is not None:
            return type_.struct.cls
        return type_ if type_.enum is None else type_.enum

    def _constant(self, name: str, value: Any, file: SourceFile) -> Any:
        if not isinstance(value, tuple):
            return value
        type_ = self._inner(value[1])  # thriftpy2's mark for a type that is declared later
        return value if type_ is None else converted(type_, value[2], file.path, name)

    def _service(self, cls: Any, file: SourceFile) -> ServiceInfo:
        annotations = cls.__thrift_function_annotations__
        parent = self._services.get(cls.__mro__[1])
        methods = dict(parent.methods) if parent is not None else {}
        for name in _own_methods(cls):
            methods[name] = self._method(cls, name, annotations.get(name, {}), file)
        namespaces = dict(file.module.__thrift_namespaces__)
        service = ServiceInfo(
            cls.__name__,
            self._codec,
            MappingProxyType(methods),
            package=_package(namespaces),
            extra=MappingProxyType({"namespaces": namespaces, "annotations": dict(cls.__thrift_annotations__)}),
        )
        self._services[cls] = service
        return service

    def _method(self, service: Any, name: str, annotations: Mapping[str, str | None], file: SourceFile) -> MethodInfo:
        arguments, result = (self._structs[cls] for cls in _wrappers(service, name))
        kind = _kind(f"{service.__name__}.{name}", result, annotations, file)
        if kind.streams:
            _check_stream(f"{service.__name__}.{name}", arguments, result, file)
        return MethodInfo(
            name,
            service.__name__,
            kind,
            tuple(item.name for item in arguments.fields),
            Message(arguments),
            Message(result),
            idempotent={"true": True, "false": False}.get(annotations.get("idempotent") or ""),
            extra=MappingProxyType({"annotations": dict(annotations)}),
        )


def _meta(module: ModuleType) -> Mapping[str, list[Any]]:
    meta: Mapping[str, list[Any]] = vars(module).get("__thrift_meta__", {})
    return meta


def _own_methods(service: Any) -> list[str]:
    return [name for name in service.thrift_services if f"{name}_args" in vars(service)]


def _wrappers(service: Any, name: str) -> tuple[Any, Any]:
    return vars(service)[f"{name}_args"], vars(service)[f"{name}_result"]


_DECLARE = "Declare that type, or include the file that does"


def _no_type(reference: Reference) -> ConfigError:
    place = f"{reference.file.path}:{reference.line}"
    return ConfigError(f"{place}: there is no type {reference.name!r}", phase="load", hint=_DECLARE)


def _bad_field(file: SourceFile, cls: Any, struct: Struct, number: int, name: str) -> ConfigError:
    line = cls.__thrift_field_linenos__.get(name) or cls.__thrift_lineno__ or 0
    if not -(1 << 15) <= number < 1 << 15:
        cause, hint = f"has the id {number}", "A field's id is a 16-bit integer"
    else:
        cause, hint = "has an unknown type", _DECLARE
    return ConfigError(f"{file.path}:{line}: the field {name!r} of {struct.name} {cause}", phase="load", hint=hint)


def _spec(item: Field) -> tuple[Any, ...]:
    """What thriftpy2's reader and writer want to know of a field."""
    code, spec = _inner_spec(item.type)
    return (code, item.name, item.required) if spec is None else (code, item.name, spec, item.required)


def _inner_spec(type_: ThriftType) -> tuple[int, Any]:
    code = _CODES[type_.kind]
    if type_.struct is not None:
        return code, type_.struct.blank
    if type_.kind is Kind.MAP:
        return code, (_packed(type_.key_type), _packed(type_.element))
    return code, None if type_.value is None else _packed(type_.element)


def _packed(type_: ThriftType) -> Any:
    code, spec = _inner_spec(type_)
    return code if spec is None else (code, spec)


def _factory(struct: Struct) -> Any:
    """What the reader calls for an object to fill: without ``__init__``, unless a default must not be shared."""
    if all(is_shareable(item.default) for item in struct.fields):
        return partial(struct.cls.__new__, struct.cls)
    return struct.cls


def _package(namespaces: Mapping[str, str]) -> str:
    """Kitex's package of a service: the last element of its Go namespace (confirmed on the wire, gRPC's ``:path``)."""
    for scope in ("go", "*", "py"):
        if scope in namespaces:
            return namespaces[scope].rpartition(".")[2]
    return ""


def _kind(where: str, result: Struct, annotations: Mapping[str, str | None], file: SourceFile) -> MethodKind:
    mode = annotations.get("streaming.mode")
    if "streaming.mode" not in annotations:
        return MethodKind.ONEWAY if result.cls.oneway else MethodKind.UNARY
    if mode not in _STREAMING:
        raise ConfigError(
            f"{file.path}: {where} has streaming.mode={mode!r}",
            phase="load",
            hint=f"It is one of {', '.join(_STREAMING)}",
        )
    return _STREAMING[mode]


def _check_stream(where: str, arguments: Struct, result: Struct, file: SourceFile) -> None:
    """Stream messages are bare structs, so there must be exactly one struct each way (thriftgo ``streaming.go``)."""
    success = result.by_name.get("success")
    parameters = arguments.fields
    if len(parameters) != 1 or parameters[0].type.struct is None:
        problem = "must have one parameter, a struct"
    elif success is None or success.type.struct is None:
        problem = "must return a struct"
    elif result.cls.oneway:
        problem = "cannot be oneway"
    else:
        return
    raise ConfigError(f"{file.path}: the streaming method {where} {problem}", phase="load", hint="Correct the IDL")
