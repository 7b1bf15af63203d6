"""A server of elanus, every twentieth of whose replies is half a second late. Asked for ``counts``, it tells them."""

import asyncio
import json
from typing import Any

import elanus

from .speaking import BENCH_IDL, Handled, asked, run, serve

LATE_EACH = 20
LATE_SECONDS = 0.5


class Handler:
    def __init__(self, bench: Any) -> None:
        self._response = bench.Response
        self._counts = {"requests": 0, "late": 0, "cancelled": 0}

    async def echo(self, request: Any) -> Any:
        counts = self._counts
        if request.message == "counts":
            return self._response(message=json.dumps(counts))
        counts["requests"] += 1
        if counts["requests"] % LATE_EACH == 0:
            counts["late"] += 1
            try:
                await asyncio.sleep(LATE_SECONDS)
            except asyncio.CancelledError:
                counts["cancelled"] += 1
                raise
        return self._response(message=request.message)


async def _serve() -> None:
    bench = elanus.load(str(BENCH_IDL))
    server = elanus.Server()
    server.add_service(bench.Bench, Handler(bench))

    async def start(handled: Handled) -> str:
        return await server.start("127.0.0.1:0")

    await serve(start, profile=False)
    await server.stop()


if __name__ == "__main__":
    run(_serve(), asked().loop)
