"""What this plugin offers: a configuration source called ``file``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.config import Config


@hookimpl
def elanus_configs() -> Sequence[Provider[Config]]:
    return [Provider("file", _build)]


def _build(options: Mapping[str, object]) -> Config:
    from elanus.settings import read_settings
    from elanus_config_file.settings import FileSettings
    from elanus_config_file.source import FileConfig

    return FileConfig(read_settings(FileSettings, "config 'file'", options))
