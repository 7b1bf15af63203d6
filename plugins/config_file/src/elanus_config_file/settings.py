"""The options of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elanus.errors import ConfigError
from elanus.settings import check_seconds

__all__ = ["FileSettings"]


@dataclass(frozen=True, slots=True)
class FileSettings:
    """``config=("file", {"path": "/etc/acme/elanus.toml"})``."""

    #: The file. It must be there, and right, when a client or server is made.
    path: str = "elanus.toml"
    #: Seconds between looks at the file. What has changed is read once it has stood still for as long.
    poll: float = 1.0

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("option 'path' of config 'file' is empty", hint="Give the path of a TOML file")
        check_seconds("config 'file'", "poll", self.poll)

    @property
    def file(self) -> Path:
        """The file to read."""
        return Path(self.path)
