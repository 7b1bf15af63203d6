"""What a client does before its first call: look-ups and connections."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from elanus.errors import ElanusError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from elanus.net.discovery import FixedInstances, WatchedInstances
    from elanus.net.pool import Pool
    from elanus.options import WarmUp

__all__ = ["warm_up"]

_log = logging.getLogger("elanus.discovery")

_LEVELS = {"ignore": logging.DEBUG, "warning": logging.WARNING, "error": logging.ERROR}


async def warm_up(
    plan: WarmUp,
    instances: Iterable[FixedInstances | WatchedInstances],
    pool: Pool,
    lanes: Iterable[str],
    connect_timeout: float,
) -> None:
    """Look up every one of *instances*, and connect to those of the first (or to the targets of *plan*) on all *lanes*.

    :raises ElanusError: something failed, and the plan says ``"fail"``. Otherwise failures are logged as it says.
    """
    wanted = list(instances)
    await asyncio.gather(*(_tolerant(plan, one.first()) for one in wanted))
    addresses = plan.targets or [instance.address for instance in wanted[0].instances]
    turns = asyncio.Semaphore(plan.parallel)

    async def connect(address: str, lane: str) -> None:
        async with turns:
            await _tolerant(plan, pool.group(address, lane).add(connect_timeout))

    await asyncio.gather(
        *(connect(address, lane) for address in addresses for lane in set(lanes) for _ in range(plan.connections))
    )


async def _tolerant(plan: WarmUp, step: Awaitable[object]) -> None:
    try:
        await step
    except ElanusError as error:
        if plan.on_error == "fail":
            raise
        _log.log(_LEVELS[plan.on_error], "warm-up: %s", error)
