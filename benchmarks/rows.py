"""What is compared: one row per pair of server and client, and the workloads that each runs."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elanus.plugins import installed_plugins

from .peers.one_room import NEEDS, ROOM_CHAINS
from .processes import python_peer

__all__ = [
    "FLOOR",
    "OURS",
    "ROWS",
    "WORKLOADS",
    "Row",
    "Side",
    "Workload",
    "chosen",
    "chosen_workloads",
    "room_row",
]


@dataclass(frozen=True, slots=True)
class Workload:
    """An echo of *payload* bytes, *concurrency* calls in flight."""

    payload: int
    concurrency: int

    @property
    def key(self) -> str:
        """How the command line names it."""
        return f"{self.payload}x{self.concurrency}"

    def __str__(self) -> str:
        size = f"{self.payload // 1024} KB" if self.payload >= 1024 else f"{self.payload} B"
        return f"{size}, {self.concurrency} in flight"


#: In the order of the report; the first is the one that everything runs.
WORKLOADS = (Workload(1024, 100), Workload(1024, 1), Workload(100, 100), Workload(16 * 1024, 100))
_FIRST, _BOTH, _ALL = WORKLOADS[:1], WORKLOADS[:2], WORKLOADS


@dataclass(frozen=True, slots=True)
class Side:
    """One program of a pair. *program* is a module of ``benchmarks.peers``, or ``kitex`` for the Go peer."""

    program: str
    flags: tuple[str, ...] = ()

    def command(self, role: str, kitex: Path | None, *more: str) -> list[str]:
        """The command line of this side as ``server`` or ``client``."""
        if self.program != "kitex":
            return python_peer(self.program, role, *self.flags, *more)
        assert kitex is not None, "rows with Kitex are left out where there is no Go peer"
        return [str(kitex), f"bench-{role}", *self.flags, *(["--follow-stdin"] if role == "server" else []), *more]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    server: Side
    client: Side
    workloads: tuple[Workload, ...] = _FIRST

    @property
    def needs_kitex(self) -> bool:
        return "kitex" in (self.server.program, self.client.program)

    @property
    def family(self) -> str:
        """``raw``, ``elanus``, ``thriftpy2``, ``grpc``, ``kitex`` or ``mixed``."""
        programs = {self.server.program, self.client.program}
        return "mixed" if len(programs) > 1 else programs.pop().removeprefix("rpc_")


def _pair(name: str, program: str, *flags: str, workloads: tuple[Workload, ...] = _FIRST) -> Row:
    return Row(name, Side(program, flags), Side(program, flags), workloads)


def _elanus(*flags: str) -> Side:
    return Side("rpc_elanus", flags)


def _kitex(*flags: str) -> Side:
    return Side("kitex", flags)


def _kitex_pair(name: str, server: str, client: str, workloads: tuple[Workload, ...]) -> Row:
    return Row(name, _kitex(*server.split()), _kitex(*client.split()), workloads)


def room_row(chain: str) -> str:
    """The name of the row of a chain of :mod:`benchmarks.peers.one_room`."""
    return f"elanus mux {chain}"


def _rooms() -> list[Row]:
    """A row for each chain whose parts are installed."""
    installed = installed_plugins()
    return [
        _pair(room_row(chain), "rpc_elanus", "--mode", "mux", "--chain", chain)
        for chain in ROOM_CHAINS
        if all(name in installed.names(kind) for kind, name in NEEDS.get(chain, ()))
    ]


_METADATA_AND_TIMEOUT = "--metadata --timeout-ms 1000"
_FULL = ("--chain", "full")

#: ``full``: metadata and a timeout of 1 s on every call. ``bare``: neither.
ROWS = (
    _pair("raw uvloop", "raw", workloads=_ALL),
    _pair("raw asyncio", "raw", "--loop", "asyncio"),
    _pair("elanus mux uvloop full", "rpc_elanus", "--mode", "mux", workloads=_ALL),
    _pair("elanus mux uvloop bare", "rpc_elanus", "--mode", "mux", "--chain", "bare", workloads=_BOTH),
    _pair("elanus mux uvloop every-room", "rpc_elanus", "--mode", "mux", "--chain", "every-room", workloads=_BOTH),
    _pair("elanus mux asyncio full", "rpc_elanus", "--mode", "mux", "--loop", "asyncio", workloads=_BOTH),
    *_rooms(),
    _pair("elanus ping-pong uvloop full", "rpc_elanus", "--mode", "pingpong", workloads=_ALL),
    _pair("elanus ping-pong uvloop bare", "rpc_elanus", "--mode", "pingpong", "--chain", "bare", workloads=_BOTH),
    _pair("elanus ping-pong asyncio full", "rpc_elanus", "--mode", "pingpong", "--loop", "asyncio", workloads=_BOTH),
    _pair("thriftpy2 threads bare", "rpc_thriftpy2", "--mode", "threads", workloads=_ALL),
    _pair("thriftpy2 aio uvloop bare", "rpc_thriftpy2", workloads=_ALL),
    _pair("thriftpy2 aio uvloop timeout", "rpc_thriftpy2", *_FULL),
    _pair("thriftpy2 aio asyncio bare", "rpc_thriftpy2", "--loop", "asyncio"),
    _pair("grpc.aio uvloop bare", "rpc_grpc", workloads=_ALL),
    _pair("grpc.aio uvloop full", "rpc_grpc", *_FULL, workloads=_BOTH),
    _pair("grpc.aio asyncio bare", "rpc_grpc", "--loop", "asyncio"),
    _kitex_pair("kitex ping-pong bare", "", "--transport ttheader", _BOTH),
    _kitex_pair("kitex ping-pong metadata", "--metadata", "--transport ttheader --metadata", _FIRST),
    _kitex_pair("kitex ping-pong full", "--metadata", f"--transport ttheader {_METADATA_AND_TIMEOUT}", _ALL),
    _kitex_pair("kitex mux bare", "--mux", "--transport mux", _BOTH),
    _kitex_pair("kitex mux full", "--mux --metadata", f"--transport mux {_METADATA_AND_TIMEOUT}", _BOTH),
    Row(
        "kitex ping-pong -> elanus",
        _elanus(),
        _kitex("--transport", "ttheader", *_METADATA_AND_TIMEOUT.split()),
        _BOTH,
    ),
    Row("kitex mux -> elanus", _elanus(), _kitex("--transport", "mux", *_METADATA_AND_TIMEOUT.split()), _BOTH),
    Row("elanus ping-pong -> kitex", _kitex("--metadata"), _elanus("--mode", "pingpong"), _BOTH),
    Row("elanus mux -> kitex", _kitex("--mux", "--metadata"), _elanus("--mode", "mux"), _BOTH),
)

#: What every other row is compared with.
FLOOR = "raw uvloop"
OURS = ("elanus mux uvloop full", "elanus ping-pong uvloop full")


def chosen_workloads(keys: Sequence[str]) -> list[Workload]:
    """The workloads of these keys (``1024x100``), in the order of the report; none: all.

    :raises ValueError: a key is unknown.
    """
    known = {workload.key: workload for workload in WORKLOADS}
    for key in keys:
        if key not in known:
            raise ValueError(f"no workload {key!r}; there are: {', '.join(known)}")
    return [workload for key, workload in known.items() if not keys or key in keys]


def chosen(patterns: Sequence[str]) -> list[Row]:
    """The rows whose name matches one of the patterns (``raw*``, ``*mux*``), in the order of the table; none: all.

    :raises ValueError: a pattern matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(row.name, pattern) for row in ROWS):
            raise ValueError(f"no row matches {pattern!r}; there are:\n  " + "\n  ".join(row.name for row in ROWS))
    return [row for row in ROWS if not patterns or any(fnmatch.fnmatchcase(row.name, p) for p in patterns)]
