"""TLS contexts from files, for the command line."""

from __future__ import annotations

import ssl

__all__ = ["client_context"]


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """A context that checks the server's certificate.

    :param ca_file: a PEM file of the authorities to trust; ``None``: the system's.
    """
    return ssl.create_default_context(cafile=ca_file)
