"""``make overload``: three times more calls than a server can serve, without a limiter and with either of those that
come with elanus. A real server on its own core, loopback TCP, callers that do not wait for each other.

Calls begin at a fixed rate, whether or not those before have ended; each gives up after two seconds and is timed from
the instant at which it was due. Goodput is what is answered, a second.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import elanus

from .cores import Moment, disturbance, pinned, usable
from .peers.limited import LIMITER, WORK_SECONDS, WORKERS
from .peers.speaking import BENCH_IDL
from .processes import Peer, python_peer

__all__ = ["Result", "experiment", "report"]

#: What the server can do, in calls a second, if nothing but its work took time.
CAPACITY = WORKERS / WORK_SECONDS
TIMEOUT_SECONDS = 2.0
#: What overloaded goodput must be of the peak, and what an admitted call may take: so many times the unloaded p99.
LEAST_GOODPUT, MOST_LATENCY = 0.8, 3.0


@dataclass
class Result:
    """One of the measurements. Latencies are seconds, sorted, of the calls that were answered."""

    name: str
    rate: float
    seconds: float
    latencies: list[float]
    refused: int
    late: int
    others: int
    #: The share of the time in which other processes had the server's core; ``None`` where the system does not tell.
    disturbed: float | None = None

    @property
    def goodput(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        if not self.latencies:
            return float("nan")
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


async def experiment(factor: float, seconds: float, warm_up: float) -> list[Result]:
    """Each measurement, with a server of its own: unloaded, as much as it can do, and too much in three ways."""

    async def measure(name: str, rate: float, limiter: object = None) -> Result:
        return await _with_server(name, rate, limiter, seconds, warm_up)

    unloaded = await measure("unloaded", 0.2 * CAPACITY)
    peak = await measure("just what it can do", 0.95 * CAPACITY)
    token = ["token", {"qps": round(peak.goodput), "concurrency": 2 * WORKERS}]
    return [
        unloaded,
        peak,
        await measure(f"{factor:g} x, no limiter", factor * CAPACITY),
        await measure(f"{factor:g} x, token", factor * CAPACITY, token),
        await measure(f"{factor:g} x, adaptive", factor * CAPACITY, "adaptive"),
        await measure(f"{factor:g} x, adaptive (aimd)", factor * CAPACITY, ["adaptive", {"algorithm": "aimd"}]),
    ]


async def _with_server(name: str, rate: float, limiter: object, seconds: float, warm_up: float) -> Result:
    os.environ[LIMITER] = json.dumps(limiter)
    with Peer(python_peer("limited", "server"), usable().server) as peer:
        address, core, before = peer.event("ready")["address"], usable().server, monotonic()
        then = Moment.of(core, peer.pid)
        result = await _measure(name, address, rate, seconds, warm_up)
        result.disturbed = disturbance(then, Moment.of(core, peer.pid), monotonic() - before)
        return result


async def _measure(name: str, address: str, rate: float, seconds: float, warm_up: float) -> Result:
    bench = elanus.load(str(BENCH_IDL))
    request = bench.Request(message="hello")
    calls: list[asyncio.Task[tuple[float, str]]] = []
    transport = ("ttheader", {"mux": True})
    async with elanus.Client(bench.Bench, [address], transport=transport, timeout=TIMEOUT_SECONDS) as client:

        async def call(due: float) -> tuple[float, str]:
            try:
                reply = await client.echo(request)
            except elanus.RpcTimeoutError:
                return 0.0, "late"
            except elanus.ApplicationError as error:
                return 0.0, "refused" if error.message.startswith("request over limit") else _unless_late(error)
            except elanus.ElanusError:
                return 0.0, "other"
            return monotonic() - due, "ok" if reply.message == "hello" else "other"

        start = monotonic()
        for number in range(int((warm_up + seconds) * rate)):
            due = start + number / rate
            if due > monotonic():
                await asyncio.sleep(due - monotonic())
            calls.append(asyncio.ensure_future(call(due)))
        outcomes = (await asyncio.gather(*calls))[int(warm_up * rate) :]
    kinds = [kind for _, kind in outcomes]
    return Result(
        name,
        rate,
        seconds,
        sorted(took for took, kind in outcomes if kind == "ok"),
        refused=kinds.count("refused"),
        late=kinds.count("late"),
        others=kinds.count("other"),
    )


def _unless_late(error: elanus.ApplicationError) -> str:
    """A server says so too, when a handler has run over the deadline that its caller sent."""
    return "late" if "deadline" in error.message else "other"


def report(results: Sequence[Result]) -> tuple[list[str], bool]:
    """The table, and whether what elanus promises of its adaptive limiter came out."""
    unloaded, peak = results[:2]
    lines = [
        f"{'':26}{'calls/s':>9}{'goodput':>9}{'of peak':>9}{'p50 ms':>9}{'p99 ms':>9}{'of unloaded':>13}"
        f"{'refused':>9}{'late':>7}{'other':>7}{'disturbed':>11}"
    ]
    for one in results:
        p50, p99, ratio = f"{'-':>9}", f"{'-':>9}", f"{'-':>13}"
        if one.latencies:
            p50, p99 = (f"{1e3 * one.quantile(share):9.1f}" for share in (0.5, 0.99))
            ratio = f"{one.quantile(0.99) / unloaded.quantile(0.99):11.1f} x"
        lines.append(
            f"{one.name:26}{one.rate:9.0f}{one.goodput:9.0f}{one.goodput / peak.goodput:9.0%}{p50}{p99}"
            f"{ratio}{one.refused:9}{one.late:7}{one.others:7}{_percent(one.disturbed):>11}"
        )
    lines.append("disturbed: the share of the time in which other processes had the server's core")
    kept = all(
        one.goodput >= LEAST_GOODPUT * peak.goodput
        and one.quantile(0.99) <= MOST_LATENCY * unloaded.quantile(0.99)
        and not one.others
        for one in results
        if "adaptive" in one.name
    )
    return lines, kept


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: 0, or 1 when the adaptive limiter did not keep goodput and latency within their bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--factor", type=float, default=3.0, help="how many times more than it can do")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds before each")
    options = parser.parse_args(arguments)
    cores = usable()
    print(
        f"a server with {WORKERS} workers, each of which takes {WORK_SECONDS * 1e3:g} ms for a call: at most "
        f"{CAPACITY:g} calls a second; {options.seconds:g} s each; {cores}",
        flush=True,
    )
    with pinned(cores.client):
        results = asyncio.run(experiment(options.factor, options.seconds, options.warm_up))
    lines, kept = report(results)
    print("\n".join(lines))
    print(
        f"asked of the adaptive limiter: goodput of at least {LEAST_GOODPUT:.0%} of the peak, and a p99 within "
        f"{MOST_LATENCY:g} x the unloaded one: {'kept' if kept else 'NOT KEPT'}"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
