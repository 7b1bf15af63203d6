"""The resolver: looks at the directory, and again, without hot polling."""

from __future__ import annotations

import asyncio
import time
from time import monotonic
from typing import TYPE_CHECKING

from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError
from elanus_registry_file.entries import list_entries, read_entry
from elanus_registry_file.liveness import Liveness

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from elanus.service import Instance
    from elanus_registry_file.settings import FileSettings

__all__ = ["FileResolver"]


class FileResolver(Resolver):
    """Instances whose files are there and alive. A look costs one ``stat`` a file; what changed is read."""

    name = "file"

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        """Complete sets: what is there now, then a new one after each change.

        A directory that is not there holds nothing: it may be made later. One that cannot be read for a while changes
        nothing.

        :raises DiscoveryError: it cannot be read at the first look.
        """
        folder = _Folder(self._settings, name)
        last: Sequence[Instance] | None = None
        while True:
            try:
                found = await asyncio.to_thread(folder.look)
            except OSError as error:
                if last is None:
                    raise _unreadable(self._settings, name, error) from error
            else:
                if found != last:
                    last = found
                    yield found
            await asyncio.sleep(self._settings.poll)


def _unreadable(settings: FileSettings, name: str, error: OSError) -> DiscoveryError:
    return DiscoveryError(
        f"{name!r} cannot be looked up in {settings.path}: {error.strerror}",
        hint="Check the option 'directory', and who may read there",
    )


class _Folder:
    """The files of one name, and what they held when they were last read."""

    def __init__(self, settings: FileSettings, name: str) -> None:
        self._directory = settings.path
        self._name = name
        self._liveness = Liveness(settings.ttl)
        self._contents: dict[Path, tuple[int, Instance | None]] = {}

    def look(self) -> list[Instance]:
        """The instances that live.

        :raises OSError: the directory cannot be read just now.
        """
        found = list_entries(self._directory, self._name)
        alive = self._liveness.alive(found, monotonic(), time.time_ns())
        self._contents = {path: self._content(path, found[path]) for path in sorted(alive)}
        return [instance for _, instance in self._contents.values() if instance is not None]

    def _content(self, path: Path, beat_ns: int) -> tuple[int, Instance | None]:
        """What a file holds, read again when it was touched, which writing it anew does too."""
        known = self._contents.get(path)
        if known is not None and known[0] == beat_ns:
            return known
        return beat_ns, read_entry(path)
