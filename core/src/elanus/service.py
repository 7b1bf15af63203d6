"""What a service is: its methods, and the instances that offer it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.contracts.codec import Codec

__all__ = ["DEFAULT_WEIGHT", "Instance", "MethodInfo", "MethodKind", "ServiceInfo"]

#: The weight of an instance that names none. Source: Kitex ``pkg/discovery`` (``DefaultWeight``).
DEFAULT_WEIGHT = 10

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class MethodKind(enum.Enum):
    """How many messages travel, and which way."""

    UNARY = "unary"
    ONEWAY = "oneway"
    CLIENT_STREAM = "client-stream"
    SERVER_STREAM = "server-stream"
    BIDI_STREAM = "bidi-stream"

    @property
    def streams(self) -> bool:
        """Whether calls of this kind are streams."""
        return self not in (MethodKind.UNARY, MethodKind.ONEWAY)

    @property
    def client_streams(self) -> bool:
        """Whether the client may send more than one message."""
        return self in (MethodKind.CLIENT_STREAM, MethodKind.BIDI_STREAM)

    @property
    def server_streams(self) -> bool:
        """Whether the server may send more than one message."""
        return self in (MethodKind.SERVER_STREAM, MethodKind.BIDI_STREAM)


@dataclass(frozen=True, slots=True, eq=False)
class MethodInfo:
    """One method of a service, as its IDL declares it.

    ``argument_type``, ``result_type`` and ``extra`` belong to the codec that loaded the IDL; core hands them back and
    never looks inside. Compared by identity, since two loads of one IDL are two methods.
    """

    name: str
    #: The IDL name of the service that declares it.
    service: str
    kind: MethodKind = MethodKind.UNARY
    #: Parameter names in their order, for keyword arguments.
    parameters: tuple[str, ...] = ()
    argument_type: Any = None
    result_type: Any = None
    #: Whether a request may be sent twice without harm; ``None`` when the IDL does not say.
    idempotent: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)

    def __str__(self) -> str:
        return f"{self.service}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class ServiceInfo:
    """A service, as its IDL declares it, and the codec for its messages.

    Given to :class:`elanus.Client` and :meth:`elanus.Server.add_service`.
    """

    name: str
    codec: Codec
    methods: Mapping[str, MethodInfo]
    #: The IDL's package or namespace, empty when it has none.
    package: str = ""
    version: str = ""
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Instance:
    """One process that offers a service.

    :param address: ``"host:port"``, ``"[v6]:port"`` or ``"unix:/path"``.
    :param weight: its share of the calls; at 0 or below it gets none.
    :param tags: whatever its registry knows of it, string to string.
    """

    address: str
    weight: int = DEFAULT_WEIGHT
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def __hash__(self) -> int:
        return hash(self.address)  # tags are a mapping, and two instances rarely share an address

    def __str__(self) -> str:
        return self.address

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled.
        return Instance, (self.address, self.weight, dict(self.tags))
