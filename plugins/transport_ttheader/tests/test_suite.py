"""The suite of the transport contract, for every framing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elanus.testing.transport import TransportSuite
from elanus_transport_ttheader.hooks import elanus_transports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.contracts.transport import Transport

NO_HEADER = "framed and buffered messages have no headers"


def build(name: str, options: Mapping[str, object] | None = None) -> Transport:
    providers = {provider.name: provider for provider in elanus_transports()}
    return providers[name].build(options or {})


class TestTTHeaderFramed(TransportSuite):
    def build(self) -> Transport:
        return build("ttheader")


class TestTTHeaderUnframed(TransportSuite):
    def build(self) -> Transport:
        return build("ttheader", {"framed": False})


class TestTTHeaderMultiplexed(TransportSuite):
    def build(self) -> Transport:
        return build("ttheader", {"mux": True})


class TestTTHeaderInTurns(TransportSuite):
    def build(self) -> Transport:
        return build("ttheader", {"mux": False})


class TestTTHeaderWithChecksums(TransportSuite):
    def build(self) -> Transport:
        return build("ttheader", {"crc32c": True})


class TestTTHeaderProtobuf(TransportSuite):
    wire = "protobuf"

    def build(self) -> Transport:
        return build("ttheader")


class TestFramed(TransportSuite):
    unsupported: ClassVar[dict[str, str]] = dict.fromkeys(
        ("caller", "metadata", "headers", "log id", "retry", "deadline", "backward", "biz status", "drain"), NO_HEADER
    )

    def build(self) -> Transport:
        return build("framed")


class TestFramedProtobuf(TestFramed):
    wire = "protobuf"


class TestBuffered(TestFramed):
    def build(self) -> Transport:
        return build("buffered")
