"""Core's hard limits: what no peer can make this process exceed. On by default, each an option."""

from __future__ import annotations

from dataclasses import dataclass, fields

from elanus.errors import ConfigError

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one peer may make this process hold. They stand apart from the ``Limiter`` kind, which is policy.

    A frame or message over a limit ends its connection with a :exc:`~elanus.RemoteProtocolError`, or its call with a
    :exc:`~elanus.CodecError` where the connection can go on. Every value must be at least 1.
    """

    #: Bytes of one frame, header included. Kitex has no limit by default; its own examples use 16 MiB. Kitex:
    #: unlimited.
    frame_bytes: int = 16 * 1024 * 1024
    #: Bytes of a frame's header part. TTHeader's own bound is 4 * 65535; peers older than December 2025 stop at 64 KiB.
    #: Kitex: 262140.
    header_bytes: int = 256 * 1024
    #: Structs and containers inside one another. Kitex's skip stops at the same depth. Kitex: 64.
    depth: int = 64
    #: Elements of one list, set or map. Kitex: unlimited.
    container_items: int = 1_000_000
    #: Bytes of one string or binary value. Kitex: unlimited.
    string_bytes: int = 16 * 1024 * 1024
    #: Connections that one server holds at once. Kitex: unlimited.
    connections: int = 20_000
    #: Calls in flight on one connection, and requests read ahead on one that must be answered in order. Kitex:
    #: unlimited.
    calls_per_connection: int = 1_024
    #: Calls in flight in one server. Kitex: unlimited.
    calls: int = 10_000
    #: Bytes that wait to be written to one peer before reading from it pauses.
    write_buffer_bytes: int = 256 * 1024
    #: Items that wait in each direction of a stream before its writer is stopped.
    stream_items: int = 64
    #: Seconds without a call after which a server closes a connection. Kitex: 10 minutes.
    idle_timeout: float = 600.0
    #: Seconds that a new connection has to show which protocol it speaks.
    sniff_timeout: float = 10.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            smallest = 0 if item.type == "float" else 1
            if value < smallest:
                raise ConfigError(
                    f"limit {item.name!r} is {value!r}", hint=f"Give it a value of at least {smallest}, or leave it out"
                )


DEFAULT_LIMITS = Limits()
