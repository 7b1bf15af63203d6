"""A running service for the commands that call one."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import elanus

IDL = """
namespace go greet
struct Request { 1: string name }
struct Greeting { 1: string text }
exception Refused { 1: i32 code, 2: string reason }
service Greeter {
    Greeting greet(1: Request request) throws (1: Refused refused)
    void wait()
}
"""


@pytest.fixture(scope="session")
def idl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("idl") / "greet.thrift"
    path.write_text(IDL)
    return path


class Greeter:
    """Greets, or refuses in every way there is."""

    def __init__(self, greet: Any) -> None:
        self._greet = greet

    async def greet(self, request: Any) -> Any:
        match request.name:
            case "status":
                raise elanus.BizStatusError(404, "nobody of that name", {"where": "here"})
            case "declared":
                raise self._greet.Refused(code=7, reason="no")
            case "broken":
                raise ValueError("a bug")
        call = elanus.current_call()
        call.send_back("greeted-by", "python")
        return self._greet.Greeting(text=f"hello {request.name} {dict(call.metadata.transient)}")

    async def wait(self) -> None:
        await asyncio.sleep(60)


@pytest.fixture(scope="session")
def address(idl: Path) -> Iterator[str]:
    """A server in a loop and thread of its own, since the commands run loops themselves."""
    greet = elanus.load(idl)
    server = elanus.Server(drain_timeout=0.1)
    server.add_service(greet.Greeter, Greeter(greet))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.start("127.0.0.1:0"), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
