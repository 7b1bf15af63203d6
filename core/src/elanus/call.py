"""A call: the value that walks through the rooms, on the client and on the server."""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.deadline import Deadline, remaining
from elanus.errors import ElanusError, StateError
from elanus.metadata import EMPTY_METADATA, Metadata
from elanus.timeline import (
    JOURNAL_ENTRIES,
    SERVER_TIMELINE,
    Attempt,
    Event,
    Phase,
    Timeline,
    Verdict,
    phase_after,
    read_phases,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.contracts.codec import Payload
    from elanus.contracts.transport import RawStream
    from elanus.errors import BizStatusError
    from elanus.options import CallOptions
    from elanus.service import Instance, MethodInfo, ServiceInfo

__all__ = ["Call", "Event", "current_call", "running_call", "serving", "shield", "shielded"]


class Call:
    """One call, from its making to its outcome. Kitex's RPCInfo, in Python.

    The first group of attributes is the *intent*, shared by all attempts. The second is the state of one attempt:
    with a retrier each attempt has its own copy (:meth:`fork`), and the winner's state is copied back (:meth:`adopt`).
    Rooms pass data on the call. A call never refers to itself, so that it dies with its last user.
    """

    __slots__ = (
        "__weakref__",
        "argument_payload",
        "arguments",
        "attempt",
        "biz_status",
        "callee",
        "caller",
        "caller_method",
        "deadline",
        "error",
        "expired",
        "headers",
        "idempotent",
        "instance",
        "journal",
        "limit",
        "log_id",
        "metadata",
        "method",
        "on_open",
        "options",
        "peer",
        "received_bytes",
        "record",
        "reply_metadata",
        "reply_payload",
        "reply_trailers",
        "reported",
        "retried",
        "sent_bytes",
        "seq_id",
        "service",
        "stream",
        "timeline",
        "transport",
        "tried",
        "written",
    )

    service: ServiceInfo
    method: MethodInfo
    #: One value per IDL parameter. On a server ``()`` until the decode room ran.
    arguments: Sequence[Any]
    #: The options of this call, read at call time; on a server the defaults.
    options: CallOptions
    #: Whether its request may run twice: as the IDL says or, with a retrier, the method's options; ``None``: unknown.
    idempotent: bool | None
    #: Service name of the caller, and the method whose handler makes this call; empty when unknown.
    caller: str
    caller_method: str
    #: The name under which the destination is known to discovery, not its IDL name.
    callee: str
    #: The encoded arguments: made once per call on a client, what arrived on a server.
    argument_payload: Payload | None
    #: Instances that attempts of this call were sent to, in order; one list for all attempts.
    tried: list[Instance]
    #: Attempts and verdicts, one list for all attempts; ``None`` until there is something to tell.
    journal: list[Attempt | Verdict] | None

    #: 0 for the first attempt, n for the n-th retry.
    attempt: int
    #: What the journal says of this attempt, where a retrier made it.
    record: Attempt | None
    #: On a server: the caller marked this request as a retry.
    retried: bool
    instance: Instance | None
    #: By when it must be done, or ``None``.
    deadline: Deadline | None
    #: The limit that set the deadline, for the error: its name and its seconds.
    limit: tuple[str, float] | None
    #: Set by the timer wheel when the deadline passed.
    expired: bool
    #: Immutable; a room replaces it.
    metadata: Metadata
    #: Headers of the request beside metadata: text keys, and integer keys where the transport has them (TTHeader).
    headers: Mapping[str | int, str]
    seq_id: int
    log_id: str
    #: Address of the other side, as its socket says; ``""`` when there is none yet.
    peer: str
    #: The transport's own word for what is on the wire, for instance ``"TTHeaderFramed"``.
    transport: str
    #: Whole frames, envelope and headers included; of a stream, the sum.
    sent_bytes: int
    received_bytes: int
    #: Whether any byte of the request was handed to a connection.
    written: bool
    #: Names of :class:`~elanus.timeline.Event` and instants; :meth:`history` makes something to read of it.
    timeline: list[tuple[str, float]]
    #: The open stream, while there is one.
    stream: RawStream | None
    #: Called once each, with the raw stream, when it is open; empty from then on.
    on_open: tuple[Callable[[RawStream], None], ...]
    #: The business status of the reply; the caller gets it raised after all rooms.
    biz_status: BizStatusError | None
    #: Backward metadata: a server's handler fills it, a client reads what came with the reply.
    reply_metadata: Mapping[str, str]
    #: What came or goes after the last message, where the transport has trailers.
    reply_trailers: Mapping[str, str]
    #: On a server: the encoded reply, once there is one.
    reply_payload: bytes | None
    #: For tracers: the error and the business status that a fallback has replaced; ``None`` where none did. Gone when
    #: the tracers have seen it.
    reported: tuple[Exception | None, BizStatusError | None] | None
    #: How it ended, once it ended: ``None`` is success. Gone when the call has left its outermost room, since an error
    #: refers to the call through its traceback.
    error: BaseException | None

    def __init__(
        self,
        service: ServiceInfo,
        method: MethodInfo,
        arguments: Sequence[Any],
        options: CallOptions,
        *,
        caller: str = "",
        caller_method: str = "",
        callee: str = "",
    ) -> None:
        self.service = service
        self.method = method
        self.arguments = arguments
        self.options = options
        self.idempotent = method.idempotent
        self.caller = caller
        self.caller_method = caller_method
        self.callee = callee
        self.argument_payload = None
        self.tried = []
        self.retried = False
        self.deadline = None
        self.limit = None
        self.metadata = EMPTY_METADATA
        self.headers = _NO_HEADERS
        self.log_id = ""
        self.on_open = ()
        self.error = None
        self.journal = None
        self.record = None
        self._reset(0, [(Event.START, monotonic())])

    def _reset(self, attempt: int, timeline: list[tuple[str, float]]) -> None:
        """The state with which every attempt begins."""
        self.attempt = attempt
        self.timeline = timeline
        self.instance = None
        self.expired = False
        self.seq_id = 0
        self.peer = ""
        self.transport = ""
        self.sent_bytes = 0
        self.received_bytes = 0
        self.written = False
        self.stream = None
        self.biz_status = None
        self.reply_metadata = _NO_VALUES
        self.reply_trailers = _NO_VALUES
        self.reply_payload = None
        self.reported = None

    def mark(self, event: str) -> None:
        """Note that *event* happened now."""
        self.timeline.append((event, monotonic()))

    def note(self, verdict: str) -> None:
        """Note what a policy decided about this call, and why. For people: results and errors carry it.

        :param verdict: a clause without a full stop, such as ``"not tried again: 3 attempts are the limit"``.
        """
        self._enter(Verdict(monotonic(), self.attempt, verdict))

    def _enter(self, entry: Attempt | Verdict) -> None:
        if self.journal is None:
            self.journal = []
        if len(self.journal) < JOURNAL_ENTRIES:
            self.journal.append(entry)

    def history(self, error: BaseException | None = None) -> Timeline:
        """What has happened to this call up to now, all attempts included; refers to nothing of the call.

        :param error: the outcome, for a call without a retrier, whose attempts nobody records.
        """
        now = monotonic()
        started = self.timeline[0][1]
        last = self.record or Attempt(self.attempt, "first" if self.attempt == 0 else "retry", started)
        if last.ended is None:
            last = Attempt(last.number, last.kind, last.started)
            _close(last, self.instance, error, now)
        told = self.reply_metadata.get(SERVER_TIMELINE)
        server = read_phases(told) if told else ()
        return Timeline(tuple(self.timeline), () if self.journal is None else self.journal, now, last, server)

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt of this call, in seconds since its start."""
        return self.history().attempts

    def phases(self) -> list[Phase]:
        """The stretches of this call up to now, in order, with the seconds of each; they add up to its age."""
        return self.history().phases

    def phase(self, at: float | None = None) -> str:
        """The phase that this call is in, or was in at the instant *at*: ``"connect"``, ``"wait"``, ..."""
        return phase_after(self.timeline if at is None else [mark for mark in self.timeline if mark[1] <= at])

    def opened(self, stream: RawStream) -> None:
        """The stream of this call is open: from here on there is no retry and no other pick."""
        self.stream = stream
        self.mark(Event.CONNECTED)
        self.mark(Event.OPENED)
        callbacks, self.on_open = self.on_open, ()
        for callback in callbacks:
            callback(stream)

    def remaining(self) -> float | None:
        """Seconds left until the deadline, negative once it has passed; ``None`` without one."""
        return None if self.deadline is None else remaining(self.deadline)

    def send_back(self, key: str, value: str) -> None:
        """On a server: send *value* back with the reply, under *key* (Kitex's backward metadata).

        :raises TypeError: *key* or *value* is no text.
        """
        _check_texts(key, value)
        self.reply_metadata = {**self.reply_metadata, key: value}

    def send_trailer(self, key: str, value: str) -> None:
        """On a server: send *value* after the last message of the reply, where the transport has trailers.

        :raises TypeError: *key* or *value* is no text.
        """
        _check_texts(key, value)
        self.reply_trailers = {**self.reply_trailers, key: value}

    def fork(self, attempt: int, *, hedge: bool = False) -> Call:
        """A call for one more attempt: it shares the intent and starts with fresh state.

        The attempt is in the journal from now on. Whoever runs it tells its :meth:`end`.

        :param hedge: it starts while another one still runs.
        """
        other = Call.__new__(Call)
        other.service = self.service
        other.method = self.method
        other.arguments = self.arguments
        other.options = self.options
        other.idempotent = self.idempotent
        other.caller = self.caller
        other.caller_method = self.caller_method
        other.callee = self.callee
        other.argument_payload = self.argument_payload
        other.tried = self.tried
        other.retried = self.retried
        other.deadline = self.deadline
        other.limit = self.limit
        other.metadata = self.metadata
        other.headers = self.headers
        other.log_id = self.log_id
        other.on_open = self.on_open
        other.error = None
        now = monotonic()
        if attempt and self.record is None:
            self._record_first()
        other.record = Attempt(attempt, "hedge" if hedge else "retry" if attempt else "first", now)
        self._enter(other.record)
        other.journal = self.journal
        other._reset(attempt, [(Event.START, now)])
        return other

    def end(self, error: BaseException | None = None) -> None:
        """This attempt has ended; ``None`` is success. Once is enough, the first one counts.

        Told for every attempt of :meth:`fork`; for a first one that runs on the call itself, when it is not the last.

        :param error: what it raised; a ``CancelledError`` for the loser of a hedge.
        """
        record = self.record or self._record_first()
        if record.ended is None:
            if error is None:
                error = self.biz_status
            _close(record, self.instance, error, monotonic())

    def _record_first(self) -> Attempt:
        """The first attempt runs on the call itself, so that nobody has anything to write down unless others follow."""
        self.record = Attempt(0, "first", self.timeline[0][1])
        self._enter(self.record)
        return self.record

    def adopt(self, winner: Call) -> None:
        """Take over the state of the attempt that decided this call. The call still begins when it began."""
        self.argument_payload = winner.argument_payload
        start = self.timeline[0]
        for name in _ATTEMPT_STATE:
            setattr(self, name, getattr(winner, name))
        self.timeline = [start, *winner.timeline]

    def __repr__(self) -> str:
        where = f" at {self.instance}" if self.instance is not None else ""
        return f"<Call {self.method}{where} attempt={self.attempt} seq_id={self.seq_id}>"


_ATTEMPT_STATE = (
    "attempt",
    "biz_status",
    "expired",
    "instance",
    "peer",
    "received_bytes",
    "record",
    "reply_metadata",
    "reply_payload",
    "reply_trailers",
    "sent_bytes",
    "seq_id",
    "transport",
    "written",
)


def _close(attempt: Attempt, instance: Instance | None, error: BaseException | None, now: float) -> None:
    attempt.ended = now
    attempt.instance = None if instance is None else instance.address
    if error is None:
        attempt.outcome = "ok"
    elif isinstance(error, ElanusError):
        attempt.outcome = error.outcome_text()
    elif isinstance(error, Exception):
        attempt.outcome = f"{type(error).__name__}: {error}"
    else:
        attempt.outcome = "cancelled"


def _check_texts(key: object, value: object) -> None:
    if not isinstance(key, str) or not isinstance(value, str):
        raise TypeError(f"metadata is text to text, not {key!r} to {value!r}")


_NO_HEADERS: Mapping[str | int, str] = {}
_NO_VALUES: Mapping[str, str] = {}

_serving: ContextVar[Call | None] = ContextVar("elanus_call", default=None)
_shielded: ContextVar[bool] = ContextVar("elanus_shield", default=False)


def current_call() -> Call:
    """The call that the running handler serves.

    It holds the deadline, the metadata, the caller and its address, and the headers; with
    :meth:`Call.send_back` a handler sends values back. Works in tasks and threads that the handler starts.

    :raises StateError: not inside a handler.
    """
    call = _serving.get()
    if call is None:
        raise StateError(
            "current_call() outside of a handler",
            hint="It works inside a service's handler and in tasks that the handler starts",
        )
    return call


def running_call() -> Call | None:
    """As :func:`current_call`, and ``None`` outside of a handler."""
    return _serving.get()


def shielded() -> bool:
    """Whether calls made here are inside of :class:`shield`."""
    return _shielded.get()


def serving(call: Call) -> None:
    """Make *call* the current one of this task. For whoever runs handlers."""
    _serving.set(call)


class shield:
    """``with shield():`` calls made inside do not inherit the running handler's deadline; metadata still flows.

    For work that must outlive its caller, such as writing an audit record.
    """

    def __enter__(self) -> None:
        self._token = _shielded.set(True)

    def __exit__(self, *_: object) -> None:
        _shielded.reset(self._token)
