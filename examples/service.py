"""An echo service: `elanus serve examples.service:server --bind 127.0.0.1:8888`."""

import asyncio
import os
import pathlib
from typing import Any

import elanus

echo = elanus.load(pathlib.Path(__file__).with_name("echo.thrift"))


class Echo:
    """Answers with what it was sent, after the few milliseconds that real work would take."""

    async def echo(self, request: Any) -> Any:
        await asyncio.sleep(0.005)
        return echo.Response(message=request.message, pid=os.getpid())


server = elanus.Server()
server.add_service(echo.EchoService, Echo())
