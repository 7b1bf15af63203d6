"""What every peer says and understands: JSON lines, flags, and what it has used so far."""

import argparse
import asyncio
import json
import os
import resource
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sampling import Sampler

__all__ = [
    "BENCH_IDL",
    "Asked",
    "Handled",
    "answer_lines",
    "asked",
    "emit",
    "raise_descriptor_limit",
    "run",
    "serve",
    "usage",
]

#: The service that every Thrift peer serves; the Go peer is generated from the same file.
BENCH_IDL = Path(__file__).resolve().parents[2] / "tests" / "interop" / "idl" / "bench.thrift"


@dataclass
class Asked:
    """The flags of a peer. Servers use ``loop`` and ``mode`` only."""

    role: str
    address: str
    concurrency: int
    payload: int
    warmup: float
    seconds: float
    loop: str
    #: What the peer itself understands by it, such as ``mux`` or ``threads``.
    mode: str
    #: ``bare``, ``full`` (metadata and a timeout), ``every-room``, or one of those of :mod:`.one_room`; a peer that has
    #: less does what it can.
    chain: str
    profile: bool


@dataclass
class Handled:
    """Counts the calls that a server's handler took."""

    calls: int = 0


def asked(modes: tuple[str, ...] = ("",), chains: tuple[str, ...] = ("bare",)) -> Asked:
    """Parse the command line; the first mode and chain are the defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("--address", default="")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--payload", type=int, default=1024)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--chain", choices=chains, default=chains[0])
    parser.add_argument("--profile", action="store_true")
    return Asked(**vars(parser.parse_args()))


def emit(event: str, **values: Any) -> None:
    """Write one line to stdout at once."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def usage() -> dict[str, float]:
    """CPU seconds (user and system, all threads) and the largest size in bytes of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "max_rss_bytes": used.ru_maxrss * unit}


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run *main* in a loop of the named kind."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def answer_lines(handled: Handled, sampler: Sampler | None, at_end: Callable[[], object]) -> None:
    """Answer ``stats`` lines in a thread, which sleeps otherwise; *at_end* is called there at stdin's end."""

    def listen() -> None:
        # Read without sys.stdin: a thread inside its lock would hinder the interpreter's shutdown.
        with open(os.dup(0), "rb", buffering=0) as lines:
            for line in lines:
                if line.strip() == b"stats":
                    samples = {} if sampler is None else {"samples": sampler.taken()}
                    emit("stats", handled=handled.calls, **usage(), **samples)
        at_end()

    threading.Thread(target=listen, name="stdin", daemon=True).start()


async def serve(start: Callable[[Handled], Awaitable[str]], profile: bool, **facts: Any) -> None:
    """Start a server inside this loop, announce it, and return when stdin ends.

    :param start: gives the address (``host:port``) once the server answers; counts into what it is given.
    :param facts: what else the ``ready`` line shall say.
    """
    raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    handled = Handled()
    sampler = Sampler() if profile else None
    address = await start(handled)
    if sampler is not None:
        sampler.start()
    answer_lines(handled, sampler, lambda: loop.call_soon_threadsafe(ended.set))
    emit("ready", address=address, pid=os.getpid(), **facts)
    await ended.wait()
    if sampler is not None:
        sampler.stop()
