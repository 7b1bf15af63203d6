"""elanus: ``--mode mux`` (one connection) and ``--mode pingpong`` (a pool), on uvloop or asyncio.

``--chain bare`` is a client and a server as they are made without options. ``full`` adds two pairs of metadata, one of
them persistent, and a timeout of 1 s; the server then runs each handler under the deadline that arrives. ``every-room``
also takes every seat of the chain.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import elanus
from elanus.options import PoolOptions
from elanus.stages import CLIENT_STAGES, SERVER_STAGES, ServerParts
from elanus.wheel import wheel_of

from .every_room import client_seats, server_seats
from .load import Run, messages
from .speaking import BENCH_IDL, Asked, Handled, asked, run, serve

METADATA = elanus.Metadata(transient={"request-origin": "benchmark"}, persistent={"tenant": "acme"})


class Handler:
    def __init__(self, bench: Any, handled: Handled) -> None:
        self._response = bench.Response
        self._handled = handled

    async def echo(self, request: Any) -> Any:
        self._handled.calls += 1
        return self._response(message=request.message)


async def _serve(options: Asked) -> None:
    bench = elanus.load(str(BENCH_IDL))
    server = elanus.Server(**(server_seats() if options.chain == "every-room" else {}))

    async def start(handled: Handled) -> str:
        server.add_service(bench.Bench, Handler(bench, handled))
        return await server.start("127.0.0.1:0")

    await serve(start, options.profile, rooms=_server_rooms(server, bench.Bench))
    await server.stop()


def _client_options(options: Asked) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "transport": ("ttheader", {"mux": options.mode == "mux"}),
        # As many connections as calls stay open, as in the Go peer's long pool; the default is 10, as Kitex's.
        "pool": PoolOptions(idle=max(options.concurrency, 10)),
    }
    if options.chain != "bare":
        chosen["timeout"] = 1.0
    if options.chain == "every-room":
        chosen |= client_seats()
    return chosen


async def _call(options: Asked) -> None:
    bench = elanus.load(str(BENCH_IDL))
    measured = Run(options)
    async with elanus.Client(bench.Bench, options.address, **_client_options(options)) as plain:
        client = plain if options.chain == "bare" else plain.with_options(metadata=METADATA)
        requests = [
            [bench.Request(message=message) for message in messages(worker, options.payload)]
            for worker in range(options.concurrency)
        ]
        seen = await client.invoke("echo", requests[0][0])
        await measured.measure(
            [measured.work(client.echo, own) for own in requests],
            rooms=_client_rooms(client),
            request_bytes=seen.sent_bytes,
            reply_bytes=seen.received_bytes,
            transport=seen.transport,
        )


def _client_rooms(client: elanus.Client) -> Sequence[str]:
    """The names of the stages that put a room into the chain of ``echo``."""
    parts = client._core.parts((), client.options.retrier)
    method = client.service.methods["echo"]
    return [name for name, stage in CLIENT_STAGES if stage(parts, method)]


def _server_rooms(server: elanus.Server, service: elanus.ServiceInfo) -> Sequence[str]:
    options = server.options
    parts = ServerParts(
        options=options,
        wheel=wheel_of(asyncio.get_running_loop()),
        tracers=options.tracers,
        limiter=cast("Any", options.limiter),
        breaker=cast("Any", options.breaker),
        middlewares=options.middlewares,
    )
    return [name for name, stage in SERVER_STAGES if stage(parts, service, service.methods["echo"])]


def main() -> None:
    options = asked(modes=("mux", "pingpong"), chains=("full", "bare", "every-room"))
    run(_serve(options) if options.role == "server" else _call(options), options.loop)


if __name__ == "__main__":
    main()
