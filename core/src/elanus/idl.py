"""Loading IDL files: the codec that claims a file's suffix loads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from elanus.errors import ConfigError
from elanus.plugins import installed_plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.codec import Idl

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    include_directories: Sequence[str | os.PathLike[str]] = (),
    *,
    codec: Any = None,
) -> Idl:
    """Load an IDL file. ::

        echo = elanus.load("echo.thrift")
        echo.EchoService, echo.Request

    :param path: the file; each call reads it anew.
    :param include_directories: where included files are looked for, besides the folder of the file that includes them.
    :param codec: the codec to load it with, by name or as an object; by default the one that claims the suffix.
    :returns: services, types, constants and included files as attributes.
    :raises ConfigError: the file is missing or cannot be parsed; names file, line and cause.
    :raises PluginError: no installed codec loads such files.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1]
    if codec is None and not suffix:
        raise ConfigError(f"{path!r} has no suffix", hint='Name the file with its suffix, or pass codec="..."')
    plugins = installed_plugins()
    chosen = plugins.codec_for(suffix) if codec is None else plugins.select("codec", codec)
    loaded: Idl = chosen.load(path, include_directories)
    return loaded
