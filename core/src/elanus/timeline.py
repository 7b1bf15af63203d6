"""What happened to a call, and when: events, the phases between them, attempts, and what policies decided.

While a call runs it only appends names and instants to a list. Everything here is derived from that list afterwards,
for whoever wants to read it: a result, an error, a tracer, ``elanus call --explain``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "JOURNAL_ENTRIES",
    "SERVER_TIMELINE",
    "Attempt",
    "Event",
    "Phase",
    "Timeline",
    "Verdict",
    "phase_after",
    "phases_between",
    "read_phases",
    "written_phases",
]

#: The key of the metadata with which a call asks its server for the server's part of the timeline, and of the metadata
#: that brings it back. Only elanus servers answer; to others it is metadata like any other.
SERVER_TIMELINE = "elanus-timeline"
#: Attempts and verdicts that one call remembers; further ones are dropped.
JOURNAL_ENTRIES = 64


class Event:
    """Names of the marks on a timeline. Each ends one phase and begins another.

    The first group is a client's, in the order in which a call meets them: ``LOOK_UP`` only where it has to wait for
    the resolver, ``ENCODED`` where a connection is at hand, ``WAITING``, ``CONNECTING``, ``CONNECTED`` where none is.
    A server's are ``START`` (the request has arrived), ``ADMITTED`` (and is decoded next), ``DECODED``,
    ``HANDLER_START``, ``HANDLER_FINISH``, ``ENCODED``, ``FINISH``, ``WRITTEN``.
    """

    START = "start"
    LOOK_UP = "look-up"
    RESOLVED = "resolved"
    ENCODING = "encoding"
    ENCODED = "encoded"
    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    OPENED = "opened"
    WRITTEN = "written"
    #: The first bytes of the reply are here.
    ANSWERED = "answered"
    #: The call goes on with a whole reply.
    REPLIED = "replied"
    DECODED = "decoded"
    FINISH = "finish"

    ADMITTED = "admitted"
    HANDLER_START = "handler start"
    HANDLER_FINISH = "handler finish"


#: The phase that begins with each event. An event of another name, such as one of a middleware, begins none.
_CLIENT_PHASES: Mapping[str, str] = {
    Event.START: "prepare",
    Event.LOOK_UP: "resolve",
    Event.RESOLVED: "pick",
    Event.ENCODING: "encode",
    Event.ENCODED: "write",
    Event.WAITING: "pool wait",
    Event.CONNECTING: "connect",
    Event.CONNECTED: "write",
    Event.OPENED: "stream",
    Event.WRITTEN: "wait",
    Event.ANSWERED: "read",
    Event.REPLIED: "decode",
    Event.DECODED: "finish",
    Event.FINISH: "finish",
}
_SERVER_PHASES: Mapping[str, str] = {
    Event.START: "queue",
    Event.ADMITTED: "decode",
    Event.DECODED: "prepare",
    Event.HANDLER_START: "handler",
    Event.HANDLER_FINISH: "encode",
    Event.ENCODED: "finish",
    Event.FINISH: "write",
    Event.WRITTEN: "done",
}
#: What a peer may tell: it ends up on somebody's terminal.
_PHASE = re.compile("[a-z][a-z -]{0,30}")
_SECONDS = re.compile(r"\d{1,9}\.\d{6}")
#: Seconds of the shortest phase in a table.
_LEAST = 5e-6
#: Characters of the longest bar in a table.
_BAR = 30
#: What comes before the attempt that decided a call, where that was not the first one.
_EARLIER = "earlier attempts"


class Phase(NamedTuple):
    """A stretch of a call."""

    name: str
    seconds: float


@dataclass(slots=True)
class Attempt:
    """One attempt of a call. Its instants are seconds, since the start of the call where a :class:`Timeline` has it."""

    number: int
    #: ``"first"``, ``"retry"`` or ``"hedge"``.
    kind: str
    started: float
    #: ``None`` while it runs.
    ended: float | None = None
    #: Address of the last instance that was picked; ``None`` before the first pick.
    instance: str | None = None
    #: ``"ok"``, ``"cancelled"``, ``"business status 7"``, or an error's class and cause; ``""`` while it runs.
    outcome: str = ""

    @property
    def elapsed(self) -> float | None:
        """Seconds that it took; ``None`` while it runs."""
        return None if self.ended is None else self.ended - self.started


class Verdict(NamedTuple):
    """What a policy decided about a call: a retrier stopped, an instance was passed over."""

    #: Seconds, since the start of the call where a :class:`Timeline` has it.
    at: float
    #: Number of the attempt that it is about.
    attempt: int
    text: str


@dataclass(slots=True)
class Timeline:
    """What happened to one call. Seconds count from its start; phases add up to ``total``.

    Refers to nothing of the call, so that an error may keep it; survives pickle and copy.

    :param marks: names of :class:`Event` (and of whoever else called ``call.mark``), with instants.
    :param journal: attempts and verdicts, with instants.
    :param until: the instant at which it was read, which ends the last phase.
    :param last: the attempt that decided the call, as far as it is known.
    """

    marks: Sequence[tuple[str, float]]
    journal: Sequence[Attempt | Verdict]
    until: float
    last: Attempt
    #: The server's own phases, within ``write`` and ``wait``; empty unless the call asked for them
    #: (:data:`SERVER_TIMELINE`).
    server: Sequence[Phase] = ()

    @property
    def total(self) -> float:
        """Seconds from the start of the call to its end."""
        return self.until - self.marks[0][1]

    @property
    def events(self) -> list[tuple[str, float]]:
        """Names of events, with the seconds at which they happened."""
        start = self.marks[0][1]
        return [(event, at - start) for event, at in self.marks]

    @property
    def phases(self) -> list[Phase]:
        """The stretches of the call, in order. Those of earlier attempts are one; see :attr:`attempts`."""
        return phases_between(self.marks, self.until, retried=self.last.number > 0)

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt, in the order in which they began; a call without a retrier has one."""
        start = self.marks[0][1]
        known = [entry for entry in self.journal if isinstance(entry, Attempt)] or [self.last]
        return [_since(start, attempt) for attempt in known]

    @property
    def verdicts(self) -> list[Verdict]:
        """What policies decided, in order."""
        start = self.marks[0][1]
        return [entry._replace(at=entry.at - start) for entry in self.journal if isinstance(entry, Verdict)]

    @property
    def network(self) -> float | None:
        """Seconds of ``write`` and ``wait`` that the server knows nothing of; ``None`` when it tells nothing, or more
        than there was.

        A request can be at its server, and answered, before the system lets this side go on from its write.
        """
        if not self.server:
            return None
        rest = self._out - sum(seconds for _, seconds in self.server)
        return max(0.0, rest) if rest >= -_LEAST else None

    @property
    def _out(self) -> float:
        """Seconds from the beginning of the write to the first bytes of the reply."""
        return self.seconds("write") + self.seconds("wait")

    def seconds(self, phase: str) -> float:
        """The seconds of all stretches of that name; 0 when there was none."""
        return sum(each.seconds for each in self.phases if each.name == phase)

    def table(self) -> str:
        """A text of several lines for people: phases with a bar for their share, attempts, and decisions; times in ms.

        Phases of less than 5 microseconds are left out.
        """
        total = self.total
        lines = [f"took {_ms(total)} ms"]
        lines += [
            f"  {name:<16} {_ms(seconds):>10}  {'#' * round(_BAR * seconds / total if total > 0 else 0)}".rstrip()
            for name, seconds in self.phases
            if seconds >= _LEAST
        ]
        if self.server:
            lines += self._servers_part()
        attempts = self.attempts
        lines.append(f"{len(attempts)} attempt{'s' if len(attempts) != 1 else ''}")
        lines += [
            f"  {each.number:<3} {each.kind:<5} from {_ms(each.started):>8} to {_ms(each.ended):>8}  "
            f"{each.instance or 'no instance'}: {each.outcome or 'still runs'}"
            for each in attempts
        ]
        verdicts = self.verdicts
        if verdicts:
            lines.append("decisions")
            lines += [f"  at {_ms(at):>8}, attempt {attempt}: {text}" for at, attempt, text in verdicts]
        return "\n".join(lines)

    def _servers_part(self) -> list[str]:
        network = self.network
        if network is None:
            return [f"the server tells of more than the {_ms(self._out)} of write and wait, which cannot be"]
        return [
            f"of the {_ms(self._out)} of write and wait, as the server says",
            *(f"  {name:<16} {_ms(seconds):>10}" for name, seconds in (*self.server, Phase("network", network))),
        ]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"


def _since(start: float, attempt: Attempt) -> Attempt:
    ended = None if attempt.ended is None else attempt.ended - start
    return replace(attempt, started=attempt.started - start, ended=ended)


def phase_after(marks: Sequence[tuple[str, float]]) -> str:
    """The phase that a call is in, of which these are the events so far."""
    names = _names(marks)
    for event, _ in reversed(marks):
        if event in names:
            return names[event]
    return names[Event.START]


def phases_between(marks: Sequence[tuple[str, float]], until: float, *, retried: bool = False) -> list[Phase]:
    """The phases between the events of a call and the instant *until*. Neighbours of one name are one.

    :param retried: what comes before the second start was other attempts, not preparation.
    """
    names = _names(marks)
    phases: list[Phase] = []
    name = names[Event.START]
    began = marks[0][1]
    for event, at in marks[1:]:
        if event in names:
            _extend(phases, _EARLIER if retried and event == Event.START else name, at - began)
            name, began = names[event], at
    _extend(phases, name, until - began)
    return phases


def written_phases(phases: Sequence[Phase]) -> str:
    """*phases* as the value of metadata: ``"queue 0.000120;handler 0.010301"``, in seconds."""
    return ";".join(f"{name} {seconds:.6f}" for name, seconds in phases)


def read_phases(text: str) -> list[Phase]:
    """What :func:`written_phases` wrote; nothing of it when the peer wrote something else."""
    phases = []
    for part in text.split(";")[:JOURNAL_ENTRIES] if text else ():
        name, _, seconds = part.rpartition(" ")
        if not _PHASE.fullmatch(name) or not _SECONDS.fullmatch(seconds):
            return []
        phases.append(Phase(name, float(seconds)))
    return phases


def _names(marks: Sequence[tuple[str, float]]) -> Mapping[str, str]:
    served = any(event in (Event.ADMITTED, Event.HANDLER_START) for event, _ in marks)
    return _SERVER_PHASES if served else _CLIENT_PHASES


def _extend(phases: list[Phase], name: str, seconds: float) -> None:
    if phases and phases[-1].name == name:
        phases[-1] = Phase(name, phases[-1].seconds + seconds)
    else:
        phases.append(Phase(name, seconds))
