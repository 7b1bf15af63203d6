"""The service of core's own tests, in JSON, so that they need no plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import elanus
from elanus.testing import JsonCodec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

idl = JsonCodec().loads(
    """
    exception NotFound(key)

    service Store {
      get(key) throws NotFound
      put(key, value)
      oneway note(text)
      server-stream list(prefix)
      client-stream add(item)
      bidi-stream chat(line)
    }
    """,
    "store.jsonidl",
)


class Store:
    """A handler that does as little as can be; tests override the method that they are about."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def get(self, key: str) -> Any:
        return f"value of {key}"

    async def put(self, key: str, value: Any) -> None:
        return None

    async def note(self, text: str) -> None:
        self.notes.append(text)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{prefix}{number}"

    async def add(self, items: AsyncIterator[Any]) -> Any:
        return [item async for item in items]

    async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for line in lines:
            yield f"{line}!"


async def started(handler: object | None = None, **options: Any) -> elanus.Server:
    """A running server of the store, without a port."""
    server = elanus.Server(**options)
    server.add_service(idl.Store, handler or Store())
    await server.start()
    return server
