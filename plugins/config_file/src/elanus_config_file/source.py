"""The source: reads its file when it is made, and again when it has changed."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from elanus.contracts.config import Config, Setting
from elanus.errors import ConfigError
from elanus_config_file.document import Document

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping
    from pathlib import Path

    from elanus_config_file.settings import FileSettings

__all__ = ["FileConfig"]


#: A timer may be early by the tick of its clock.
_ALMOST = 0.99


class _Version(NamedTuple):
    """What tells one state of a file from the next. A file that is put in the place of another has another inode."""

    inode: int
    modified_ns: int
    size_bytes: int


class FileConfig(Config):
    """Options in a TOML file. Watching it costs one ``stat`` per look, in a thread.

    :raises ConfigError: the file cannot be read, or is no configuration; names the line.
    """

    name = "file"

    def __init__(self, settings: FileSettings) -> None:
        self._path = settings.file
        self._shown = settings.path
        self._poll = settings.poll
        #: What was read last.
        self._version: _Version | None
        self._version, self._content = _read(self._path, self._shown)
        self._document = Document(self._shown, self._content)
        self._error: ConfigError | None = None
        #: What was seen that was not read yet, and since when: it may still be being written.
        self._unsettled: tuple[_Version, float] | None = None
        #: Goes up with each change.
        self._changes = 0

    def scopes(self) -> Collection[str]:
        return self._document.scopes()

    def settings(self, scope: str) -> Mapping[str, Setting]:
        return self._document.settings(scope)

    def changes(self) -> AsyncGenerator[ConfigError | None]:
        return self._follow(self._changes)

    async def _follow(self, seen: int) -> AsyncGenerator[ConfigError | None]:
        while True:
            await asyncio.sleep(self._poll)
            await self._look()
            if self._changes != seen:
                seen = self._changes
                yield self._error

    async def _look(self) -> None:
        """Read the file if it has changed, and has stood still for as long as from look to look: what writes it in
        place may be in the middle of it, and half a file can be right TOML. Others may look, too.
        """
        try:
            version = await asyncio.to_thread(_stat, self._path)
            if version == self._version:
                self._unsettled = None
                return
            now = asyncio.get_running_loop().time()
            if self._unsettled is None or version != self._unsettled[0]:
                self._unsettled = (version, now)
            if now - self._unsettled[1] < self._poll * _ALMOST:
                return
            found, content = await asyncio.to_thread(_read, self._path, self._shown)
        except OSError as error:
            self._unreadable(_cannot_read(self._shown, error))
            return
        except ConfigError as error:
            self._unreadable(error)
            return
        if found == version:
            self._take(found, content)

    def _unreadable(self, error: ConfigError) -> None:
        self._version = None  # when it is back it is to be read, whatever it is
        if self._error is None or self._error.message != error.message:
            self._error = error
            self._changes += 1

    def _take(self, version: _Version, content: bytes) -> None:
        self._version, self._unsettled = version, None
        if content == self._content and self._error is None:
            return  # touched, or written again as it was
        self._content = content
        try:
            self._document = Document(self._shown, content)
            self._error = None
        except ConfigError as error:
            self._error = error
        self._changes += 1


def _stat(path: Path) -> _Version:
    found = os.stat(path)
    return _Version(found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path, shown: str) -> tuple[_Version, bytes]:
    """The content of a file, with the version that it is."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            return _Version(found.st_ino, found.st_mtime_ns, found.st_size), file.read()
    except OSError as error:
        raise _cannot_read(shown, error) from error


def _cannot_read(shown: str, error: OSError) -> ConfigError:
    return ConfigError(f"{shown} cannot be read: {error.strerror}", hint="Check the path, and who may read there")
