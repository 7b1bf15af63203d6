"""Options of a plugin's part: a frozen dataclass, filled from what the user wrote and checked by its annotations.

What annotations cannot say, and the options of many parts need, is here as well: where a backend answers, seconds, PEM
files.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BackendAddress", "backend_address", "check_pem_files", "check_seconds", "read_settings", "wants_tls"]

_T = TypeVar("_T")

_ADDRESS = re.compile(r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:/\s]+)(?::(?P<port>\d{1,5}))?/?")


class BackendAddress(NamedTuple):
    """Where a backend answers."""

    #: ``"http"``, ``"https"``, or empty where none was written.
    scheme: str
    #: An IPv6 host keeps its brackets.
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def backend_address(owner: str, text: str, default_port: int) -> BackendAddress:
    """*text* taken apart: ``"host"``, ``"host:port"``, ``"http://host:port"`` or ``"https://host:port"``.

    :param owner: the backend, for the message: ``"etcd"``.
    :raises ConfigError: it is nothing of the kind.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or int(found["port"] or 0) > 65535:
        hint = 'Give "host:port", "http://host:port" or "https://host:port"'
        raise ConfigError(f"{text!r} is no address of {owner}", hint=hint)
    return BackendAddress(found["scheme"] or "", found["host"], int(found["port"] or default_port))


def check_seconds(owner: str, name: str, seconds: float, *, above: float = 0.0) -> None:
    """Refuse what is no finite number of seconds greater than *above*.

    :raises ConfigError: names *owner*, the option *name*, and the value.
    """
    if not above < seconds < inf:
        raise ConfigError(f"option {name!r} of {owner} is {seconds}", hint=f"Give seconds above {above:g}")


def check_pem_files(owner: str, ca_file: str, cert_file: str, key_file: str) -> None:
    """Refuse a certificate without its key, and files that are not there; an empty path means none.

    :raises ConfigError: names *owner* and the option, ``ca_file``, ``cert_file`` or ``key_file``.
    """
    if bool(cert_file) != bool(key_file):
        raise ConfigError(f"options 'cert_file' and 'key_file' of {owner} belong together", hint="Give both or none")
    for name, path in (("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)):
        if path and not Path(path).is_file():
            raise ConfigError(f"option {name!r} of {owner}: there is no file {path!r}", hint="Give a PEM file")


def wants_tls(owner: str, tls: bool | None, addresses: Sequence[BackendAddress], *, files: bool) -> bool:
    """Whether to speak TLS: as *tls* says; where it is ``None``, when an address is ``https://`` or *files* are given.

    :param files: whether an authority or a certificate was given.
    :raises ConfigError: some of it wants TLS and some of it wants none.
    """
    schemes = {address.scheme for address in addresses}
    secure = tls if tls is not None else files or "https" in schemes
    if ("http" if secure else "https") in schemes or (files and not secure):
        hint = "Look at 'tls', at the certificates, and at http:// and https:// in the addresses"
        raise ConfigError(f"the options of {owner} want both TLS and no TLS", hint=hint)
    return secure


def read_settings(cls: type[_T], owner: str, values: Mapping[str, object]) -> _T:
    """An object of the dataclass *cls* from the options that a user gave to a provider.

    Fields may be annotated ``bool``, ``int``, ``float``, ``str``, ``tuple[str, ...]``, ``Mapping[str, Any]`` and unions
    of these with ``None``. A number for a ``float`` may be whole; for a tuple of strings a list, or one bare string,
    will do.
    What else must hold is for the ``__post_init__`` of *cls* to say.

    :param owner: for the message: ``"registry 'etcd'"``.
    :raises ConfigError: an unknown option (names the nearest known one), or a value of the wrong type.
    """
    known = {item.name for item in fields(cls)}  # type: ignore[arg-type]  # any dataclass
    hints = typing.get_type_hints(cls)
    filled = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{owner} has no option {name!r}", hint=_nearest(name, known))
        filled[name] = _fitted(owner, name, value, hints[name])
    return cls(**filled)


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(sorted(known))}" if known else "It has none"


def _fitted(owner: str, name: str, value: object, hint: Any) -> object:
    for wanted in _alternatives(hint):
        fitted = _as(value, wanted)
        if fitted is not _MISFIT:
            return fitted
    words = " or ".join(_WORDS[wanted] for wanted in _alternatives(hint))
    raise ConfigError(f"option {name!r} of {owner} is {value!r}", hint=f"Give {words}")


def _alternatives(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]


_MISFIT = object()
_STRINGS = tuple[str, ...]
_TABLE = Mapping[str, Any]
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    _STRINGS: "a list of texts",
    _TABLE: "a table",
    types.NoneType: "nothing at all",
}


def _as(value: Any, wanted: Any) -> object:
    if wanted == _STRINGS:
        return _as_strings(value)
    if wanted == _TABLE:
        return value if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) else _MISFIT
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is int and isinstance(value, bool):
        return _MISFIT
    return value if isinstance(value, wanted) else _MISFIT


def _as_strings(value: Any) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return _MISFIT
