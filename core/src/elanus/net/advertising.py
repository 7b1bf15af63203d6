"""Which address of this machine others can reach, when a server listens on every interface."""

from __future__ import annotations

import socket

from elanus.address import split_address
from elanus.errors import ConfigError

__all__ = ["advertised"]

_EVERYWHERE = ("", "0.0.0.0", "::")
#: Addresses set aside for documentation (RFC 5737, RFC 3849): a route towards them is looked up, nothing is sent.
_SOMEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def advertised(bound: str) -> str:
    """The address to register for a server that is bound to *bound*.

    ``0.0.0.0`` and ``::`` tell a caller nothing, so they become this machine's own address, IPv4 rather than IPv6, as
    Kitex does (``pkg/utils/netutil``); any other address is returned as it is.

    :raises ConfigError: this machine has no address that others could reach.
    """
    if bound.startswith("unix:"):
        return bound
    host, port = split_address(bound)
    if host not in _EVERYWHERE:
        return bound
    for family, somewhere in _SOMEWHERE:
        own = _own_address(family, somewhere)
        if own:
            return f"[{own}]:{port}" if family is socket.AF_INET6 else f"{own}:{port}"
    raise ConfigError(
        f"the server is bound to {bound}, and this machine has no address of its own",
        hint="Say which address callers are to use: Server(advertise='host:port')",
    )


def _own_address(family: socket.AddressFamily, somewhere: str) -> str:
    """The source address of the route to *somewhere*; connecting a datagram socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            own: str = probe.getsockname()[0]
    except OSError:
        return ""
    return "" if own in _EVERYWHERE or own.startswith("127.") or own == "::1" else own
