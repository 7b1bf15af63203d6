"""elanus: ``--mode mux`` (one connection) and ``--mode pingpong`` (a pool), on uvloop or asyncio.

``--chain bare`` is a client and a server as they are made without options. ``full`` adds two pairs of metadata, one of
them persistent, and a timeout of 1 s; the server then runs each handler under the deadline that arrives. ``every-room``
also takes every seat of the chain. ``send-only``, ``only-...`` and ``all-on`` are those of :mod:`.one_room`.
"""

from typing import Any

import elanus
from elanus.options import PoolOptions

from .every_room import client_seats, server_seats
from .load import Run, messages
from .one_room import ROOM_CHAINS, chain_of
from .speaking import BENCH_IDL, Asked, Handled, asked, run, serve


class Handler:
    def __init__(self, bench: Any, handled: Handled) -> None:
        self._response = bench.Response
        self._handled = handled

    async def echo(self, request: Any) -> Any:
        self._handled.calls += 1
        return self._response(message=request.message)


async def _serve(options: Asked) -> None:
    bench = elanus.load(str(BENCH_IDL))
    seats = server_seats() if options.chain == "every-room" else chain_of(options.chain).server
    server = elanus.Server(**seats)

    rooms: list[str] = []

    async def start(handled: Handled) -> str:
        server.add_service(bench.Bench, Handler(bench, handled))
        address = await server.start("127.0.0.1:0")
        rooms.extend(server.rooms("Bench", "echo"))
        return address

    await serve(start, options.profile, rooms=rooms)
    await server.stop()


def _client_options(options: Asked) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "transport": ("ttheader", {"mux": options.mode == "mux"}),
        # As many connections as calls stay open, as in the Go peer's long pool; the default is 10, as Kitex's.
        "pool": PoolOptions(idle=max(options.concurrency, 10)),
    }
    chosen |= chain_of(options.chain).client
    if options.chain == "every-room":
        chosen |= client_seats()
    return chosen


async def _call(options: Asked) -> None:
    bench = elanus.load(str(BENCH_IDL))
    measured = Run(options)
    async with elanus.Client(bench.Bench, options.address, **_client_options(options)) as plain:
        called = chain_of(options.chain).call(options.address)
        client = plain.with_options(**called) if called else plain
        requests = [
            [bench.Request(message=message) for message in messages(worker, options.payload)]
            for worker in range(options.concurrency)
        ]
        seen = await client.invoke("echo", requests[0][0])
        await measured.measure(
            [measured.work(client.echo, own) for own in requests],
            rooms=client.rooms("echo"),
            request_bytes=seen.sent_bytes,
            reply_bytes=seen.received_bytes,
            transport=seen.transport,
        )


def main() -> None:
    options = asked(modes=("mux", "pingpong"), chains=("full", "bare", "every-room", *ROOM_CHAINS))
    run(_serve(options) if options.role == "server" else _call(options), options.loop)


if __name__ == "__main__":
    main()
