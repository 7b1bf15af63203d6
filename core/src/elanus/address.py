"""Addresses, as they are written everywhere: ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"``."""

from __future__ import annotations

from elanus.errors import ConfigError

__all__ = ["check_address", "split_address"]

_FORMS = 'Write "host:port", "[v6]:port" or "unix:/path"'


def split_address(address: str) -> tuple[str, int]:
    """Host and port of an address of the internet; the host is empty in ``":port"``, which means every interface.

    :raises ConfigError: it has not that form.
    """
    host, colon, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not 0 <= number <= 65535 or bare_v6 or "/" in host:
        raise ConfigError(f"{address!r} is no address", hint=_FORMS)
    return host.removeprefix("[").removesuffix("]"), number


def check_address(address: object) -> None:
    """:raises ConfigError: a client could not connect to *address*, because it has none of the forms."""
    if not isinstance(address, str) or not address:
        raise ConfigError(f"{address!r} is no address", hint=_FORMS)
    if address.startswith("unix:"):
        if len(address) == len("unix:"):
            raise ConfigError(f"{address!r} has no path", hint=_FORMS)
        return
    host, port = split_address(address)
    if not host or port == 0:
        raise ConfigError(f"{address!r} is an address to listen on, not one to call", hint="Name the host and its port")
