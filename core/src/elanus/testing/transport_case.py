"""What the parts of the transport suite share: how a scenario gets its server and its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from elanus.contracts.transport import LinkOptions, Transport
from elanus.testing.suite import Suite
from elanus.testing.transport_peers import CopyCodec, Peers, loopback, suite_service

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from elanus.contracts.codec import Payload

__all__ = ["TransportCase", "cancel", "until", "wait_for"]


class TransportCase(Suite):
    """Builds the transport under test, and puts it on both ends of a connection."""

    #: The kind of payloads, as :attr:`elanus.contracts.codec.Codec.wire`.
    wire = "thrift-binary"

    def build(self) -> Transport:
        """A new transport, as its provider builds it."""
        raise NotImplementedError

    def peers(
        self,
        *,
        client: LinkOptions | None = None,
        server: LinkOptions | None = None,
        unix: str = "",
    ) -> AbstractAsyncContextManager[Peers]:
        """A server and a client of the transport. Override it for a transport that does not use sockets."""
        service = suite_service(CopyCodec(self.wire))
        return loopback(
            self.build(), service, client=client or LinkOptions(), server=server or LinkOptions(), unix=unix
        )

    def with_peers(
        self,
        scenario: Callable[[Peers], Coroutine[Any, Any, None]],
        *,
        client: LinkOptions | None = None,
        server: LinkOptions | None = None,
    ) -> None:
        """Run *scenario* with a fresh server and client."""

        async def run() -> None:
            async with self.peers(client=client, server=server) as peers:
                await scenario(peers)

        self.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for *condition*; the time limit of the scenario ends it when it never comes."""
    while not condition():  # noqa: ASYNC110  - what it waits for is not this suite's to signal
        await asyncio.sleep(0.001)


async def wait_for(reply: asyncio.Future[Payload]) -> asyncio.Future[Payload]:
    """As core waits for a reply: cancelling the waiter cancels the reply, before anyone abandons it."""
    try:
        await reply
    except asyncio.CancelledError:
        pass
    return reply


async def cancel(task: asyncio.Task[asyncio.Future[Payload]]) -> asyncio.Future[Payload]:
    await asyncio.sleep(0)
    task.cancel()
    return await task
