"""Entries: one small JSON file for each announced instance, touched as its heartbeat. Reading, writing, listing.

A file is ``<directory>/<service>/<address>.json``, both names percent-encoded; its content is what Kitex's etcd
registry keeps as a value (kitex-contrib/registry-etcd ``etcd/etcd_registry.go``), so that people know it.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from elanus.errors import DiscoveryError
from elanus.service import DEFAULT_WEIGHT, Instance

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["beat", "entry_path", "list_entries", "read_entry", "remove_entry", "write_entry"]

#: An entry is a few hundred bytes; what is larger is not one.
_LARGEST_BYTES = 64 * 1024
_SUFFIX = ".json"


def entry_path(directory: Path, name: str, address: str) -> Path:
    """The file of an instance."""
    return directory / _encoded(name) / f"{_encoded(address)}{_SUFFIX}"


def _encoded(text: str) -> str:
    # A leading dot would hide the file, and ".." would leave the directory.
    return quote(text, safe="").replace(".", "%2E", 1) if text.startswith(".") else quote(text, safe="")


def write_entry(directory: Path, name: str, instance: Instance) -> None:
    """Write the file of *instance*, whole or not at all: a reader never sees half of it.

    :raises DiscoveryError: the directory belongs to somebody else.
    :raises OSError: it cannot be written.
    """
    _make_private(directory)
    path = entry_path(directory, name, instance.address)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    value = {"network": _network(instance), "address": instance.address, "weight": instance.weight}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump({**value, "tags": dict(instance.tags) or None}, file)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _network(instance: Instance) -> str:
    return "unix" if instance.address.startswith("unix:") else "tcp"


def _make_private(directory: Path) -> None:
    """Whoever can write here can send our callers anywhere."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = os.stat(directory)
    if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
        raise DiscoveryError(
            f"{directory} belongs to another user, or everybody may write in it",
            phase="register",
            retryable=False,
            hint="Name a directory of your own with the option 'directory'",
        )


def beat(directory: Path, name: str, address: str) -> bool:
    """Touch the file; ``False`` when it is gone."""
    try:
        os.utime(entry_path(directory, name, address))
    except FileNotFoundError:
        return False
    return True


def read_entry(path: Path) -> Instance | None:
    """The instance in a file; ``None`` when it is gone, or is no entry."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_BYTES + 1)
        value = json.loads(text)
        tags = value["tags"] or {}
        if not all(isinstance(item, str) for pair in tags.items() for item in pair):
            return None
        return Instance(str(value["address"]), int(value["weight"]) or DEFAULT_WEIGHT, tags)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remove_entry(directory: Path, name: str, address: str) -> None:
    """Remove the file, if it is there, and its folder when that was the last one."""
    path = entry_path(directory, name, address)
    with suppress(FileNotFoundError):
        os.unlink(path)
    with suppress(OSError):
        os.rmdir(path.parent)


def list_entries(directory: Path, name: str) -> dict[Path, int]:
    """The files of one name, each with the instant of its last heartbeat: nanoseconds of the wall clock."""
    found: dict[Path, int] = {}
    folder = directory / _encoded(name)
    try:
        with os.scandir(folder) as files:
            for file in files:
                if file.name.endswith(_SUFFIX):
                    with suppress(FileNotFoundError):
                        found[folder / file.name] = file.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    return found
