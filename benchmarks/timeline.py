"""What the timeline of a call costs while nobody reads it, and what reading it costs."""

import asyncio
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any

import elanus
from elanus.call import Call, Event
from elanus.options import CallOptions
from elanus.testing import JsonCodec, connected

__all__ = ["timeline"]

_AIM_US = 1.0
#: Short windows, of which some have the core for themselves even on a busy machine.
_CALLS = 500
_REPEATS = 600
_START, _ENCODING, _ENCODED, _WRITTEN = Event.START, Event.ENCODING, Event.ENCODED, Event.WRITTEN
_ANSWERED, _REPLIED, _ADMITTED, _DECODED = Event.ANSWERED, Event.REPLIED, Event.ADMITTED, Event.DECODED
_IDL = "service Echo {\n  echo(text)\n}"


def timeline() -> list[str]:
    """Microseconds a call on each side, as lines; the best of many short windows, since others only ever add."""
    client, server = asyncio.run(_marks())
    call = Call(_service(), _service().methods["echo"], ("hi",), CallOptions())
    costs = {
        f"a client's {len(client)} marks: {', '.join(client)}": _best(_client_marks),
        f"a server's {len(server)} marks: {', '.join(server)}": _best(lambda: _server_marks(call)),
    }
    reading = _best(call.history)
    lines = [f"{'us':>7}  a call, of one process and thread (best of {_REPEATS})"]
    lines += [f"{cost:7.3f}  {what}" for what, cost in costs.items()]
    lines.append(f"{reading:7.3f}  call.history(), which an error or a Result makes")
    worst = max(costs.values())
    lines.append(f"aim: under {_AIM_US:g} us a call on each side: {'reached' if worst < _AIM_US else 'MISSED'}")
    return lines


def _service() -> elanus.ServiceInfo:
    service: elanus.ServiceInfo = JsonCodec().loads(_IDL, "echo.jsonidl").Echo
    return service


async def _marks() -> tuple[list[str], list[str]]:
    """The events of one call on both sides, on a connection that is there already."""
    served: list[Call] = []

    class Echo:
        async def echo(self, text: str) -> str:
            served.append(elanus.current_call())
            return text

    async with connected(_service(), Echo()) as client:
        await client.invoke("echo", "the first one connects")
        result = await client.invoke("echo", "hi")
    return [event for event, _ in result.timeline.events], [event for event, _ in served[-1].timeline]


def _best(step: Callable[[], Any]) -> float:
    """Microseconds of one *step*, without those of an empty one."""
    return min(_taken(step) for _ in range(_REPEATS)) - min(_taken(_nothing) for _ in range(_REPEATS))


def _taken(step: Callable[[], Any]) -> float:
    started = perf_counter()
    for _ in range(_CALLS):
        step()
    return (perf_counter() - started) / _CALLS * 1e6


def _nothing() -> None:
    """What every step costs anyway."""


def _client_marks() -> None:
    """As a call, its resolve room, its innermost endpoint and its connection make them."""
    marks = [(_START, monotonic())]
    marks.append((Event.RESOLVED, monotonic()))
    note = marks.append
    note((_ENCODING, monotonic()))
    note((_ENCODED, monotonic()))
    note((_WRITTEN, monotonic()))
    marks.append((_ANSWERED, monotonic()))
    note((_REPLIED, monotonic()))
    note((_DECODED, monotonic()))


def _server_marks(call: Call) -> None:
    """As a call, the decode room, the handler's endpoint and the dispatcher make them."""
    call.timeline = marks = [(_START, monotonic())]
    note = marks.append
    note((_ADMITTED, monotonic()))
    note((_DECODED, monotonic()))
    call.mark(Event.HANDLER_START)
    call.mark(Event.HANDLER_FINISH)
    note((_ENCODED, monotonic()))
    call.mark(Event.FINISH)
    call.mark(Event.WRITTEN)
