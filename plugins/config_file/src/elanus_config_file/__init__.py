"""Options of elanus clients and servers from a TOML file."""

from __future__ import annotations

from elanus_config_file.settings import FileSettings
from elanus_config_file.source import FileConfig

__all__ = ["FileConfig", "FileSettings"]
