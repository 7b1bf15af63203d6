"""The tracer suite, kept by a tracer that notes what it is told; and tracers that break the contract are caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elanus.contracts.tracer import Tracer
from elanus.testing.tracer import TracerSuite

if TYPE_CHECKING:
    from elanus.call import Call


class NotingTracer(Tracer):
    """Notes names, not calls."""

    name = "noting"

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def start(self, call: Call) -> None:
        self.notes.append(("start", call.method.name))

    def event(self, call: Call, event: str, detail: object = None) -> None:
        self.notes.append((event, call.method.name))

    def finish(self, call: Call, error: BaseException | None) -> None:
        self.notes.append(("finish" if error is None else type(error).__name__, call.method.name))


class TestNotingTracer(TracerSuite):
    def tracer(self) -> Tracer:
        return NotingTracer()


class KeepsCalls(NotingTracer):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def start(self, call: Call) -> None:
        self.calls.append(call)


class ExpectsAnInstance(NotingTracer):
    def finish(self, call: Call, error: BaseException | None) -> None:
        assert call.instance is not None


class ExpectsAStack(NotingTracer):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[int] = []

    def start(self, call: Call) -> None:
        self.stack.append(id(call))

    def finish(self, call: Call, error: BaseException | None) -> None:
        assert self.stack.pop() == id(call)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (KeepsCalls, "test_it_lets_go_of_a_finished_call"),
        (ExpectsAnInstance, "test_a_call_that_got_nowhere"),
        (ExpectsAStack, "test_calls_inside_one_another_and_side_by_side"),
        (ExpectsAStack, "test_calls_in_many_tasks"),
    ],
)
def test_the_suite_catches_a_fault(fault: type[Tracer], test: str) -> None:
    class Suite(TracerSuite):
        def tracer(self) -> Tracer:
            return fault()

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()
