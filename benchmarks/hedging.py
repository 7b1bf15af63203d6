"""``make hedge``: what hedging does about a tail. Two servers, every twentieth of whose replies is half a second late.

Calls begin at a fixed rate, whether or not those before have ended, and each is timed from the instant at which it was
due. First without hedging, then with hedges that a budget holds to 5 % of the calls: on connections of one call at a
time, where closing one tells the server that nobody waits, and on multiplexed ones; TTHeader has no word for it there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Any

import elanus
from elanus_retrier_budget import BackupPolicy, Budget, BudgetRetrier

from .peers.late import LATE_EACH, LATE_SECONDS
from .peers.speaking import BENCH_IDL
from .processes import Peer, python_peer

__all__ = ["Result", "experiment", "report"]

SHARE = 0.05
_WARM_UP_SECONDS = 2.0


@dataclass
class Result:
    """One of the measurements. Latencies are seconds, sorted."""

    name: str
    latencies: list[float]
    calls: int
    errors: int
    #: What the servers counted: requests, and handlers whose client did not wait for them.
    requests: int
    cancelled: int
    #: What the client counted: further attempts, and attempts that it cancelled.
    hedges: int
    lost: int

    def quantile(self, share: float) -> float:
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]

    @property
    def extra(self) -> float:
        """Requests beyond one a call, as a share of the calls."""
        return self.requests / self.calls - 1


async def experiment(servers: int, rate: float, seconds: float, delay: float) -> list[Result]:
    """Each measurement, with servers of its own."""
    results = []
    after = f"hedged after {delay * 1e3:g} ms"
    for name, hedge, mux in (("without hedging", False, False), (after, True, False), (f"{after}, mux", True, True)):
        options: dict[str, Any] = {"transport": ("ttheader", {"mux": mux})}
        if hedge:
            options["retrier"] = BudgetRetrier(BackupPolicy(delay=delay), budget=Budget(SHARE, min_per_second=0))
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(python_peer("late", "server"))) for _ in range(servers)]
            addresses = [peer.event("ready")["address"] for peer in peers]
            results.append(await _measure(name, addresses, options, rate, seconds))
    return results


async def _measure(
    name: str, addresses: Sequence[str], options: Mapping[str, Any], rate: float, seconds: float
) -> Result:
    bench = elanus.load(str(BENCH_IDL))
    request = bench.Request(message="hello")
    calls: list[asyncio.Task[_Outcome]] = []
    async with elanus.Client(bench.Bench, list(addresses), **options) as client:

        async def call(due: float) -> _Outcome:
            try:
                result = await client.invoke("echo", request)
            except elanus.ElanusError:
                return _Outcome(monotonic() - due, failed=True, hedges=0, lost=0)
            took = monotonic() - due
            attempts = result.timeline.attempts
            lost = sum(attempt.outcome == "cancelled" for attempt in attempts)
            return _Outcome(took, result.reply.message != "hello", len(attempts) - 1, lost)

        start = monotonic()
        for number in range(int((_WARM_UP_SECONDS + seconds) * rate)):
            due = start + number / rate
            await asyncio.sleep(due - monotonic())
            calls.append(asyncio.ensure_future(call(due)))
        outcomes = await asyncio.gather(*calls)
        await asyncio.sleep(0.1)  # the last one that lost is on its way to its server
        counts = [await _counts(client.with_options(target=address, retrier=None), bench) for address in addresses]
    measured = outcomes[int(_WARM_UP_SECONDS * rate) :]
    return Result(
        name,
        sorted(outcome.took for outcome in measured),
        calls=len(outcomes),
        errors=sum(outcome.failed for outcome in outcomes),
        requests=sum(count["requests"] for count in counts),
        cancelled=sum(count["cancelled"] for count in counts),
        hedges=sum(outcome.hedges for outcome in outcomes),
        lost=sum(outcome.lost for outcome in outcomes),
    )


@dataclass
class _Outcome:
    took: float
    failed: bool
    hedges: int
    lost: int


async def _counts(client: Any, bench: Any) -> dict[str, int]:
    reply = await client.echo(bench.Request(message="counts"))
    counts: dict[str, int] = json.loads(reply.message)
    return counts


def report(results: Sequence[Result], delay: float) -> tuple[list[str], bool]:
    """The table, and whether what does not depend on the machine's speed came out as it must."""
    head = f"{'':28}{'calls':>7}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}{'requests':>10}{'extra':>8}"
    lines = [head + f"{'lost':>7}{'told':>7}{'errors':>8}"]
    for result in results:
        seconds = (*map(result.quantile, (0.5, 0.9, 0.99)), result.latencies[-1])
        load = f"{result.requests:10}{result.extra:8.2%}{result.lost:7}{result.cancelled:7}{result.errors:8}"
        lines.append(f"{result.name:28}{result.calls:7}{''.join(f'{each * 1e3:9.1f}' for each in seconds)}{load}")
    hedged = results[1]
    expected = (delay + hedged.quantile(0.5)) * 1e3
    lines += [
        f"p99 was {results[0].quantile(0.99) * 1e3:.1f} ms and is {hedged.quantile(0.99) * 1e3:.1f} ms; "
        f"the delay and p50 are {expected:.1f} ms",
        "lost: attempts that the client cancelled; told: handlers that were cancelled in their sleep for it",
    ]
    return lines, all(map(_right, results))


def _right(result: Result) -> bool:
    """What must hold however slow the machine is: no call failed, each hedge had its loser and was in the budget."""
    bounded = result.hedges <= SHARE * result.calls and result.requests == result.calls + result.hedges
    return bounded and result.lost == result.hedges and result.errors == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: 0, or 1 when calls failed, the load was higher than it may be, or a loser ran on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hedging", description=__doc__)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=300.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, after a warm-up")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before the hedge")
    options = parser.parse_args(arguments)
    results = asyncio.run(experiment(options.servers, options.rate, options.seconds, options.delay))
    print(
        f"{options.servers} servers, {options.rate:g} calls a second for {options.seconds:g} s; "
        f"every {LATE_EACH}th reply of each is {LATE_SECONDS * 1e3:g} ms late"
    )
    lines, right = report(results, options.delay)
    print("\n".join(lines))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
