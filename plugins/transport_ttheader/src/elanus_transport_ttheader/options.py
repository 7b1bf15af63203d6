"""The options of the transports, as users write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elanus.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TTHeaderOptions", "read_options"]


@dataclass(frozen=True, slots=True)
class TTHeaderOptions:
    """``Client(transport=("ttheader", {"crc32c": True}))``; on a server only ``crc32c`` has a meaning."""

    #: Send a frame length between the TTHeader and the message, as Kitex clients do unless told otherwise.
    framed: bool = True
    #: Send the checksum of the payload. What arrives with one is verified in any case.
    crc32c: bool = False
    #: Calls at the same time on one connection. ``None``: when the server shows that it answers out of order, as
    #: elanus servers do. ``True``: at once, for Kitex servers with the mux option. ``False``: never.
    mux: bool | None = None


@dataclass(frozen=True, slots=True)
class _NoOptions:
    """Framed and buffered Thrift have no header: nothing to put a checksum or a flag into."""


def read_options(name: str, values: Mapping[str, object]) -> TTHeaderOptions:
    """Check what the user gave for transport *name*.

    :raises ConfigError: an unknown option, or a value of the wrong type.
    """
    owner = f"transport {name!r}"
    if name == "ttheader":
        return read_settings(TTHeaderOptions, owner, values)
    read_settings(_NoOptions, owner, values)
    return TTHeaderOptions(framed=name == "framed", mux=False)
