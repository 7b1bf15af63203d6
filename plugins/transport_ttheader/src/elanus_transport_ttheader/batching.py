"""What both ends of a connection do alike: joined writes, back-pressure, and a watch for stalled frames."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from elanus.errors import ConnectionLostError, ElanusError

if TYPE_CHECKING:
    from elanus.contracts.transport import LinkOptions

__all__ = ["BatchingProtocol", "peer_name"]

#: Bytes that are written at once instead of at the end of the loop's turn.
_EARLY_BYTES = 32 * 1024


class BatchingProtocol(asyncio.Protocol):
    """Joins everything that one turn of the loop writes, and ends the connection when the peer stalls in a frame.

    Subclasses read, and say in :meth:`stalled_bytes` whether they are in the middle of a frame.
    """

    __slots__ = (
        "_flushing",
        "_last_read",
        "_last_write",
        "_loop",
        "_options",
        "_out",
        "_out_bytes",
        "_progress",
        "_progress_at",
        "_stall_timer",
        "_wire",
        "_written_bytes",
        "peer",
        "writable",
    )

    #: Calls in flight.
    busy: int

    def __init__(self, options: LinkOptions, loop: asyncio.AbstractEventLoop) -> None:
        self.peer = ""
        self.writable = True
        self._options = options
        self._loop = loop
        self._wire: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._flushing = False  # somebody will call _flush
        self._written_bytes = 0
        self._last_read = self._last_write = 0.0
        self._progress = 0
        self._progress_at = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's are not of asyncio's class
        self._wire = transport
        self._last_read = self._loop.time()
        transport.set_write_buffer_limits(high=self._options.limits.write_buffer_bytes)
        self.peer = peer_name(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio and uvloop set TCP_NODELAY themselves; a half-open connection is found by keep-alive.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _write(self, head: bytes, payload: bytes | memoryview) -> None:
        out = self._out
        out.append(head)
        out.append(payload)
        self._out_bytes += len(head) + len(payload)
        if not self._flushing:
            if self.busy <= 1:  # a call alone: nothing would join it, and a turn of the loop is a system call
                self._write_out()
                return
            self._flushing = True
            self._loop.call_soon(self._flush)
        if self._out_bytes > _EARLY_BYTES:
            self._write_out()

    def _flush(self) -> None:
        self._flushing = False
        self._write_out()

    def _write_out(self) -> None:
        if self._out and self._wire is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._written_bytes += self._out_bytes
            self._out_bytes = 0
            self._last_write = self._loop.time()
            self._wire.write(data)

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self.writable = False
        self._note_progress()
        self._watch()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.writable = True

    def _note_progress(self) -> bool:
        """Whether the peer took any bytes since the last time."""
        assert self._wire is not None
        taken = self._written_bytes - self._wire.get_write_buffer_size()
        if taken == self._progress:
            return False
        self._progress = taken
        self._progress_at = self._loop.time()
        return True

    def _watch(self) -> None:
        """Look after the read or write that has started. One timer does for all that start while it runs."""
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._options.read_write_timeout, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_timer = None
        wire = self._wire
        if wire is None:
            return
        limit = self._options.read_write_timeout
        now = self._loop.time()
        unread = self.stalled_bytes()
        if unread and now - self._last_read >= limit:
            self._stalled(f"the peer sent {unread} bytes of a message and then nothing for {limit:g} s")
        elif wire.get_write_buffer_size() and not self._note_progress() and now - self._progress_at >= limit:
            self._stalled(f"the peer took nothing of {wire.get_write_buffer_size()} bytes for {limit:g} s")
        elif unread or not self.writable or wire.is_closing():
            self._watch()

    def _stalled(self, text: str) -> None:
        self.give_up(ConnectionLostError(text, instance=self.peer, hint="See the option read_write_timeout"))

    def stalled_bytes(self) -> int:
        """Bytes of a message that has begun, 0 between messages."""
        raise NotImplementedError

    def give_up(self, error: ElanusError) -> None:
        """End the connection at once because of *error*."""
        raise NotImplementedError

    def _close_wire(self) -> None:
        """Close once what was written has left, or once the peer takes none of it any more."""
        self._write_out()
        wire = self._wire
        if wire is not None and not wire.is_closing():
            wire.close()
            if wire.get_write_buffer_size():
                self._note_progress()
                self._watch()

    def _forget_wire(self) -> None:
        self._wire = None
        self._out.clear()
        self._out_bytes = 0
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def peer_name(wire: asyncio.Transport) -> str:
    """The address of the other side: ``"host:port"``, ``"[v6]:port"``, or ``"unix:/path"``, the path if it has one."""
    name = wire.get_extra_info("peername")
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}" if isinstance(name, str) and name else "unix"
