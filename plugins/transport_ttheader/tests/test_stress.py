"""A reply never reaches another call's caller: whole clients and a whole server, over TCP, through a proxy that harms.

Every request has a token, and whatever a caller gets, a reply or the error of a handler, has to name it. Meanwhile
calls run out of time, callers lose interest, and the proxy delays, splits, stalls, swallows, repeats and cuts.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.testing import InTurn
from elanus.testing.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "shared": ("ttheader", {"mux": True}),
    "learning": ("ttheader", {}),
    "in turns": ("ttheader", {"mux": False}),
    "unframed": ("ttheader", {"framed": False, "mux": False}),
    "framed": ("framed", {}),
    "buffered": ("buffered", {}),
    "checksums": ("ttheader", {"crc32c": True}),
}
WORKERS = 60
#: Attributes of the proxy's directions, and values that hurt.
_FAULTS: dict[Any, Any] = {
    "cut_after": (0, 100, 5_000, 50_000),
    "delay": (0.001, 0.02),
    "split": (100, 1_000),
    "stall": (True,),
    "swallow": (True,),
}
#: Also what TCP never does: bytes that come twice, or are missing, anywhere in a message. Only checksums find that.
_CORRUPTION: dict[Any, Any] = {**_FAULTS, "duplicate": (True,)}


def service_of(harness: Any) -> elanus.ServiceInfo:
    """One method with one text each way."""
    echo = replace(harness.methods["echo"], parameters=("text",))
    return replace(harness.service, methods={"echo": echo})


class Echo:
    """Answers with the text, after as long as it says, or fails with it."""

    async def echo(self, text: str = "") -> str:
        _, milliseconds, outcome, _ = text.split(" ", 3)
        await asyncio.sleep(int(milliseconds) / 1000)
        if outcome == "fail":
            raise ValueError(text)
        return text


class Stress:
    """Workers that call through a proxy, and one that changes what the proxy does."""

    def __init__(self, client: elanus.Client, proxy: FaultProxy, faults: dict[Any, Any], seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._client = client
        self._proxy = proxy
        self._faults = faults
        self._chance = random.Random(seed)
        self._left = 0
        self._number = 0

    async def run(self, calls: int) -> None:
        """Make so many calls, among faults."""
        self._left = calls
        trouble = asyncio.create_task(self._make_trouble())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            trouble.cancel()
            with suppress(asyncio.CancelledError):
                await trouble
            self._proxy.heal()

    async def _work(self) -> None:
        while self._left > 0:
            self._left -= 1
            self.outcomes[await self._one()] += 1

    async def _one(self) -> str:
        chance = self._chance
        self._number += 1
        padding = "x" * chance.choice((0, 0, 0, 10, 300, 20_000))
        outcome = "fail" if chance.random() < 0.1 else "answer"
        text = f"{self._number} {chance.choice((0, 0, 0, 0, 1, 5, 30))} {outcome} {padding}"
        client = self._client.with_options(timeout=chance.choice((0.02, 0.1, 0.5)))
        if chance.random() > 0.15:
            return await self._judge(client.echo(text), text)
        task = asyncio.ensure_future(self._judge(client.echo(text), text))
        await asyncio.sleep(chance.choice((0, 0.001, 0.01)))
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    async def _judge(self, call: Awaitable[str], text: str) -> str:
        try:
            reply = await call
        except elanus.ApplicationError as error:
            if error.message == f"biz error: {text}" or "over its deadline" in error.message:
                return "failed"
            # Headers have no checksum: what is damaged there may hide that the payload is damaged, too.
            damaged = "duplicate" in self._faults and not error.message.startswith("biz error: ")
            return "damaged" if damaged else f"the error of another: {error.message[:100]}"
        except (elanus.ConnectionLostError, elanus.NoInstanceError, elanus.RemoteProtocolError) as error:
            return type(error).__name__
        except elanus.RpcTimeoutError:
            return "timeout"
        return "answered" if reply == text else f"the answer of another: {reply[:100]}"

    async def _make_trouble(self) -> None:
        chance, proxy = self._chance, self._proxy
        kinds = [*self._faults, "reset", "close"]
        chance.shuffle(kinds)
        for trouble in cycle(kinds):
            if trouble in self._faults:
                setattr(chance.choice((proxy.up, proxy.down)), trouble, chance.choice(self._faults[trouble]))
            else:
                await proxy.cut(trouble)
            await asyncio.sleep(chance.choice((0.005, 0.03)))
            if trouble == "swallow" and self._faults is _FAULTS:
                # What was swallowed never comes. TCP has no holes: a stream that goes on behind one is damaged, and
                # only checksums find that.
                await proxy.cut("reset")
            proxy.heal()
            await asyncio.sleep(chance.choice((0.02, 0.1)))


async def stress(harness: Any, mode: str, seed: int, rounds: int, calls: int, look: Callable[[], None]) -> Counter[str]:
    """So many rounds of calls; *look* is called after each, when all is quiet."""
    service = service_of(harness)
    name, options = MODES[mode]
    checked = "crc32c" in options
    transports = [("ttheader", {"crc32c": checked})]
    server = elanus.Server(transports=transports, drain_delay=0, drain_timeout=1.0)
    server.add_service(service, Echo())
    async with FaultProxy(await server.start("127.0.0.1:0")) as proxy:
        transport = (name, options)
        client = elanus.Client(service, proxy.address, transport=transport, balancer=InTurn(), connect_timeout=0.2)
        async with client:
            run = Stress(client, proxy, _CORRUPTION if checked else _FAULTS, seed)
            for _ in range(rounds):
                await run.run(calls)
                await quiet(server, proxy)
                look()
            # When all is over, calls work as if nothing had been.
            proxy.heal()
            for _ in range(3):
                assert await client.echo("0 0 answer ") == "0 0 answer "
    await server.stop()
    return run.outcomes


async def quiet(server: elanus.Server, proxy: FaultProxy) -> None:
    """Cut what is open, and wait until nothing of it is left."""
    await proxy.cut()
    async with asyncio.timeout(10):
        while server.calls or server.connections or proxy.open:  # noqa: ASYNC110 - there is nothing that would tell
            await asyncio.sleep(0.01)


def check(outcomes: Counter[str]) -> None:
    """Every kind of end has been met, or the stress was none."""
    assert not [kind for kind in outcomes if "another" in kind], outcomes
    for kind in ("answered", "failed", "cancelled", "timeout", "ConnectionLostError"):
        assert outcomes[kind] > 0, outcomes


@pytest.mark.parametrize("mode", MODES)
async def test_replies_reach_their_own_callers(harness: Any, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")  # handlers fail by the hundred
    outcomes = await stress(harness, mode, seed=1, rounds=1, calls=4_000, look=lambda: None)
    check(outcomes)
    assert outcomes.total() == 4_000


class Usage:
    """What the process holds, round by round."""

    def __init__(self) -> None:
        self.tasks: list[int] = []
        self.descriptors: list[int] = []
        self.resident_bytes: list[int] = []

    def look(self) -> None:
        gc.collect()
        self.tasks.append(len(asyncio.all_tasks()))
        self.descriptors.append(len(os.listdir("/proc/self/fd")))
        with open("/proc/self/statm") as statm:
            self.resident_bytes.append(int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    def check(self) -> None:
        """The first rounds fill pools and caches; from then on nothing grows."""
        settled = len(self.tasks) // 4
        for counts in (self.tasks, self.descriptors):
            assert max(counts[settled:]) <= max(counts[: settled + 1]), counts
        grown = self.resident_bytes[-1] - self.resident_bytes[settled]
        assert grown < 16 * 1024 * 1024, self.resident_bytes


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["shared", "learning", "in turns", "checksums"])
async def test_a_million_calls_leave_nothing_behind(harness: Any, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    usage = Usage()
    rounds = 25
    outcomes = await stress(harness, mode, seed=2, rounds=rounds, calls=10_000, look=usage.look)
    check(outcomes)
    assert outcomes.total() == rounds * 10_000
    usage.check()
