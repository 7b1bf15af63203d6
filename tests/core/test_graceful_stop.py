"""What a server that stops still takes: the first request of a connection that was just made."""

from __future__ import annotations

import asyncio
import json

import elanus
from elanus.address import split_address

from .line_transport import LineTransport
from .store import Store, idl

REQUEST = json.dumps({"id": 1, "service": "Store", "method": "get", "payload": '{"key": "k"}'}).encode() + b"\n"


async def test_a_connection_that_was_just_made_may_bring_its_first_request() -> None:
    server = elanus.Server(transports=[LineTransport(b"ONE")], drain_delay=0.2)
    server.add_service(idl.Store, Store())
    host, port = split_address(await server.start("127.0.0.1:0"))
    (reader, writer), (silent, silent_writer) = [await asyncio.open_connection(host, port) for _ in range(2)]
    await asyncio.sleep(0.01)  # both are accepted

    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.01)
    writer.write(b"ONE" + REQUEST)
    assert json.loads(await reader.readline()) == {"bye": True}, "it is told at once to send no more"
    assert json.loads(await reader.readline())["payload"] == '{"result": "value of k"}'
    await stopping
    for end in (reader, silent):
        try:
            assert await end.read() == b""
        except ConnectionResetError:
            pass
    for each in (writer, silent_writer):
        each.close()
