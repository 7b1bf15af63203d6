"""An agent that answers as a test wants, in the test's own loop: a request that blocked it would have no answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Asked", "FakeAgent", "answer", "entry", "fake_agent", "listening"]


@dataclass(frozen=True)
class Asked:
    """One request."""

    verb: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    #: How many came before it.
    number: int


#: Gets a request, and gives the bytes of the whole answer. ``None`` ends the connection.
Script = Callable[[Asked], Awaitable[bytes | None]]


@dataclass
class FakeAgent:
    """What came in so far."""

    address: str
    asked: list[Asked] = field(default_factory=list)
    #: Connections that are open.
    open: int = 0

    async def until_asked(self, count: int, seconds: float = 10.0) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(seconds):
            while len(self.asked) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def answer(value: Any, *, index: object = None, status: int = 200, filtered: bool = False) -> bytes:
    """An answer with *value* as JSON (text as it is); *filtered*: the token may not see all of it."""
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    if index is not None:
        lines.append(f"X-Consul-Index: {index}")
    if filtered:
        lines.append("X-Consul-Results-Filtered-By-ACLs: true")
    return "\r\n".join([*lines, "", ""]).encode() + body


def entry(address: str, weight: int = 10, *tags: str) -> dict[str, Any]:
    """One entry of an answer to ``/v1/health/service/<name>``."""
    host, _, port = address.rpartition(":")
    weights = {"Passing": weight, "Warning": weight}
    return {"Service": {"Address": host, "Port": int(port), "Tags": list(tags) or None, "Weights": weights}}


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server of *serve* on loopback; its address. At the end no connection is left."""
    connections: set[asyncio.Task[Any]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            connections.discard(task)

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def fake_agent(script: Script) -> AsyncIterator[FakeAgent]:
    """An agent that follows *script*."""
    agent = FakeAgent("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agent.open += 1
        try:
            await _serve(agent, script, reader, writer)
        finally:
            agent.open -= 1

    async with listening(serve) as agent.address:
        yield agent


async def _serve(agent: FakeAgent, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        verb, target, _ = first.split()
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        # Paths are kept as they came.
        parts = urlsplit(target)
        value = json.loads(body) if body else None
        asked = Asked(verb, parts.path, dict(parse_qsl(parts.query)), headers, value, len(agent.asked))
        agent.asked.append(asked)
        data = await _unless_gone(reader, script(asked))
        if data is None:
            return
        writer.write(data)
        await writer.drain()


async def _unless_gone(reader: asyncio.StreamReader, reply: Awaitable[bytes | None]) -> bytes | None:
    """The outcome of *reply*, unless the client ends the connection; it says nothing else while it waits."""
    replying, ending = asyncio.ensure_future(reply), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({replying, ending}, return_when=asyncio.FIRST_COMPLETED)
        return replying.result() if replying.done() else None
    finally:
        replying.cancel()
        ending.cancel()
        await asyncio.gather(replying, ending, return_exceptions=True)
