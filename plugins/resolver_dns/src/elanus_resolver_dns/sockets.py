"""The sockets that dnspython asks through.

dnspython has its own for asyncio, which do not survive cancellation: before Python 3.12 ``asyncio.wait_for`` forgets
one that comes together with the answer (cpython issue 86296), and uvloop keeps a datagram endpoint open whose opening
was cancelled. A watch is closed by cancelling it, so here every socket is closed by whoever opened it, on any loop.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import dns.exception
from dns.asyncbackend import (  # type: ignore[attr-defined]  # documented there, and imported from elsewhere
    Backend,
    DatagramSocket,
    Socket,
    StreamSocket,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

__all__ = ["Sockets"]


@asynccontextmanager
async def _limit(seconds: float | None) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise dns.exception.Timeout(timeout=seconds) from error  # type: ignore[no-untyped-call]


class _Datagrams(DatagramSocket):
    """A connected UDP socket: the kernel drops what others send, and tells when nobody listens there."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected.family, socket.SOCK_DGRAM)
        self._socket = connected

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        async with _limit(timeout):
            await asyncio.get_running_loop().sock_sendall(self._socket, what)
        return len(what)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        async with _limit(timeout):
            return await asyncio.get_running_loop().sock_recv(self._socket, size), self._socket.getpeername()

    async def close(self) -> None:
        self._socket.close()


class _Stream(StreamSocket):
    """A connected TCP socket."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected.family, socket.SOCK_STREAM)
        self._socket = connected

    async def sendall(self, what: bytes, timeout: float | None) -> None:
        async with _limit(timeout):
            await asyncio.get_running_loop().sock_sendall(self._socket, what)

    async def recv(self, size: int, timeout: float | None) -> bytes:
        async with _limit(timeout):
            return await asyncio.get_running_loop().sock_recv(self._socket, size)

    async def close(self) -> None:
        self._socket.close()


class Sockets(Backend):
    """Opens sockets to name servers on the running event loop."""

    def name(self) -> str:
        return "elanus"

    def datagram_connection_required(self) -> bool:
        return True

    async def make_socket(
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: Any = None,
        destination: Any = None,
        timeout: float | None = None,
        ssl_context: Any = None,
        server_hostname: str | None = None,
    ) -> Socket:
        opened = socket.socket(af, socktype, proto)
        try:
            opened.setblocking(False)
            if socktype == socket.SOCK_DGRAM:
                opened.connect(destination)  # at once: nothing is sent
                return _Datagrams(opened)
            async with _limit(timeout):
                await asyncio.get_running_loop().sock_connect(opened, destination)
            return _Stream(opened)
        except BaseException:
            opened.close()
            raise

    async def sleep(self, interval: float) -> None:
        await asyncio.sleep(interval)

    async def wait_for(self, awaitable: Awaitable[Any], timeout: float | None) -> Any:
        async with _limit(timeout):
            return await awaitable
