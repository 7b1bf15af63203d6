"""The options of the registry and of the resolver; both must be given the same."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from elanus.errors import ConfigError

__all__ = ["FileSettings", "default_directory"]


@dataclass(frozen=True, slots=True)
class FileSettings:
    """``registry=("file", {"directory": "/run/fleet"})`` and the same for ``resolver=``."""

    #: Where the files are; made when it is missing. Empty: a folder of this user's own, see :func:`default_directory`.
    directory: str = ""
    #: Seconds without a heartbeat after which an entry counts as gone; a heartbeat comes every third of it.
    ttl: float = 6.0
    #: Seconds between looks at the directory.
    poll: float = 0.2

    def __post_init__(self) -> None:
        if self.ttl <= 0 or self.poll <= 0:
            raise ConfigError(f"ttl is {self.ttl!r}, poll is {self.poll!r}", hint="Give seconds above 0")
        if self.poll > self.ttl / 2:
            raise ConfigError(
                f"poll ({self.poll:g} s) is too long for a ttl of {self.ttl:g} s",
                hint="Look twice per ttl",
            )

    @property
    def path(self) -> Path:
        """The directory to use."""
        return Path(self.directory) if self.directory else default_directory()


def default_directory() -> Path:
    """``$XDG_RUNTIME_DIR/elanus``, which is this user's alone, or a folder named by user id among temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "elanus"
    return Path(tempfile.gettempdir()) / f"elanus-{os.getuid()}"
