"""The contract of a codec: objects to payload bytes and back, and the loading of IDL files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from elanus.limits import Limits
    from elanus.service import MethodInfo, ServiceInfo

__all__ = ["Codec", "Idl", "Payload"]

#: Read-only bytes. A transport never recycles a buffer that it handed out.
Payload: TypeAlias = bytes | memoryview


class Idl:
    """A loaded IDL file: its services and types are attributes, under their IDL names.

    ``echo.EchoService`` is a :class:`elanus.ServiceInfo`, ``echo.Request`` a class, an included file is an attribute
    of the same kind. What is not there raises ``AttributeError`` naming what is.

    :param path: the file it came from.
    :param services: the services that the file itself declares.
    :param names: everything else that it declares or includes.
    """

    def __init__(self, path: str, services: Mapping[str, ServiceInfo], names: Mapping[str, Any]) -> None:
        self.__path__ = path
        self.__services__ = dict(services)
        self.__dict__.update(names)
        self.__dict__.update(services)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> Any:
            known = ", ".join(sorted(key for key in self.__dict__ if not key.startswith("__")))
            raise AttributeError(f"{self.__dict__.get('__path__', 'the IDL')} declares no {name!r}; it has: {known}")

    def __repr__(self) -> str:
        return f"<Idl {self.__path__} services={list(self.__services__)}>"


class Codec(ABC):
    """Encodes and decodes the messages of services that it loaded.

    A codec and a transport meet at the *struct bytes*: a codec knows no envelope, method name, sequence id or
    application exception, and a transport knows no struct. A codec holds no state of a call, opens nothing, and may be
    used from any thread. Messages over the limits, and bytes that make no sense, raise :exc:`elanus.CodecError`,
    which says in which field.

    Of ``arguments``: one value per IDL parameter, in their order. A reply of ``None`` is an absent one.
    """

    #: What the bytes are, for a transport to announce: ``"thrift-binary"`` or ``"protobuf"``.
    wire: str
    #: The IDL files that :meth:`load` takes, for instance ``(".thrift",)``.
    suffixes: tuple[str, ...]

    @abstractmethod
    def load(self, path: str | PathLike[str], include_directories: Sequence[str | PathLike[str]] = ()) -> Idl:
        """Read an IDL file and everything that it includes.

        :raises ConfigError: there is no such file, or it cannot be parsed; names file, line and cause.
        """

    @abstractmethod
    def with_limits(self, limits: Limits) -> Codec:
        """A codec as this one whose decoding keeps *limits*: depth, container items, string bytes."""

    @abstractmethod
    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        """The payload of a request."""

    @abstractmethod
    def decode_arguments(self, method: MethodInfo, payload: Payload) -> Sequence[Any]:
        """The arguments of a request; what the payload lacks is ``None`` or the IDL's default."""

    @abstractmethod
    def encode_result(self, method: MethodInfo, reply: Any) -> bytes:
        """The payload of a successful reply."""

    @abstractmethod
    def encode_exception(self, method: MethodInfo, error: BaseException) -> bytes | None:
        """The payload of a reply that carries a declared exception, or ``None`` when *error* is not a declared one."""

    @abstractmethod
    def decode_result(self, method: MethodInfo, payload: Payload) -> Any:
        """The reply. Raises the declared exception that the payload carries, if it does."""

    @abstractmethod
    def encode_item(self, method: MethodInfo, item: Any, *, reply: bool) -> bytes:
        """One message of a stream, from the client or (*reply*) from the server: a bare struct without wrapper."""

    @abstractmethod
    def decode_item(self, method: MethodInfo, payload: Payload, *, reply: bool) -> Any:
        """The reverse of :meth:`encode_item`."""

    @abstractmethod
    def from_json(self, type_: Any, text: str | bytes) -> Any:
        """Build a value of *type_* from JSON; field names as in the IDL, binary as base64, enums by name or number.

        *type_* is a type of the loaded IDL, or a ``method.argument_type``: then the object's keys are parameter names,
        and the result is the sequence of arguments.

        :raises CodecError: names the path of the value that does not fit.
        """

    @abstractmethod
    def to_json(self, value: Any) -> str:
        """The reverse of :meth:`from_json`, for any value of the IDL's types, exceptions too; ``null`` for ``None``."""
