"""The floor: length-prefixed frames echoed over one connection by bare protocols: no codec, no tasks, no futures."""

import asyncio
import os
import struct
from collections import deque
from time import perf_counter
from typing import cast

from .load import Run
from .speaking import Asked, Handled, asked, run, serve

#: With the prefix and the token: what TTHeader, two pairs of metadata and the Thrift envelope put around the message of
#: an elanus request (174 bytes in all), so that the frames are as large. Its replies are smaller, by 116 bytes.
OVERHEAD_BYTES = 162
#: Frames made in advance, each with a token of its own; more than are ever in flight.
RING = 1_024

_PREFIX = struct.Struct(">I")
_TOKEN = struct.Struct(">IQ")


class EchoServer(asyncio.Protocol):
    """Sends every frame back, one by one; the loop joins what one read brought."""

    def __init__(self, handled: Handled) -> None:
        self._handled = handled
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports derive from none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        start, size = 0, len(data)
        while size - start >= 4:
            end = start + 4 + _PREFIX.unpack_from(data, start)[0]
            if end > size:
                break
            self._transport.write(data[start:end])
            self._handled.calls += 1
            start = end
        self._rest = data[start:]


class EchoClient(asyncio.Protocol):
    """Keeps so many frames in flight; replies come in order, and each must equal the frame that it answers."""

    def __init__(self, measured: Run) -> None:
        self._run = measured
        self._frames = _frames(measured.asked.payload + OVERHEAD_BYTES)
        self._sent = self._received = 0
        self._started: deque[tuple[float, bool]] = deque()
        self._rest = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports derive from none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        for _ in range(self._run.asked.concurrency):
            self._send(perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._run.failed(error or ConnectionError("the server closed the connection"))
            self.done.set_result(None)

    def _send(self, now: float) -> None:
        self._started.append((now, self._run.measuring))
        self._transport.write(self._frames[self._sent % RING])
        self._sent += 1

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        size = len(self._frames[0])
        count = len(data) // size
        self._rest = data[count * size :]
        now = perf_counter()
        for index in range(count):
            self._check(data[index * size : (index + 1) * size], now)
            if not self._run.stopping:
                self._send(now)
        if not self._started and not self.done.done():
            self.done.set_result(None)

    def _check(self, frame: bytes, now: float) -> None:
        run = self._run
        started, counted = self._started.popleft()
        if frame != self._frames[self._received % RING]:
            run.wrong += 1
        elif counted and run.measuring:
            run.decoded += 1
            run.latencies.add(now - started)
        self._received += 1


def _frames(size: int) -> list[bytes]:
    body = os.urandom(size)
    return [_TOKEN.pack(size + 8, number) + body for number in range(RING)]


async def _serve(options: Asked) -> None:
    async def start(handled: Handled) -> str:
        server = await asyncio.get_running_loop().create_server(lambda: EchoServer(handled), "127.0.0.1", 0)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    await serve(start, options.profile)


async def _call(options: Asked) -> None:
    measured = Run(options)
    host, _, port = options.address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(lambda: EchoClient(measured), host, int(port))
    size = options.payload + OVERHEAD_BYTES + _TOKEN.size

    async def finished() -> None:
        await protocol.done

    await measured.measure([finished()], request_bytes=size, reply_bytes=size)
    transport.close()


def main() -> None:
    options = asked()
    run(_serve(options) if options.role == "server" else _call(options), options.loop)


if __name__ == "__main__":
    main()
