"""Both ends of this plugin on a fake wire: calls that overlap, stall, are given up and cut off, each with a token.

Whatever happens, an answer that a caller gets is the answer to its own request.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from elanus.errors import (
    ApplicationError,
    ConnectionLostError,
    ElanusError,
    RemoteProtocolError,
    RpcCancelledError,
)
from elanus.limits import Limits
from elanus.testing import run_virtual

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "ttheader": ("ttheader", {}),
    "ttheader, unframed": ("ttheader", {"framed": False}),
    "shared": ("ttheader", {"mux": True}),
    "in turns": ("ttheader", {"mux": False}),
    "checksums": ("ttheader", {"crc32c": True}),
    "framed": ("framed", {}),
    "buffered": ("buffered", {}),
}


class Simulation:
    """Callers that share a few connections to one server, both driven by one source of chance."""

    def __init__(self, harness: Any, mode: str, seed: int, calls: int) -> None:
        self.harness = harness
        self.name, self.options = MODES[mode]
        self.chance = random.Random(seed)
        self.calls = calls
        self.outcomes: Counter[str] = Counter()
        self.connections: list[Any] = []
        self.links: list[Any] = []
        self.wires: list[Any] = []
        self.limits = Limits(calls_per_connection=16, write_buffer_bytes=4096)

    async def handle(self, call: Any) -> bytes:
        payload = bytes(call.argument_payload)
        delay = self.chance.choice((0, 0, 0, 0.001, 0.01, 0.05, 0.2))
        if delay:
            await asyncio.sleep(delay)
        if self.chance.random() < 0.05:
            raise ElanusError(self.harness.codec.decode(payload))
        return payload

    def connect(self) -> Any:
        near, far = self.harness.wires(lambda size: self.chance.choice((1, 3, 14, 20, 100, size, size, size)))
        link, _ = self.harness.server(far, self.handle, limits=self.limits, crc32c=self.chance.random() < 0.3)
        connection = self.harness.client(near, self.name, limits=self.limits, **self.options)
        self.connections.append(connection)
        self.links.append(link)
        self.wires.append(near)
        return connection

    def take(self) -> Any:
        free = [connection for connection in self.connections if connection.free > 0]
        return self.chance.choice(free) if free and self.chance.random() < 0.9 else self.connect()

    async def one_call(self, token: str) -> None:
        text = token + "." * self.chance.choice((0, 0, 10, 3000))
        connection = self.take()
        reply = connection.request(self.harness.call(), self.harness.codec.encode(text))
        patience = self.chance.choice((1e-9, 0.005, 0.03, 10.0, 10.0, 10.0))
        done, _ = await asyncio.wait([reply], timeout=patience)
        if not done:
            if self.chance.random() < 0.5:
                reply.cancel()  # as a cancelled task does before anyone can abandon
            connection.abandon(reply, RpcCancelledError("the caller waits no longer"))
            self.outcomes["abandoned"] += 1
            return
        error = reply.exception()
        if error is None:
            self.outcomes["reply"] += 1
            assert self.harness.codec.decode(reply.result()) == text, "the reply of another call"
        elif isinstance(error, ApplicationError):
            self.outcomes["error"] += 1
            assert error.message == text, "the error of another call"
        else:
            self.outcomes["lost"] += 1
            assert isinstance(error, ConnectionLostError | RemoteProtocolError)

    async def disturb(self) -> None:
        """Now and then a connection breaks, or its server wants to close it."""
        while True:
            await asyncio.sleep(self.chance.random() * 0.2)
            if self.wires and self.chance.random() < 0.5:
                self.chance.choice(self.wires[-4:]).lose()
            elif self.links:
                self.chance.choice(self.links[-4:]).drain()

    async def run(self) -> None:
        disturbing = asyncio.ensure_future(self.disturb())
        running: set[asyncio.Task[None]] = set()
        for number in range(self.calls):
            running.add(asyncio.ensure_future(self.one_call(f"token-{number}")))
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.choice((0, 0.001, 0.01)))
            if len(running) > 40:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*running)
        disturbing.cancel()
        for connection in self.connections:
            await connection.aclose(0.1)
        for link in self.links:
            link.close()
        await asyncio.sleep(30.0)
        left = [end for end in [*self.connections, *self.links] if not end.closed.done() or end.busy]
        assert not left
        assert not [link._held_bytes for link in self.links if link._held_bytes]
        assert sum(self.outcomes.values()) == self.calls


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_every_answer_is_the_callers_own(harness: Any, mode: str, seed: int) -> None:
    simulation = Simulation(harness, mode, seed, 400)
    run_virtual(simulation.run())
    assert simulation.outcomes["reply"] > 50
    assert simulation.outcomes["abandoned"] > 10
    assert simulation.outcomes["error"] > 0
