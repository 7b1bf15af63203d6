"""The closed loop that every Python client drives: so many calls in flight, each reply checked, latencies counted."""

import asyncio
import math
import os
import resource
from array import array
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from time import perf_counter
from typing import Any

from .sampling import Sampler
from .speaking import Asked, emit, usage

__all__ = ["Latencies", "Run", "messages"]

#: Latencies below this many microseconds are counted by the microsecond; slower ones are kept one by one.
FINE_US = 100_000
#: A client that fails this often will not recover: it stops and says why.
ERROR_LIMIT = 1_000


def messages(worker: int, payload: int) -> list[str]:
    """Two messages of *payload* characters that no other worker has.

    They alternate, so that neither another caller's reply nor the one before can pass for the right one.
    """
    return [f"{worker:05d}-{turn} ".ljust(payload, "x")[:payload] for turn in "ab"]


class Latencies:
    """Durations, counted in fixed memory: a list of a million samples would show in the process's size."""

    def __init__(self) -> None:
        self._counts = array("L", bytes(array("L").itemsize * FINE_US))
        self._slow: list[float] = []

    def add(self, seconds: float) -> None:
        try:
            self._counts[int(seconds * 1e6)] += 1
        except IndexError:
            self._slow.append(seconds * 1e6)

    @property
    def total(self) -> int:
        return sum(self._counts) + len(self._slow)

    def percentile_us(self, share: float) -> float:
        """The duration that *share* (0 to 1) of the samples do not exceed; 0 without samples."""
        rank = math.ceil(share * self.total)
        for index, count in enumerate(self._counts):
            rank -= count
            if count and rank <= 0:
                return index + 0.5
        return sorted(self._slow)[rank - 1] if self._slow else 0.0

    def mean_us(self) -> float:
        fine = sum((index + 0.5) * count for index, count in enumerate(self._counts) if count)
        return (fine + sum(self._slow)) / max(self.total, 1)


class Run:
    """One measurement of one client. Counts are those of calls that began and ended within the window, except wrong
    replies and errors, which count whenever they come.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.measuring = False
        self.stopping = False
        self.latencies = Latencies()
        #: Durations that threads measured; appending is atomic, where counting would not be.
        self.of_threads: list[float] = []
        self.decoded = 0
        self.wrong = 0
        self.errors = 0
        self.last_error: str | None = None
        self._sampler = Sampler() if asked.profile else None
        self._before: dict[str, float] = {}
        self._started = 0.0

    def failed(self, error: BaseException) -> None:
        self.errors += 1
        self.last_error = repr(error)
        if self.errors >= ERROR_LIMIT:
            self.stopping = True

    async def work(self, call: Callable[[Any], Awaitable[Any]], requests: Sequence[Any]) -> None:
        """Call, check that the reply carries the request's message, call again, until the run stops."""
        add = self.latencies.add
        for request in cycle(requests):
            if self.stopping:
                return
            counted = self.measuring
            started = perf_counter()
            try:
                reply = await call(request)
            except Exception as error:
                self.failed(error)
                await asyncio.sleep(0)
                continue
            elapsed = perf_counter() - started
            if reply.message != request.message:
                self.wrong += 1
            elif counted and self.measuring:
                self.decoded += 1
                add(elapsed)

    def open(self) -> None:
        """Open the window."""
        emit("measuring", pid=os.getpid())
        if self._sampler is not None:
            self._sampler.start()
        self._before = _usage_and_switches()
        self._started = perf_counter()
        self.measuring = True

    def close(self, **facts: Any) -> None:
        """Close the window and print the result; *facts* join it."""
        self.measuring = False
        seconds = perf_counter() - self._started
        after = _usage_and_switches()
        if self._sampler is not None:
            self._sampler.stop()
            facts["samples"] = self._sampler.taken()
        for elapsed in self.of_threads:
            self.latencies.add(elapsed)
        self.decoded += len(self.of_threads)
        calls = self.latencies.total
        cpu = after["cpu_seconds"] - self._before["cpu_seconds"]
        emit(
            "result",
            calls=calls,
            seconds=seconds,
            calls_per_second=calls / seconds,
            p50_us=self.latencies.percentile_us(0.5),
            p99_us=self.latencies.percentile_us(0.99),
            mean_us=self.latencies.mean_us(),
            cpu_seconds=cpu,
            cpu_us_per_call=cpu * 1e6 / max(calls, 1),
            decoded_replies=self.decoded,
            wrong_replies=self.wrong,
            errors=self.errors,
            last_error=self.last_error,
            max_rss_bytes=after["max_rss_bytes"],
            involuntary_switches=after["involuntary_switches"] - self._before["involuntary_switches"],
            **facts,
        )
        self.stopping = True

    async def measure(self, works: Sequence[Awaitable[None]], **facts: Any) -> None:
        """Run *works* (one per call in flight) through warm-up and window, and report."""
        tasks = [asyncio.ensure_future(work) for work in works]
        await asyncio.sleep(self.asked.warmup)
        self.open()
        await asyncio.sleep(self.asked.seconds)
        self.close(**facts)
        await asyncio.gather(*tasks)


def _usage_and_switches() -> dict[str, float]:
    return {**usage(), "involuntary_switches": resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw}
