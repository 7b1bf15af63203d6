"""TLS: contexts from files, for the command line, and words for what goes wrong on a server."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import cast

__all__ = ["accept_tls", "client_context", "handshake_failure"]

#: Reasons of OpenSSL for which there is more to say: what the peer does, and the next step.
_REASONS = {
    "HTTP_REQUEST": "the peer speaks plain HTTP. Use https, or another port",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS. Use TLS on both sides or on none: Client(ssl=...)",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS. Use TLS on both sides or on none: Client(ssl=...)",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust our certificate. Give it the authority that signed it",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept our certificate. Check its names and dates",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept our certificate. Check its names and dates",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has no certificate, which Server(ssl=...) asks for. Give it one",
    "NO_SHARED_CIPHER": "the two sides share no cipher. Compare the SSL contexts",
    "UNSUPPORTED_PROTOCOL": "the two sides share no version of TLS. Compare the SSL contexts",
}


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """A context that checks the server's certificate.

    :param ca_file: a PEM file of the authorities to trust; ``None``: the system's.
    """
    return ssl.create_default_context(cafile=ca_file)


def handshake_failure(error: OSError) -> tuple[str, int]:
    """Why a handshake failed that a client began, with the next step, and at which level to log it.

    Who connects and leaves without a word, as load balancers do to see whether we are alive, is nothing to warn of.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not accepted: {error.verify_message or error.reason}", logging.WARNING
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or str(error)
        return _REASONS.get(reason, reason), logging.WARNING
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return str(error) or "the peer left", logging.DEBUG
    return str(error) or type(error).__name__, logging.WARNING


async def accept_tls(
    wire: asyncio.Transport, protocol: asyncio.Protocol, context: ssl.SSLContext, head: bytes, timeout: float
) -> asyncio.Transport | None:
    """Begin TLS on an accepted connection; *protocol* gets what it carries, from the end of the handshake on.

    :param head: what was read of it already: uvloop reads before a protocol can stop it.
    :returns: the new transport; ``None`` when the peer went away at the end of the handshake.
    :raises OSError: the handshake failed, or took longer than *timeout* seconds.
    """
    loop = asyncio.get_running_loop()
    wire.pause_reading()
    shaking = loop.create_task(loop.start_tls(wire, protocol, context, server_side=True, ssl_handshake_timeout=timeout))
    if head:
        await asyncio.sleep(0)  # now the protocol of TLS has the connection, and has not read on yet
        reader = cast("asyncio.BufferedProtocol", wire.get_protocol())
        while head:
            buffer = memoryview(reader.get_buffer(len(head)))
            count = min(len(buffer), len(head))
            buffer[:count] = head[:count]
            reader.buffer_updated(count)
            head = head[count:]
    return await shaking
