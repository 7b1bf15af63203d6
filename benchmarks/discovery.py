"""``python -m benchmarks --discovery``: how a resolver and the instance cache stand a large fleet in a real etcd.

One service of 2,000 instances: the first look-up, how soon a change is seen, and what an instance costs in memory. Then
500 services: all of them looked up by one client process.
"""

import asyncio
import gc
import json
import statistics
import tempfile
import tracemalloc
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.integration.build_servers import ETCD
from tests.integration.servers import EtcdServer

from elanus.plugins import installed_plugins

INSTANCES = 2_000
SERVICES = 500
CHANGES = 200
_PREFIX = "kitex/registry-etcd"


def measure_discovery() -> list[str]:
    """The measurements, as lines of text with the aims beside them."""
    with tempfile.TemporaryDirectory(prefix="elanus-bench-") as folder:
        server = EtcdServer(ETCD.binary(), Path(folder))
        server.start()
        try:
            return asyncio.run(_measure(server))
        finally:
            server.kill()


async def _measure(server: EtcdServer) -> list[str]:
    resolver = installed_plugins().select("resolver", ("etcd", {"endpoints": [server.address]}))
    try:
        lines = [f"etcd {server.version()}, {INSTANCES:,} instances of one service"]
        lines += await _one_large_service(server, resolver)
        lines += [f"{SERVICES} services of one instance", await _many_services(server, resolver)]
        return lines
    finally:
        await resolver.aclose()


async def _one_large_service(server: EtcdServer, resolver: Any) -> list[str]:
    await asyncio.to_thread(_fill, server, "large", INSTANCES)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    async with aclosing(resolver.watch("large")) as sets:
        started = perf_counter()
        instances = await anext(sets)
        first = perf_counter() - started
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        if len(instances) != INSTANCES:
            raise RuntimeError(f"{len(instances)} instances were found, not {INSTANCES}")
        seen = [await _seen_after(server, sets, number) for number in range(CHANGES)]
    seen.sort()
    return [
        _line("first look-up (with memory traced)", f"{first * 1e3:.0f} ms", first < 1.0, "1 s"),
        _line("a change is seen, median", f"{statistics.median(seen) * 1e3:.1f} ms", True, ""),
        _line("a change is seen, p99", f"{seen[int(CHANGES * 0.99)] * 1e3:.1f} ms", seen[-2] < 0.2, "200 ms"),
        _line("memory of an instance", f"{held / INSTANCES:.0f} B", held / INSTANCES < 2048, "2 KiB"),
    ]


async def _seen_after(server: EtcdServer, sets: Any, number: int) -> float:
    """Seconds from writing a new weight to a set that has it."""
    weight = 100 + number
    started = perf_counter()
    await asyncio.to_thread(_put, server, "large", number, weight)
    while not any(instance.weight == weight for instance in await anext(sets)):
        pass
    return perf_counter() - started


async def _many_services(server: EtcdServer, resolver: Any) -> str:
    for number in range(SERVICES):
        await asyncio.to_thread(_put, server, f"service-{number}", number, 10)
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(aclosing(resolver.watch(f"service-{n}"))) for n in range(SERVICES)]
        started = perf_counter()
        found = await asyncio.gather(*(anext(watch) for watch in watches))
        took = perf_counter() - started
    if not all(len(instances) == 1 for instances in found):
        raise RuntimeError("a service was not found")
    return _line("all looked up", f"{took * 1e3:.0f} ms", took < 1.0, "1 s")


def _fill(server: EtcdServer, service: str, count: int) -> None:
    for number in range(count):
        _put(server, service, number, 10)


def _put(server: EtcdServer, service: str, number: int, weight: int) -> None:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:8888"
    value = {"network": "tcp", "address": address, "weight": weight, "tags": {"zone": "a"}}
    server.put(f"{_PREFIX}/{service}/{address}", json.dumps(value))


def _line(what: str, value: str, reached: bool, aim: str) -> str:
    verdict = f"aim: under {aim}, {'reached' if reached else 'MISSED'}" if aim else ""
    return f"  {what:36} {value:>10}  {verdict}".rstrip()
