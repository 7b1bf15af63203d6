"""The listening socket: accepts, asks each transport whether the first bytes are its own, and hands over."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from elanus.address import split_address
from elanus.contracts.limiter import Refusal
from elanus.contracts.transport import Sniff
from elanus.errors import LimitExceededError, TransportError
from elanus.faults import Faults
from elanus.first_bytes import guess
from elanus.net.tls import accept_tls, handshake_failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from elanus.contracts.limiter import Limiter
    from elanus.contracts.transport import Dispatcher, LinkOptions, ServerLink, Transport
    from elanus.net.refusals import Refusals
    from elanus.options import ServerOptions

__all__ = ["Listener"]

_log = logging.getLogger("elanus.server")


class Listener:
    """One listening address, its connections, and what they have become."""

    def __init__(
        self,
        transports: Sequence[Transport],
        dispatcher: Dispatcher,
        options: ServerOptions,
        link: LinkOptions,
        refusals: Refusals,
        limiter: Limiter | None = None,
    ) -> None:
        self._transports = transports
        self._dispatcher = dispatcher
        self._options = options
        self._link_options = link
        self._refusals = refusals
        most = link.limits.connections
        self._full = Refusal("limits.connections", most, "too many connections")
        #: Asked for each new connection; may be replaced at any time.
        self.limiter = limiter
        self._faults = Faults("limiter", "elanus.server")
        self._server: asyncio.Server | None = None
        self._unix_path: str | None = None
        self._newcomers: set[_Newcomer] = set()
        self._draining = False
        #: Connections that a transport has taken over.
        self.links: set[ServerLink] = set()

    async def open(self, address: str) -> str:
        """Bind and listen.

        :returns: the bound address, with the port that the system chose if 0 was asked for.
        :raises TransportError: it cannot be bound; names the address and the system's reason.
        """
        loop = asyncio.get_running_loop()
        options = self._options
        try:
            if address.startswith("unix:"):
                path = address.removeprefix("unix:")
                _make_way(path)
                self._server = await loop.create_unix_server(lambda: _Newcomer(self), path, backlog=options.backlog)
                self._unix_path = path
                return address
            host, port = split_address(address)
            self._server = await loop.create_server(
                lambda: _Newcomer(self),
                host or None,
                port,
                backlog=options.backlog,
                reuse_port=options.reuse_port or None,
            )
        except OSError as error:
            raise TransportError(
                f"cannot listen on {address}: {error.strerror or error}",
                phase="listen",
                hint="Is another process using it? Port 0 lets the system choose one",
            ) from error
        return _bound(self._server.sockets[0], host)

    def admit(self, newcomer: _Newcomer) -> bool:
        """Whether another connection may stay."""
        refusal, newcomer.admitted_by = self._refusal(newcomer.peer)
        if refusal is not None:
            return False
        self._newcomers.add(newcomer)
        return True

    def _refusal(self, peer: str) -> tuple[Refusal | None, Limiter | None]:
        """Why there may be no other connection; without a reason, the limiter that counts this one from now on."""
        if len(self._newcomers) + len(self.links) >= self._link_options.limits.connections:
            refusal: Refusal | None = self._full
            limiter = None
        else:
            refusal, limiter = self._ask(peer)
        if refusal is not None:
            self._refusals.connection(refusal, peer)
        return refusal, limiter

    def _ask(self, peer: str) -> tuple[Refusal | None, Limiter | None]:
        """As :meth:`_refusal`, by the limiter's word alone. One with a bug keeps nobody out, and counts nobody."""
        limiter = self.limiter
        if limiter is None:
            return None, None
        try:
            refusal = limiter.admit(peer, monotonic())
            if refusal is not None and not isinstance(refusal, Refusal):
                raise TypeError(f"admit() returned {refusal!r:.80}, which is neither None nor a Refusal")
        except Exception as fault:
            self._faults.note(limiter, "admit", peer, fault, "the connection stays, and left() will not follow")
            return None, None
        return refusal, limiter

    def _tell_left(self, limiter: Limiter | None, peer: str) -> None:
        if limiter is None:
            return
        try:
            limiter.left(peer, monotonic())
        except Exception as fault:
            self._faults.note(limiter, "left", peer, fault, "the connection is gone")

    def sniff(self, newcomer: _Newcomer, head: bytes) -> bool:
        """Hand the connection over if a transport says YES to *head*; ``False`` if none ever will."""
        undecided = False
        for transport in self._transports:
            answer = transport.sniff(head)
            if answer is Sniff.YES:
                self._hand_over(newcomer, transport, head)
                return True
            undecided = undecided or (answer is Sniff.MORE and len(head) < transport.sniff_bytes)
        return undecided

    def _hand_over(self, newcomer: _Newcomer, transport: Transport, head: bytes) -> None:
        self._newcomers.discard(newcomer)
        peer, limiter = newcomer.peer, newcomer.admitted_by
        try:
            link = transport.serve(newcomer.leave(), head, self._dispatcher, self._link_options)
        except BaseException:
            self._tell_left(limiter, peer)
            raise
        self._keep(link, peer, limiter)

    def adopt(self, link: ServerLink) -> None:
        """Drain and close *link* together with the others.

        :raises LimitExceededError: there may be no other connection.
        """
        refusal, limiter = self._refusal(link.peer)
        if refusal is not None:
            raise LimitExceededError(refusal.text, limit=refusal.limit, value=refusal.value)
        self._keep(link, link.peer, limiter)

    def _keep(self, link: ServerLink, peer: str, limiter: Limiter | None) -> None:
        def gone(_: asyncio.Future[None]) -> None:
            self.links.discard(link)
            self._tell_left(limiter, peer)

        self.links.add(link)
        link.closed.add_done_callback(gone)
        if self._draining:
            link.drain()

    def discard(self, newcomer: _Newcomer) -> None:
        """A connection has ended before it showed what it speaks."""
        if newcomer in self._newcomers:
            self._newcomers.discard(newcomer)
            self._tell_left(newcomer.admitted_by, newcomer.peer)

    @property
    def names(self) -> str:
        """The transports that connections may speak."""
        return ", ".join(transport.name for transport in self._transports)

    @property
    def link_options(self) -> LinkOptions:
        """What every connection is given."""
        return self._link_options

    def stop_accepting(self) -> None:
        """Close the listening socket; connections live on."""
        if self._server is not None:
            self._server.close()
        if self._unix_path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._unix_path)
            self._unix_path = None

    def drain(self) -> None:
        """Tell every peer to send new calls elsewhere.

        Those who have sent nothing yet are told when they do: their first request may be on its way.
        """
        self._draining = True
        for link in list(self.links):
            link.drain()

    @property
    def empty(self) -> bool:
        """Whether there is no connection."""
        return not self.links and not self._newcomers

    @property
    def busy(self) -> bool:
        """Whether any request was read and not yet answered, those included that wait for their turn."""
        return any(link.busy for link in self.links)

    def close_idle(self) -> None:
        """Close every connection without a call in flight."""
        for newcomer in list(self._newcomers):
            newcomer.close()
        for link in [link for link in self.links if link.busy == 0]:
            link.close()

    async def close(self) -> None:
        """Close every connection, and wait until each is closed, for a second at most."""
        self.stop_accepting()
        for newcomer in list(self._newcomers):
            newcomer.close()
        closing = [link.closed for link in self.links]
        for link in list(self.links):
            link.close()
        if closing:
            await asyncio.wait(closing, timeout=1.0)


class _Newcomer(asyncio.Protocol):
    """An accepted connection that has not yet shown which protocol it speaks."""

    __slots__ = ("_handshake", "_head", "_listener", "_timer", "_wire", "admitted_by", "peer")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._head = b""
        self._wire: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None
        self.peer = ""
        #: Who is told when it is gone: limiters can be replaced while connections live.
        self.admitted_by: Limiter | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)  # uvloop's are not of asyncio's class
        self.peer = _peer_name(wire)
        if not self._listener.admit(self):
            wire.abort()
            return
        context = self._listener.link_options.ssl
        if context is not None:
            # Not by the listening socket: that keeps to itself which handshakes fail, and why.
            wire.pause_reading()
            self._handshake = asyncio.get_running_loop().create_task(self._start_tls(wire, context))
            return
        self._await_first_byte()

    def _await_first_byte(self) -> None:
        # Pools connect ahead of use: until its first byte a connection may be idle as long as any other.
        self._close_after(self._listener.link_options.limits.idle_timeout)

    async def _start_tls(self, wire: asyncio.Transport, context: ssl.SSLContext) -> None:
        limit = self._listener.link_options.limits.sniff_timeout
        try:
            secure = await accept_tls(wire, self, context, self._take_head(), limit)
        except OSError as error:
            text, level = handshake_failure(error)
            _log.log(level, "closed a connection from %s: the TLS handshake failed: %s", self.peer, text)
            self.close()
            self._listener.discard(self)
            return
        self._handshake = None
        if secure is None or secure.is_closing():  # the peer went away right after the handshake
            self._listener.discard(self)
            return
        self._wire = secure
        self._await_first_byte()
        if self._head:  # it came together with the end of the handshake
            self.data_received(self._take_head())

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def data_received(self, data: bytes) -> None:
        self._head = head = self._head + data if self._head else data
        if self._handshake is not None:
            return  # TLS is not ready for it
        if not self._listener.sniff(self, head):
            what, next_step = guess(head)
            text = "closed a connection from %s: it sends %s, which no transport here knows (%s). %s"
            _log.warning(text, self.peer, what, self._listener.names, next_step)
            self.close()
        elif self._wire is not None and len(head) == len(data):
            self._close_after(self._listener.link_options.limits.sniff_timeout)

    def eof_received(self) -> None:
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        self._listener.discard(self)

    def _close_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.close)

    def leave(self) -> asyncio.Transport:
        """Forget the connection, which another protocol has, or nobody."""
        if self._timer is not None:
            self._timer.cancel()
        wire, self._wire = self._wire, None
        return wire  # type: ignore[return-value]  # None only when it is lost already, and then nobody asks

    def close(self) -> None:
        """End it without an answer, as Kitex does with what it does not know."""
        if self._wire is not None:
            self._wire.abort()


def _peer_name(wire: asyncio.Transport) -> str:
    name = wire.get_extra_info("peername")
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return "unix"


def _bound(sock: Any, host: str) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_INET6 and ":" in name[0]:
        return f"[{name[0]}]:{name[1]}"
    return f"{host or name[0]}:{name[1]}"


def _make_way(path: str) -> None:
    """Remove a socket file that a crash has left behind. asyncio would remove that of a living server as well.

    :raises OSError: a process listens there.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # binding fails by itself
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
