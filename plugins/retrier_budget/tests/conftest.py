"""How hypothesis runs here: a slow machine is no failure. And a service that behaves as a test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import elanus
from elanus.testing import JsonCodec, connected, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

settings.register_profile("elanus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("elanus")

_idl = JsonCodec().loads(
    """
    exception Problem(message)

    service Shop {
      find(request) throws Problem
      pay(request) throws Problem
    }
    """,
    "shop.jsonidl",
)


class Shop:
    """Does what a test says, and counts: ``behave(number, call)`` for the request of that number, from 0."""

    #: Of Kitex's own tests (``kitex-tests thriftrpc/retrycall``): seconds for an attempt, and those of a slow one.
    attempt_timeout = 0.040
    slow = 0.060

    Problem = _idl.Problem

    def __init__(self, behave: Callable[[int, elanus.Call], Awaitable[Any]]) -> None:
        self._behave = behave
        #: Requests, those that were marked as retries, and those whose client did not wait for the reply.
        self.requests = 0
        self.retries = 0
        self.abandoned = 0

    async def find(self, request: Any) -> Any:
        call = elanus.current_call()
        number = self.requests
        self.requests += 1
        self.retries += call.retried
        try:
            return await self._behave(number, call)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise

    pay = find

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[elanus.Client]:
        """A client of this shop."""
        async with connected(_idl.Shop, self, **options) as client:
            yield client

    @staticmethod
    def slow_each(count: int) -> Shop:
        """One whose first request takes long, and then each that many requests one."""

        async def behave(number: int, call: elanus.Call) -> Any:
            await asyncio.sleep(Shop.slow if number % count == 0 else 0)
            return "reply"

        return Shop(behave)

    @staticmethod
    async def calls(client: elanus.Client, count: int, **options: Any) -> list[str]:
        """The outcomes of that many calls, one after the other: ``"ok"``, or the text of the error."""
        outcomes = []
        for _ in range(count):
            try:
                await client.with_options(**options).find("tea")
            except elanus.ElanusError as error:
                outcomes.append(str(error))
            else:
                outcomes.append("ok")
        return outcomes


@pytest.fixture
def shop() -> type[Shop]:
    return Shop


@pytest.fixture
def virtual() -> Callable[..., Any]:
    """Runs a coroutine in virtual time."""
    return run_virtual
