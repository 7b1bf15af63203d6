"""The in-memory transport: a client and a server of one process, with everything between them but the wire.

Both chains run whole, payloads are real bytes of the real codec, and nothing else is shared: metadata, errors and what
is left of the deadline are copied as a frame would carry them, and a handler sees none of its caller's context
variables. Messages arrive through the event loop and in order, so that nothing is re-entrant and a test sees what a
network would show it, without its delays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from elanus.client import Client
from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.transport import Connection, ServerLink, Sniff, Transport
from elanus.errors import ConnectFailedError, LimitExceededError, StateError
from elanus.server import Server
from elanus.testing.memory_links import ClientEnd, ServerEnd
from elanus.testing.memory_wire import NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Sequence

    from elanus.call import Call
    from elanus.contracts.transport import Dispatcher, LinkOptions
    from elanus.service import Instance, ServiceInfo

__all__ = ["InTurn", "MemoryTransport", "connected"]


@contextlib.asynccontextmanager
async def connected(
    service: ServiceInfo, handler: object, *, server: Server | None = None, **options: Any
) -> AsyncIterator[Client]:
    """A client of *handler*, for tests of handlers and of middlewares; both ends are closed at the end. ::

        async with connected(echo.EchoService, Echo()) as client:
            assert await client.echo("hi") == "hi"

    :param server: one with options of your own, not started yet; *handler* is added to it.
    :param options: options of the client.
    """
    server = server or Server()
    server.add_service(service, handler)
    await server.start()
    try:
        options.setdefault("balancer", InTurn())
        async with Client(service, "memory:1", transport=MemoryTransport(server), **options) as client:
            yield client
    finally:
        await server.stop()


class MemoryTransport(Transport):
    """Calls a server of this process and event loop. ::

        server = elanus.Server()
        server.add_service(service, handler)
        await server.start()  # no port
        async with elanus.Client(service, "memory:1", transport=MemoryTransport(server)) as client: ...

    :param servers: the server behind every address, or a server for each address: with several instances a balancer
        has something to choose from.
    """

    name = NAME
    sniff_bytes = 1

    def __init__(self, servers: Server | Mapping[str, Server]) -> None:
        self._servers = servers
        #: How many connections were opened, by address.
        self.opened: dict[str, int] = {}
        self._links: dict[str, list[ServerEnd]] = {}

    def sniff(self, head: bytes) -> Sniff:
        return Sniff.NO  # nothing that comes through a socket is ours

    def serve(self, wire: asyncio.Transport, head: bytes, dispatcher: Dispatcher, options: LinkOptions) -> ServerLink:
        raise StateError("the in-memory transport has no socket", hint="Start the server without an address")

    def shares(self, address: str, lane: str) -> bool:
        return True

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        """Connect to the server of *address*.

        :raises ConnectFailedError: there is none, or it takes no connections.
        """
        await asyncio.sleep(0)  # connecting to anything takes a turn of the loop
        server = self._server(address)
        limits = server.options.limits
        try:
            theirs = ServerEnd(server.dispatcher, f"client of {address}", limits, options.limits)
            server.adopt(theirs)
        except (StateError, LimitExceededError) as error:
            raise ConnectFailedError(f"connection refused: {error.message}", instance=address) from error
        ours = ClientEnd(address, options.limits, limits)
        ours.peer_end, theirs.peer_end = theirs, ours
        self.opened[address] = self.opened.get(address, 0) + 1
        links = self._links.setdefault(address, [])
        links.append(theirs)
        theirs.closed.add_done_callback(lambda _: links.remove(theirs))
        return ours

    def cut(self, address: str | None = None) -> None:
        """Break every connection to *address* (to all without one), as if its server had been killed."""
        for known, links in self._links.items():
            if address is None or known == address:
                for link in list(links):
                    link.close()

    def _server(self, address: str) -> Server:
        servers = self._servers
        server = servers.get(address) if isinstance(servers, Mapping) else servers
        if server is None:
            raise ConnectFailedError("connection refused: no server has this address", instance=address)
        return server


class InTurn(Balancer):
    """Each instance in its turn. For tests that must not depend on an installed balancer."""

    name = "in_turn"

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        return _InTurnPicker([instance for instance in instances if instance.weight > 0])


class _InTurnPicker(Picker):
    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = list(instances)

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        for instance in self._instances:
            if instance not in excluded:
                self._instances.remove(instance)
                self._instances.append(instance)
                return instance
        return None
