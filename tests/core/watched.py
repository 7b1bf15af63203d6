"""Handlers of streams that note how they ended, for the tests of streams; every test must leave no task."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from elanus import ApplicationError, BizStatusError

from .store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """After each test no task is left."""
    yield
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Watched(Store):
    """Handlers of all kinds that note how they ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []
        self.sent = 0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("done")

    async def list(self, prefix: str) -> AsyncIterator[Any]:
        async with self.watched():
            while True:
                yield f"{prefix}{self.sent}"
                self.sent += 1

    async def chat(self, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async with self.watched():
            async for line in lines:
                if line == "wait":
                    await asyncio.sleep(60)
                if line == "fail":
                    raise ApplicationError(42, "no")
                if line == "bug":
                    raise ValueError("a bug")
                if line == "business":
                    raise BizStatusError(7, "no", {"line": line})
                if line == "stop":
                    return
                yield f"{line}!"

    async def add(self, items: AsyncIterator[Any]) -> Any:
        async with self.watched():
            total = 0
            async for item in items:
                if item == "fail":
                    raise ApplicationError(42, "no")
                if item == "enough":
                    return "early"
                total += item
            return total


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing that would tell
            await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
