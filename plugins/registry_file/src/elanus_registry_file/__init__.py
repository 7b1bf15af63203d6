"""Discovery in a directory: the processes of one machine find each other with no server."""

from __future__ import annotations

from elanus_registry_file.announcer import FileAnnouncer, file_registry
from elanus_registry_file.resolver import FileResolver
from elanus_registry_file.settings import FileSettings

__all__ = ["FileAnnouncer", "FileResolver", "FileSettings", "file_registry"]
