"""Pickled objects find their class again, in this process or in another that has the IDL.

The classes of a loaded IDL are in no importable module, so pickle cannot name them. An object is pickled as its fields
and a :class:`TypeKey`. Whoever unpickles it gets, in this order: the very class, in the process that pickled it; the
class that was loaded last from a file with the same content, wherever it lay; the one that was loaded last from the
same path; the class of that path, loaded now.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from elanus.contracts.codec import Idl

__all__ = ["TypeKey", "rebuild", "rebuild_enum", "remember"]


@dataclass(frozen=True, slots=True)
class TypeKey:
    """Where a type of an IDL comes from."""

    #: The file that declares it, absolute.
    path: str
    include_directories: tuple[str, ...]
    #: SHA-256 of the file.
    digest: str
    name: str
    #: A word that no other load of any process has.
    load: str


# Weak: these must not keep an IDL alive that nobody uses any more.
_by_load: WeakValueDictionary[tuple[str, str, str], Any] = WeakValueDictionary()
_by_content: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
_by_path: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
# Files that were loaded because an object of theirs was unpickled: nobody else holds their classes.
_loaded_here: dict[str, Idl] = {}


def remember(key: TypeKey, cls: Any) -> None:
    """Note that *cls* is the class of *key*; a later one for the same file takes its place."""
    _by_load[key.load, key.path, key.name] = cls
    _by_content[key.digest, key.name] = cls
    _by_path[key.path, key.name] = cls


def rebuild(key: TypeKey, fields: dict[str, Any]) -> Any:
    """The object that was pickled. Fields that the class no longer has are left out."""
    cls = _find(key)
    value = cls.__new__(cls)
    value.__init__()
    for name, item in fields.items():
        if name in cls.__match_args__:
            setattr(value, name, item)
    return value


def rebuild_enum(key: TypeKey, number: int) -> Any:
    """The member of an enum that was pickled, or the plain number when the enum has it no longer."""
    cls = _find(key)
    return cls(number) if number in cls._value2member_map_ else number


def _find(key: TypeKey) -> Any:
    cls = (
        _by_load.get((key.load, key.path, key.name))
        or _by_content.get((key.digest, key.name))
        or _by_path.get((key.path, key.name))
    )
    if cls is not None:
        return cls
    from elanus_codec_thrift.codec import ThriftCodec

    _loaded_here[key.path] = ThriftCodec().load(key.path, key.include_directories)
    try:
        return _by_path[key.path, key.name]
    except KeyError:
        raise pickle.UnpicklingError(f"{key.path} declares no {key.name!r} any more") from None
