"""What the codec keeps for each message of a method, so that a call looks nothing up."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.flat import flat_functions
from elanus_codec_thrift.schema import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from elanus_codec_thrift.schema import Field, Struct, ThriftType

__all__ = ["Message"]


class Message:
    """The arguments or the result of one method: ``method.argument_type`` and ``method.result_type``."""

    __slots__ = (
        "blank",
        "declared",
        "head",
        "method",
        "names",
        "only",
        "only_cls",
        "pick",
        "read",
        "struct",
        "success",
        "wrapper",
        "write",
    )

    def __init__(self, struct: Struct) -> None:
        #: The wrapper: a field for each parameter; or field 0 for the reply and one for each declared exception.
        self.struct = struct
        self.wrapper: Any = struct.cls
        self.blank = struct.blank
        self.method = struct.method
        self.names = tuple(item.name for item in struct.fields)
        self.pick = _picker(self.names)
        #: Field name and class of each declared exception.
        self.declared: tuple[tuple[str, Any], ...] = ()
        field = self._success() if struct.form is Form.RESULT else self._single()
        #: The type of the reply, ``None`` for arguments and for ``void``.
        self.success: ThriftType | None = field.type if field is not None and struct.form is Form.RESULT else None
        #: The struct that nearly always is all there is: parameter or reply; ``None`` where it is no struct.
        self.only: Struct | None = field.type.struct if field is not None else None
        self.only_cls = self.only.cls if self.only is not None else None
        #: The bytes before it in the wrapper.
        self.head = field.header if field is not None else b""
        #: The short ways for a message with nothing else, where there are some; see :mod:`elanus_codec_thrift.flat`.
        self.read, self.write = flat_functions(self.head, self.only) if self.only is not None else (None, None)

    def _single(self) -> Field | None:
        fields = self.struct.fields
        return fields[0] if len(fields) == 1 else None

    def _success(self) -> Field | None:
        self.declared = tuple(
            (item.name, item.type.struct.cls)
            for item in self.struct.fields
            if item.id != 0 and item.type.struct is not None
        )
        return next((item for item in self.struct.fields if item.id == 0), None)

    def path_to(self, struct: Struct, path: Sequence[str]) -> Sequence[str]:
        """*path* inside of *struct*, seen from the message: it begins with the name of the parameter."""
        return (self.names[0], *path) if struct is not self.struct and self.success is None else path

    def __repr__(self) -> str:
        return f"<Message {self.struct.name}>"


def _picker(names: tuple[str, ...]) -> Callable[[Any], Sequence[Any]]:
    """From a wrapper to the values of its fields, in order."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda wrapper: ()
    only = attrgetter(names[0])
    return lambda wrapper: (only(wrapper),)
