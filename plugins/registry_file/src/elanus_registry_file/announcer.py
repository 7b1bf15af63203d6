"""The registry: writes a file for each instance, and touches it as long as the process lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from elanus.net.reconciler import Announcer, ReconcilingRegistry
from elanus.reconcile import Rhythm
from elanus_registry_file.entries import beat, entry_path, read_entry, remove_entry, write_entry

if TYPE_CHECKING:
    from elanus.service import Instance
    from elanus_registry_file.settings import FileSettings

__all__ = ["FileAnnouncer", "file_registry"]


class FileAnnouncer(Announcer):
    """Files in a directory. Every access runs in a thread: a directory may be slow, or on a network."""

    def __init__(self, settings: FileSettings) -> None:
        self._directory = settings.path

    async def announce(self, name: str, instance: Instance) -> None:
        await asyncio.to_thread(write_entry, self._directory, name, instance)

    async def renew(self, name: str, instance: Instance) -> bool:
        return await asyncio.to_thread(beat, self._directory, name, instance.address)

    async def check(self, name: str, instance: Instance) -> bool:
        path = entry_path(self._directory, name, instance.address)
        return await asyncio.to_thread(read_entry, path) == instance

    async def withdraw(self, name: str, instance: Instance) -> None:
        await asyncio.to_thread(remove_entry, self._directory, name, instance.address)

    async def aclose(self) -> None:
        """Nothing is kept open."""


def file_registry(settings: FileSettings) -> ReconcilingRegistry:
    """A registry of files that beats three times per ``ttl``."""
    rhythm = Rhythm(
        renew_every=settings.ttl / 3,
        check_every=settings.ttl / 3,
        ttl=settings.ttl,
        first_retry=min(0.1, settings.ttl / 10),
        longest_retry=settings.ttl / 3,
    )
    return ReconcilingRegistry("file", FileAnnouncer(settings), rhythm)
