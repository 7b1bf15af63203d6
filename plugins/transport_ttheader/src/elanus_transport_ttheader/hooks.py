"""What this plugin offers: the transports ``ttheader``, ``framed`` and ``buffered``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.transport import Transport

__all__ = ["elanus_transports"]


@hookimpl
def elanus_transports() -> Sequence[Provider[Transport]]:
    """One family: the names differ in what a client sends. A server of any name answers all of them."""
    return [Provider("ttheader", _ttheader), Provider("framed", _framed), Provider("buffered", _buffered)]


def _ttheader(options: Mapping[str, object]) -> Transport:
    from elanus_transport_ttheader.transport import TTHeaderTransport

    return TTHeaderTransport.from_options("ttheader", options)


def _framed(options: Mapping[str, object]) -> Transport:
    from elanus_transport_ttheader.transport import TTHeaderTransport

    return TTHeaderTransport.from_options("framed", options)


def _buffered(options: Mapping[str, object]) -> Transport:
    from elanus_transport_ttheader.transport import TTHeaderTransport

    return TTHeaderTransport.from_options("buffered", options)
