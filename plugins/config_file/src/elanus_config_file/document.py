"""What a configuration file says: its text as settings by scope, each with its line. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elanus.contracts.config import Setting
from elanus.errors import ConfigError
from elanus_config_file.lines import Path, key_lines

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Document"]

_NOTHING: Mapping[str, Setting] = MappingProxyType({})
_SIDES = ("client", "server")
_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")


class Document:
    """The settings of one file.

    :param name: the file, as messages call it.
    :raises ConfigError: it is no TOML, or its tables are not those of a configuration; names the line. Options and
        their values are not looked at.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._scopes: dict[str, dict[str, Setting]] = {}
        try:
            text = content.decode()
            data = tomllib.loads(text)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{name}:{line}: the file is not UTF-8", hint="Save it as UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            raise _no_toml(name, error, last_line=text.rstrip().count("\n") + 1) from error
        self._lines = key_lines(text.replace("\r\n", "\n"))
        for side, table in data.items():
            if side not in _SIDES:
                raise ConfigError(
                    f"{self._place((side,))}: unknown table {side!r}",
                    hint='A file has "client" and "server"; a service is [client.services.<name>]',
                )
            self._read_side(side, self._table(table, (side,)))

    def scopes(self) -> Collection[str]:
        """The scopes of which it says something."""
        return self._scopes.keys()

    def settings(self, scope: str) -> Mapping[str, Setting]:
        """What it says of a scope."""
        return self._scopes.get(scope, _NOTHING)

    def _read_side(self, side: str, table: Mapping[str, Any]) -> None:
        if "methods" in table:
            raise ConfigError(
                f"{self._place((side, 'methods'))}: methods belong to a service",
                hint=f"Write [{side}.services.<service>.methods.<method>]",
            )
        self._keep(side, table, (side,), besides="services")
        services = self._table(table.get("services", {}), (side, "services"))
        for service, options in services.items():
            path: Path = (side, "services", service)
            self._keep(f"{side}/{service}", self._table(options, path), path, besides="methods")
            methods = self._table(options.get("methods", {}), (*path, "methods"))
            for method, own in methods.items():
                where: Path = (*path, "methods", method)
                self._keep(f"{side}/{service}/{method}", self._table(own, where), where)

    def _table(self, value: Any, path: Path) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self._place(path)}: {_dotted(path)} is no table", hint=f"Write [{_dotted(path)}]")
        return value

    def _keep(self, scope: str, table: Mapping[str, Any], path: Path, *, besides: str = "") -> None:
        settings = {name: self._setting(value, (*path, name)) for name, value in table.items() if name != besides}
        if settings:
            self._scopes[scope] = settings

    def _setting(self, value: Any, path: Path) -> Setting:
        inner = {key: self._place((*path, key)) for key in value} if isinstance(value, Mapping) else {}
        return Setting(value, self._place(path), inner)

    def _place(self, path: Path) -> str:
        return f"{self._name}:{self._lines.get(path, 1)}"


def _no_toml(name: str, error: tomllib.TOMLDecodeError, last_line: int) -> ConfigError:
    found = _PLACE.search(str(error))
    line = int(found[1]) if found else last_line  # without a place it is the end that is missing
    text = _PLACE.sub("", str(error)).removesuffix(" (at end of document)")
    return ConfigError(f"{name}:{line}: no TOML: {text}", hint="Mend the line, or what stands before it")


def _dotted(path: Path) -> str:
    return ".".join(str(step) if re.fullmatch(r"[A-Za-z0-9_-]+", str(step)) else f'"{step}"' for step in path)
