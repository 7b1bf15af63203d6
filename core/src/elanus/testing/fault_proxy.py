"""A proxy that harms connections: put it between a client and a server and see what both make of a bad network."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FaultProxy", "Faults"]

End: TypeAlias = Literal["reset", "close"]

_READ_BYTES = 64 * 1024
#: Chunks that wait for their time; beyond them the proxy reads no more, as a full network does.
_QUEUED_CHUNKS = 256
_LINGER_RESET = struct.pack("ii", 1, 0)


class Faults:
    """What happens to bytes on their way in one direction. Change it at any time; live connections feel it at once.

    A chunk is what the proxy read in one go, 64 KiB at most.
    """

    def __init__(self) -> None:
        #: Seconds for which every chunk is kept before it goes on. Chunks on their way at the same time overlap.
        self.delay = 0.0
        #: Write in pieces of this many bytes; 0 leaves chunks as they are.
        self.split = 0
        #: Seconds between two pieces.
        self.split_pause = 0.0
        #: End a connection, both ways, once this many of its bytes went on in this direction; ``None`` for never.
        self.cut_after: int | None = None
        #: How it is ended: ``"reset"`` (RST) or ``"close"`` (FIN).
        self.cut_with: End = "reset"
        #: Write every chunk twice.
        self.duplicate = False
        #: Read everything and pass nothing on: what is swallowed is gone.
        self.swallow = False
        #: Bytes passed on, and chunks read, over all connections.
        self.bytes = 0
        self.chunks = 0
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def stall(self) -> bool:
        """Pass nothing on for now and lose nothing: a cable that is pulled, and put back when this is ``False``."""
        return not self._flowing.is_set()

    @stall.setter
    def stall(self, value: bool) -> None:
        if value:
            self._flowing.clear()
        else:
            self._flowing.set()

    def heal(self) -> None:
        """No more faults. Counts are kept."""
        self.delay = 0.0
        self.split = 0
        self.split_pause = 0.0
        self.cut_after = None
        self.cut_with = "reset"
        self.duplicate = False
        self.swallow = False
        self.stall = False


class FaultProxy:
    """A TCP proxy on loopback, for tests.

    ::

        async with FaultProxy("127.0.0.1:8888") as proxy:
            client = elanus.Client(echo.EchoService, proxy.address)
            proxy.down.cut_after = 100

    :param target: where to connect to: ``"host:port"``, ``"[v6]:port"`` or ``"unix:/path"``.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        #: From the client to the server.
        self.up = Faults()
        #: From the server to the client.
        self.down = Faults()
        #: Accept connections and read what comes, and never connect to the target: a server that hangs.
        self.half_open = False
        #: Connections accepted so far, and how many of them could not be taken on to the target.
        self.accepted = 0
        self.failed = 0
        self._host = "127.0.0.1"
        self._port = 0
        self._listening: asyncio.Task[None] | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._ends: dict[asyncio.Task[None], End] = {}

    @property
    def address(self) -> str:
        """Where clients connect to. It stays the same while connections are refused."""
        return f"{self._host}:{self._port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    async def __aenter__(self) -> FaultProxy:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.refuse()
        await self.cut()

    async def accept(self) -> None:
        """Listen, at first or again."""
        if self._listening is None:
            listener = socket.create_server((self._host, self._port), backlog=1024)
            listener.setblocking(False)
            self._port = listener.getsockname()[1]
            self._listening = asyncio.create_task(self._accept_all(listener), name=f"fault proxy {self.address}")

    async def refuse(self) -> None:
        """Stop listening: new connections are refused by the system. Those that are open go on."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None

    async def cut(self, how: End = "reset") -> None:
        """End every open connection now, on both sides."""
        links = list(self._links)
        for link in links:
            self._ends[link] = how
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def heal(self) -> None:
        """No more faults in either direction, and none for new connections."""
        self.half_open = False
        self.up.heal()
        self.down.heal()

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                client, _ = await loop.sock_accept(listener)
                self.accepted += 1
                link = asyncio.create_task(self._run_link(client), name=f"connection of fault proxy {self.address}")
                self._links.add(link)
                link.add_done_callback(partial(self._forget, client))

    def _forget(self, client: socket.socket, link: asyncio.Task[None]) -> None:
        self._links.discard(link)
        client.close()  # still open where the task was cancelled before its first step

    async def _run_link(self, client: socket.socket) -> None:
        ends = [client]
        how: End = "close"
        try:
            client.setblocking(False)
            if self.half_open:
                await _read_and_forget(client)
            else:
                ends.append(await self._connect())
                await self._forward(client, ends[1])
        except asyncio.CancelledError:
            how = "reset"
        except _CutError as cut:
            how = cut.how
        except OSError:  # one side went away in its own manner; the other side learns of it in the harder one
            how = "reset"
            self.failed += len(ends) == 1
        finally:
            task = asyncio.current_task()
            assert task is not None
            for end in ends:
                _end(end, self._ends.get(task, how))
            self._ends.pop(task, None)

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        if self.target.startswith("unix:"):
            server = socket.socket(socket.AF_UNIX)
            address: tuple[str, int] | str = self.target[len("unix:") :]
        else:
            host, _, port = self.target.rpartition(":")
            server = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
            address = host.strip("[]"), int(port)
        try:
            server.setblocking(False)
            await loop.sock_connect(server, address)
        except BaseException:
            server.close()
            raise
        return server

    async def _forward(self, client: socket.socket, server: socket.socket) -> None:
        for end in (client, server):
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # pieces shall leave as pieces
        pumps = [
            asyncio.create_task(_Pump(source, sink, faults).run())
            for source, sink, faults in ((client, server, self.up), (server, client, self.down))
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            # The sockets must not be closed under a pump that still waits for them.
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


class _CutError(Exception):
    """This connection ends now."""

    def __init__(self, how: End) -> None:
        super().__init__(how)
        self.how = how


class _Pump:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, faults: Faults) -> None:
        self._source = source
        self._sink = sink
        self._faults = faults
        self._sent_bytes = 0
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Pass bytes on until the source ends, then say so to the sink."""
        reading = asyncio.create_task(self._read())
        try:
            await self._write()
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        """Queue every chunk with its time to go on, and an empty one at the end, however the source ends."""
        data = b"-"
        try:
            while data:
                data = await self._loop.sock_recv(self._source, _READ_BYTES)
                self._faults.chunks += bool(data)
                await self._queue.put((self._loop.time() + self._faults.delay, data))
        except OSError:
            await self._queue.put((self._loop.time(), b""))
            raise

    async def _write(self) -> None:
        faults = self._faults
        while True:
            due, data = await self._queue.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await faults._flowing.wait()
            if not data:
                if not faults.swallow:
                    with suppress(OSError):
                        self._sink.shutdown(socket.SHUT_WR)
                return
            if not faults.swallow:
                await self._pass_on(data * 2 if faults.duplicate else data)

    async def _pass_on(self, data: bytes) -> None:
        faults = self._faults
        if faults.cut_after is not None and self._sent_bytes + len(data) >= faults.cut_after:
            await self._send_pieces(data[: max(0, faults.cut_after - self._sent_bytes)])
            raise _CutError(faults.cut_with)
        await self._send_pieces(data)

    async def _send_pieces(self, data: bytes) -> None:
        step = self._faults.split or len(data) or 1
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            await self._loop.sock_sendall(self._sink, piece)
            self._sent_bytes += len(piece)
            self._faults.bytes += len(piece)
            if len(piece) < len(data):
                await asyncio.sleep(self._faults.split_pause)


async def _read_and_forget(client: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(client, _READ_BYTES):
        pass


def _end(end: socket.socket, how: End) -> None:
    with suppress(OSError):
        if how == "reset":
            # Closing with a linger time of 0 sends RST instead of FIN.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    end.close()
