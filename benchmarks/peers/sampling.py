"""A sampling profiler for peers: which function the CPU time went to, with hardly any cost of its own.

cProfile pays for every function call and so makes small functions look large. Here a timer of the process's CPU time
fires some hundred times a second, and the handler notes the stack. Python runs handlers between certain bytecodes only
(the start of a function, a call, a jump backward), so time inside C (a codec, a socket write) counts for the Python
line that called it. A handler that runs first thing in a function was due in its caller, and one that runs first thing
after an ``await`` was due in the event loop's own C code: those samples are put where they belong.
"""

import dis
import signal
from collections import Counter
from functools import cache
from types import CodeType, FrameType

__all__ = ["EVENT_LOOP", "Sampler"]

#: Stands for C code of the event loop: polling, reading sockets, stepping tasks.
EVENT_LOOP = ("<event loop>", "C code: poll, read, step tasks")

_INTERVAL_SECONDS = 0.001
#: Files whose ``run_*`` functions stand at the bottom of every stack of a loop.
_RUNNERS = ("asyncio/runners.py", "asyncio/base_events.py", "uvloop/__init__.py")

_Function = tuple[str, str]


class Sampler:
    """Counts samples per function, alone and with everything that it called. Main thread only."""

    def __init__(self) -> None:
        self._alone: Counter[_Function] = Counter()
        self._within: Counter[_Function] = Counter()

    def start(self) -> None:
        """Begin to take samples. What was taken before stays."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_SECONDS, _INTERVAL_SECONDS)

    def stop(self) -> None:
        """Take no more samples."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def taken(self) -> list[tuple[str, str, int, int]]:
        """File, function, samples in it alone, samples in it or in what it called."""
        return [(*function, self._alone[function], count) for function, count in self._within.copy().items()]

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if frame is not None and _state(frame.f_code, frame.f_lasti) == "entered":
            frame = frame.f_back
        if frame is not None and _state(frame.f_code, frame.f_lasti) == "resumed":
            frame = None
        here = _function(frame)
        self._alone[here] += 1
        stack = {here}
        while frame is not None:
            stack.add(_function(frame))
            frame = frame.f_back
        self._within.update(stack)


@cache
def _state(code: CodeType, offset: int) -> str:
    """``"entered"`` at the start of a function, ``"resumed"`` when no handler could run since an ``await``, or ``""``.

    CPython looks for signals at RESUME only when its argument is below 2; after an ``await`` it is 3.
    """
    before = [instruction for instruction in dis.get_instructions(code) if instruction.offset <= offset]
    if not before or before[-1].opname == "RESUME":
        return "entered"
    for instruction in reversed(before[:-1]):
        if instruction.opname == "RESUME":
            return "resumed" if (instruction.arg or 0) >= 2 else ""
        if instruction.opname == "JUMP_BACKWARD" or instruction.opname.startswith("CALL"):
            return ""
    return ""


def _function(frame: FrameType | None) -> _Function:
    if frame is None or frame.f_code.co_filename.endswith(_RUNNERS):
        return EVENT_LOOP
    return frame.f_code.co_filename, frame.f_code.co_qualname
