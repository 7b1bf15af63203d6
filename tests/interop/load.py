"""A steady load of an elanus client, each reply checked against its own request, as ``kitexpeer load`` makes one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import elanus

__all__ = ["Load"]


@dataclass
class Load:
    """Workers that each make one call of ``sleep`` after the other, so that calls are in flight at any time.

    :param client: of ``Interop``, started.
    :param pause: seconds between two calls of a worker.
    """

    client: elanus.Client
    workers: int = 10
    milliseconds: int = 20
    pause: float = 0.005
    ok: int = 0
    wrong: int = 0
    errors: list[Exception] = field(default_factory=list)
    #: Right answers by the address they came from.
    by_instance: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._running = True
        self._ended = asyncio.Event()
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in range(self.workers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Begin no more calls, and wait for those in flight."""
        self._running = False
        await asyncio.gather(*self._tasks)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until *condition* holds, which may change when a call ends; the test's own limit ends a wait in vain."""
        while not condition():
            self._ended.clear()
            await self._ended.wait()

    async def _work(self, worker: int) -> None:
        number = 0
        while self._running:
            number += 1
            token = f"{worker}-{number}"
            try:
                result = await self.client.invoke("sleep", self.milliseconds, token)
            except elanus.ElanusError as error:
                self.errors.append(error)
            else:
                self._count(result, token)
            self._ended.set()
            await asyncio.sleep(self.pause)

    def _count(self, result: elanus.Result, token: str) -> None:
        if result.reply != token:
            self.wrong += 1
            return
        self.ok += 1
        address = str(result.instance)
        self.by_instance[address] = self.by_instance.get(address, 0) + 1
