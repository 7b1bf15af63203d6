"""Which core a process runs on, and whether it had that core to itself: what makes a round worth keeping."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cores", "Moment", "disturbance", "pinned", "resident_bytes", "usable"]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of each side, or ``None`` where processes cannot be pinned."""

    server: int | None
    client: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "no pinning on this system: the scheduler moves both sides"
        if self.server == self.client:
            return f"ONE CORE: server and client share core {self.server}, so calls per second are halved and more"
        return f"server on core {self.server}, client on core {self.client}"


def usable() -> Cores:
    """One core for each side, of those that this process may use: the last two, since interrupts prefer the first."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[-1], allowed[-2] if len(allowed) > 1 else allowed[-1])


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Processes that are started inside inherit *core*, so they never run elsewhere, and Go counts one CPU."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a core and the one process that shall have it have used so far, in seconds."""

    #: User and system time of everything that ran on the core. Interrupts are left out: loopback traffic raises them.
    busy: float
    #: Time that the hypervisor gave to another machine.
    stolen: float
    own: float

    @classmethod
    def of(cls, core: int | None, pid: int) -> "Moment | None":
        """``None`` where the system does not tell (anything but Linux)."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
            fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
            process = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, StopIteration):
            return None
        user, nice, system, stolen = (int(fields[index]) for index in (1, 2, 3, 8))
        own = int(process[11]) + int(process[12])
        return cls(*(ticks / _TICKS_PER_SECOND for ticks in (user + nice + system, stolen, own)))


def disturbance(before: Moment | None, after: Moment | None, seconds: float) -> float | None:
    """The share (0 to 1) of a window in which others had the core; ``None`` when that cannot be known."""
    if before is None or after is None:
        return None
    foreign = (after.busy - before.busy) - (after.own - before.own)
    return max(foreign, 0.0) / seconds + (after.stolen - before.stolen) / seconds


def resident_bytes(pid: int, *, peak: bool = False) -> int | None:
    """The resident size of a process, now or at its largest; ``None`` when the system does not tell.

    rusage would give the size of the process that started it, when that was larger.
    """
    wanted = "VmHWM:" if peak else "VmRSS:"
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted)), None)
