"""How long imports take: the wall time of fresh interpreters, less that of one that imports nothing."""

import os
import subprocess
import sys
import time
from statistics import median

from .peers.speaking import BENCH_IDL

__all__ = ["imports"]

_TIMES = 20
_AIM_MS = 100.0
_BUILD = f"import elanus; b = elanus.load({str(BENCH_IDL)!r}); elanus.Client(b.Bench, '127.0.0.1:1')"
_SERVE = "s = elanus.Server(); s.add_service(b.Bench, type('H', (), {'echo': lambda self, req: None})())"
_STATEMENTS = (
    ("nothing (a bare interpreter)", "pass"),
    ("import elanus", "import elanus"),
    ("elanus.Client", "import elanus; elanus.Client"),
    ("elanus.Client and elanus.Server", "import elanus; elanus.Client; elanus.Server"),
    ("a client, built (loads an IDL and three plugins)", _BUILD),
    ("a client and a server, built", f"{_BUILD}; {_SERVE}"),
    ("for comparison: import asyncio", "import asyncio"),
    ("for comparison: import grpc.aio", "import grpc.aio"),
)


def imports() -> list[str]:
    """Medians of 20, interleaved, as lines."""
    taken: dict[str, list[float]] = {what: [] for what, _ in _STATEMENTS}
    for _, statement in _STATEMENTS:
        _run(statement)  # writes bytecode, and shows an error before anything is measured
    for _ in range(_TIMES):
        for what, statement in _STATEMENTS:
            started = time.perf_counter()
            _run(statement)
            taken[what].append(time.perf_counter() - started)
    bare = median(taken[_STATEMENTS[0][0]])
    lines = [f"  ms  above a bare interpreter, which takes {bare * 1e3:.0f} ms (medians of {_TIMES})"]
    lines += [f"{(median(taken[what]) - bare) * 1e3:5.0f}  {what}" for what, _ in _STATEMENTS[1:]]
    elanus = (median(taken["import elanus"]) - bare) * 1e3
    lines.append(f"aim: import elanus under {_AIM_MS:.0f} ms: {'reached' if elanus < _AIM_MS else 'MISSED'}")
    return lines


def _run(statement: str) -> None:
    # -I would hide an editable workspace's .pth files no less than a user's PYTHONPATH; only the latter is unwanted.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
    subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=True, env=environment)
