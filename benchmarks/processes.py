"""A peer's process as the harness sees it: started on its core, spoken to in JSON lines, ended by its own pid."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .cores import pinned

__all__ = ["Peer", "PeerFailedError", "python_peer"]

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that a peer may stay silent beyond the time that it was told to take. It bounds a hang.
PATIENCE_SECONDS = 30.0


class PeerFailedError(RuntimeError):
    """A peer ended or stayed silent; the text has the end of its log."""


def python_peer(module: str, role: str, *flags: str) -> list[str]:
    """The command of a peer in :mod:`benchmarks.peers`."""
    return [sys.executable, "-m", f"benchmarks.peers.{module}", role, *flags]


class Peer:
    """One process, from ``with`` on until that is left.

    :param command: the executable and its arguments.
    :param core: where it runs, and nowhere else; ``None`` leaves that to the system.
    """

    def __init__(self, command: Sequence[str], core: int | None = None) -> None:
        self._command = command
        self._core = core
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def __enter__(self) -> Self:
        # A file never fills up as a pipe does.
        self._log = tempfile.TemporaryFile()
        with pinned(self._core):
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_SECONDS if error is None else 1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def event(self, name: str, seconds: float = 0.0) -> dict[str, Any]:
        """The next event of that name; others before it are dropped. The peer may take *seconds* and some patience.

        :raises PeerFailedError: none came.
        """
        while True:
            try:
                event = self._events.get(timeout=seconds + PATIENCE_SECONDS)
            except queue.Empty:
                raise self._failed(f"gave no event {name!r} in time") from None
            if event is None:
                raise self._failed(f"ended before its event {name!r}")
            if event["event"] == name:
                return event

    def stats(self) -> dict[str, Any]:
        """Ask a server for what it has used and handled so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("stats\n")
        self._process.stdin.flush()
        return self.event("stats")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _failed(self, what: str) -> PeerFailedError:
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")[-3000:]
        shown = " ".join(["python" if part == sys.executable else part for part in self._command])
        return PeerFailedError(f"{shown} {what}; the end of its log:\n{log}")
