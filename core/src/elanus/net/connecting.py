"""Opening a connection to an address, for transports: every way to fail becomes one error that says why."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from elanus.address import split_address
from elanus.errors import ConfigError, ConnectFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["open_connection"]

P = TypeVar("P", bound=asyncio.Protocol)


async def open_connection(factory: Callable[[], P], address: str, context: ssl.SSLContext | None = None) -> P:
    """Connect to *address* and return the protocol that *factory* made, whose ``connection_made`` has been called.

    :param address: ``"host:port"``, ``"[v6]:port"`` or ``"unix:/path"``.
    :param context: speak TLS; the certificate must be for the host, or for ``localhost`` on a unix socket.
    :raises ConnectFailedError: it could not be opened; names the address, the cause and the next step.
    """
    loop = asyncio.get_running_loop()
    try:
        if address.startswith("unix:"):
            name = "localhost" if context is not None else None
            path = address.removeprefix("unix:")
            _, protocol = await loop.create_unix_connection(factory, path, ssl=context, server_hostname=name)
        else:
            host, port = split_address(address)
            _, protocol = await loop.create_connection(factory, host, port, ssl=context)
    except ConfigError as error:  # a registry may hold anything
        raise ConnectFailedError(error.message, hint=error.hint, instance=address) from error
    except OSError as error:  # what TLS raises is an OSError too
        text, hint = _cause(error, tls=context is not None)
        raise ConnectFailedError(text, hint=hint, instance=address) from error
    return protocol


def _cause(error: OSError, *, tls: bool) -> tuple[str, str | None]:
    """What went wrong, and the next step where it is another one than usual."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the server's certificate is not accepted: {error.verify_message or error.reason}"
        return text, "Check the authority that the SSL context trusts, and the names in the certificate"
    dropped = isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError) or not str(error)
    if isinstance(error, ssl.SSLError) or (tls and dropped):
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else "the peer closed the connection"
        return f"the TLS handshake failed: {why}", "Check that the server there speaks TLS: Server(ssl=...)"
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be looked up: {error.strerror}", "Check the name, and the machine's resolver"
    # asyncio's own text repeats the address; uvloop's is the system's.
    return os.strerror(error.errno).lower() if error.errno else str(error), None
