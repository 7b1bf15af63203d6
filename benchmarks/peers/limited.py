"""A server of elanus that can do so much and no more: calls wait for one of a few workers, and keep it for a while.

Its limiter comes from the environment. Asked for ``refused``, it tells what that has refused.
"""

import asyncio
import json
import os
from typing import Any

import elanus

from .speaking import BENCH_IDL, Handled, asked, run, serve

#: The environment variable that chooses the limiter: ``["token", {"qps": 640}]``.
LIMITER = "ELANUS_BENCH_LIMITER"

WORKERS = 16
WORK_SECONDS = 0.1


class Handler:
    def __init__(self, bench: Any, server: elanus.Server) -> None:
        self._response = bench.Response
        self._server = server
        self._workers = asyncio.Semaphore(WORKERS)

    async def echo(self, request: Any) -> Any:
        if request.message == "refused":
            return self._response(message=json.dumps(dict(self._server.refused)))
        async with self._workers:
            await asyncio.sleep(WORK_SECONDS)
        return self._response(message=request.message)


async def _serve() -> None:
    bench = elanus.load(str(BENCH_IDL))
    server = elanus.Server(limiter=json.loads(os.environ.get(LIMITER, "null")))
    server.add_service(bench.Bench, Handler(bench, server))

    async def start(handled: Handled) -> str:
        return await server.start("127.0.0.1:0")

    await serve(start, profile=False)
    await server.stop()


if __name__ == "__main__":
    run(_serve(), asked().loop)
