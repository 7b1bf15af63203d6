"""The options of the transports, as users write them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError

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


# Framed and buffered Thrift have no header: nothing to put a checksum or a flag into.
_KNOWN = {"ttheader": ("framed", "crc32c", "mux"), "framed": (), "buffered": ()}


def read_options(name: str, values: Mapping[str, object]) -> TTHeaderOptions:
    """Check what the user gave for transport *name*.

    :raises ConfigError: an unknown option, or a value of the wrong type.
    """
    known = _KNOWN[name]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"transport {name!r} has no option {key!r}", hint=_hint(key, known))
        if not isinstance(value, bool) and not (key == "mux" and value is None):
            raise ConfigError(f"option {key!r} of transport {name!r} is {value!r}", hint="Write True or False")
    given: dict[str, Any] = dict(values)
    if name != "ttheader":
        given.update(framed=name == "framed", mux=False)
    return TTHeaderOptions(**given)


def _hint(key: str, known: tuple[str, ...]) -> str:
    if not known:
        return f"It has none; {', '.join(repr(item.name) for item in fields(TTHeaderOptions))} are those of 'ttheader'"
    near = difflib.get_close_matches(key, known, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}"
