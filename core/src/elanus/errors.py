"""Every error that elanus raises: one tree, rooted in :class:`ElanusError`.

Callers branch on the class and on attributes (``error.code``, ``error.seconds``); people and logs read ``str(error)``,
which is built from those attributes and names the call, the instance, the phase, the cause and the next step.
No third-party exception crosses a contract: what a client library raised is the ``__cause__``.
A Thrift exception declared in the IDL is not in this tree; it is raised as itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.call import Call
    from elanus.timeline import Attempt, Timeline

__all__ = [
    "AclError",
    "ApplicationError",
    "BizStatusError",
    "CircuitOpenError",
    "CodecError",
    "ConfigError",
    "ConnectFailedError",
    "ConnectionLostError",
    "DiscoveryError",
    "ElanusError",
    "LimitExceededError",
    "LocalProtocolError",
    "NoInstanceError",
    "PluginError",
    "ProtocolError",
    "RejectedError",
    "RemoteError",
    "RemoteProtocolError",
    "RpcCancelledError",
    "RpcTimeoutError",
    "StateError",
    "TransportError",
]


#: What a verdict about an instance begins with that could not be reached, so that another one was picked.
PASSED_OVER = "passed over "
#: Earlier attempts that the text of an error tells of.
_TOLD = 3


class ElanusError(Exception):
    """The root of the tree. Catch it to catch everything that elanus itself raises.

    :param message: the cause, as a clause without a full stop.
    :param phase: where in the life of a call (or of a build) it happened, such as ``"connect"``.
    :param hint: the next step for whoever reads it, as a sentence without a full stop.
    :param sent: whether the server may have seen the request.
    :param retryable: whether a policy may try again; a policy looks at ``sent`` too.
    """

    retryable: bool = False
    sent: bool = False
    phase: str = ""
    hint: str = ""
    #: As ``hint``, where that would only be in the way of the text: :meth:`explain` has it.
    next_step: str = ""
    #: IDL names of the service and method that were called, and the address of the instance; ``None`` where unknown.
    service: str | None = None
    method: str | None = None
    instance: str | None = None
    #: What happened to the call, once it has ended with this error.
    timeline: Timeline | None = None

    def __init__(
        self,
        message: str = "",
        *,
        phase: str | None = None,
        hint: str | None = None,
        instance: str | None = None,
        sent: bool | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if phase is not None:
            self.phase = phase
        if hint is not None:
            self.hint = hint
        if instance is not None:
            self.instance = instance
        if sent is not None:
            self.sent = sent
        if retryable is not None:
            self.retryable = retryable

    def locate(self, call: Call) -> None:
        """Fill in what *call* knows and this error does not: service, method, instance."""
        if self.service is None:
            self.service = call.service.name
            self.method = call.method.name
        if self.instance is None and call.instance is not None:
            self.instance = call.instance.address

    def cause_text(self) -> str:
        """The cause alone, without place and hint. Subclasses build it from their attributes."""
        return self.message

    def outcome_text(self) -> str:
        """The cause with its kind and phase, for a list of attempts: ``"ConnectFailedError [connect]: ..."``."""
        return f"{type(self).__name__} [{self.phase}]: {self.cause_text()}"

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every attempt of the call, in order; empty when it did not come from a call that has ended."""
        return () if self.timeline is None else self.timeline.attempts

    def __str__(self) -> str:
        text = self.cause_text()
        place = self._place()
        if place:
            text = f"{place}: {text}"
        story = self._story()
        if story:
            text = f"{text}; {story}"
        if self.hint:
            text = f"{text}. {self.hint}"
        return text

    def _story(self) -> str:
        """How it came to this, where there was more than one attempt, or a policy decided that there is only one."""
        attempts = self.attempts
        parts = (self._before(attempts) if len(attempts) > 1 else "", self._decision())
        return "; ".join(part for part in parts if part)

    def _before(self, attempts: Sequence[Attempt]) -> str:
        """How earlier attempts ended; those that ended alike are told once."""
        *earlier, last = attempts
        same = f"{last.instance} {self.outcome_text()}"
        times: dict[str, int] = {}
        for each in earlier:
            words = f"{each.instance} {each.outcome}"
            times[words] = times.get(words, 0) + 1
        if set(times) == {same}:
            return f"{len(attempts)} attempts, each ended so"
        told = [words if count == 1 else f"{words} ({count} times)" for words, count in times.items()]
        return f"attempt {len(attempts)}, before it {'; '.join(told[-_TOLD:])}"

    def _decision(self) -> str:
        """What a policy decided last."""
        verdicts = () if self.timeline is None else self.timeline.verdicts
        return verdicts[-1].text if verdicts else ""

    def explain(self) -> str:
        """Several lines for people: place, cause and next step; then phases, attempts and decisions in time."""
        known = [
            ("call", f"{self.service}/{self.method}" if self.service is not None else self.method),
            ("instance", self.instance),
            ("phase", self.phase),
            ("cause", self.cause_text()),
            ("next step", self.hint or self.next_step),
            ("request", self._fate()),
        ]
        lines = [type(self).__name__, *(f"  {name:<16} {value}" for name, value in known if value)]
        if self.timeline is not None:
            lines.append(self.timeline.table())
        return "\n".join(lines)

    def _fate(self) -> str:
        """What became of the request."""
        return "may have reached the server" if self.sent else "was not sent"

    def _place(self) -> str:
        parts = []
        if self.service is not None:
            parts.append(f"{self.service}/{self.method}")
        if self.instance is not None:
            parts.append(f"at {self.instance}")
        if parts and self.phase:
            parts.append(f"[{self.phase}]")
        return " ".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args`, which fails for signatures that differ from `args`.
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(cls: type[ElanusError], args: tuple[object, ...], state: dict[str, object]) -> ElanusError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _is_status(code: object) -> bool:
    return isinstance(code, int) and not isinstance(code, bool) and code != 0 and -(2**31) <= code < 2**31


class ConfigError(ElanusError):
    """What was asked for cannot be built: an unknown option, a missing name, a value out of range, a bad IDL."""

    phase = "configure"


class PluginError(ConfigError):
    """A plugin could not be loaded, offers something wrong, or is not installed."""

    phase = "plugins"


class StateError(ElanusError):
    """The object cannot do this now: a call before start or after close, a service added while running."""

    phase = "state"


class DiscoveryError(ElanusError):
    """The instances of a destination could not be looked up. The request was not sent."""

    retryable = True
    phase = "resolve"


class NoInstanceError(DiscoveryError):
    """The look-up worked, and no instance is left that may take this call.

    :param name: the destination that was looked up.
    :param resolver: the name of the resolver that answered.
    :param failures: what each instance that was tried said, in order.
    :param known: how many instances the resolver knows.
    """

    def __init__(self, name: str, resolver: str, failures: Sequence[ElanusError] = (), *, known: int = 0) -> None:
        super().__init__(f"no instance of {name!r} is left")
        self.name = name
        self.resolver = resolver
        self.failures = tuple(failures)
        self.known = known
        if failures:
            self.hint = failures[-1].hint
        elif known:
            self.hint = f"Check their weights and tags: elanus instances {name} --resolver {resolver}"
        else:
            self.hint = (
                "Check the name, and that a server is registered under it: "
                f"elanus instances {name} --resolver {resolver}"
            )

    def locate(self, call: Call) -> None:
        """Fill in the service and the method; it is about no single instance."""
        if self.service is None:
            self.service = call.service.name
            self.method = call.method.name

    def cause_text(self) -> str:
        if self.failures:
            tried = "; ".join(f"{one.instance} [{one.phase}] {one.cause_text()}" for one in self.failures)
            return f"no instance of {self.name!r} can take the call, {len(self.failures)} tried: {tried}"
        if self.known:
            return f"none of the {self.known} instances of {self.name!r} may be picked (resolver {self.resolver!r})"
        return f"the resolver {self.resolver!r} knows no instance of {self.name!r}"

    def _decision(self) -> str:
        """Instances that were passed over are in the cause already."""
        text = super()._decision()
        return "" if text.startswith(PASSED_OVER) else text


class RejectedError(ElanusError):
    """A policy on this side refused the call. The request was not sent, or its handler did not run."""

    phase = "admission"


class CircuitOpenError(RejectedError):
    """A breaker is open for this service, method or instance.

    :param key: what the breaker guards, for instance ``"127.0.0.1:8888"`` or ``"caller/callee/method"``.
    :param why: since when, on what grounds and until when, as far as the breaker tells.
    """

    retryable = True
    phase = "breaker"
    hint = "Too many calls failed: see their errors. After its cooling time it lets some through again"

    def __init__(self, key: str, *, instance: str | None = None, why: str = "") -> None:
        super().__init__(f"the circuit breaker of {key!r} is open{why and f' ({why})'}", instance=instance)
        self.key = key
        self.why = why


class LimitExceededError(RejectedError):
    """A limit was reached: calls in flight, connections, requests per second.

    :param limit: the name of the option that holds the limit.
    :param value: its value.
    :param cut: on a server: close the connection instead of answering.
    """

    retryable = True
    phase = "limit"

    def __init__(self, message: str, *, limit: str = "", value: float | None = None, cut: bool = False) -> None:
        super().__init__(message)
        self.limit = limit
        self.value = value
        self.cut = cut


class AclError(RejectedError):
    """An access rule refused the call.

    :param reason: what the rule gave as its reason; the caller gets to read it.
    """

    phase = "acl"

    def __init__(self, reason: str) -> None:
        super().__init__(f"request forbidden: {reason}")
        self.reason = reason


class TransportError(ElanusError):
    """Something failed on the way between two processes."""

    retryable = True
    phase = "transport"


class ConnectFailedError(TransportError):
    """No connection to the instance could be made. The request was not sent."""

    phase = "connect"
    hint = "Check that a server listens there and that the address can be reached from here"


class ConnectionLostError(TransportError):
    """The connection broke. When ``sent`` is true the server may have run the request."""

    phase = "wait"
    sent = True
    hint = "Look for a restart or a crash in the log of that server, and for what closes connections on the way"


class ProtocolError(ElanusError):
    """One side broke the rules of the wire protocol. The connection is not used again."""

    phase = "protocol"


class LocalProtocolError(ProtocolError):
    """This side tried to send something that the protocol cannot carry. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that make no sense, or more than the limits allow."""

    sent = True


class CodecError(ElanusError):
    """A value could not be encoded, or bytes could not be decoded.

    :param path: where in the message, outermost first: ``("request", "items", "[3]", "name")``.
    """

    phase = "codec"

    def __init__(
        self, message: str, *, path: Sequence[str] = (), method: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = tuple(path)
        if method is not None:
            self.method = method

    def cause_text(self) -> str:
        return f"{self.message} (in {'.'.join(self.path)})" if self.path else self.message

    def _place(self) -> str:
        if self.service is None and self.method is not None:
            return f"{self.method} [{self.phase}]"
        return super()._place()


#: What had not happened when time was up, and the next step, by phase.
_MISSED = {
    "resolve": ("no answer of the resolver", "Check the registry: elanus instances"),
    "pool wait": (
        "no free connection",
        "All are in use: allow more (PoolOptions.open), or make fewer calls at once",
    ),
    "connect": ("no connection", "Check that a server listens there and that the address can be reached from here"),
    "write": ("not written", "The server reads too slowly: check its load"),
    "wait": ("no reply", "Check the load and the log of that server, or give the call more time"),
    "read": ("the reply came and was not read", "The event loop of this side is busy: look for what blocks it"),
    "earlier attempts": ("no attempt succeeded", ""),
    "stream": ("not ended", ""),
    "handler": ("no end of the handler", ""),
}


class RpcTimeoutError(ElanusError):
    """The call, or one attempt of it, ran out of time.

    :param seconds: the limit that was reached.
    :param limit: which one: ``"timeout"`` (the caller's whole budget), ``"attempt_timeout"``,
        or ``"deadline"`` (inherited from the call that this one serves).
    """

    retryable = True
    sent = True
    phase = "wait"

    def __init__(self, seconds: float, *, limit: str = "timeout", phase: str | None = None) -> None:
        super().__init__("", phase=phase)
        self.seconds = seconds
        self.limit = limit
        self.hint = _MISSED.get(self.phase, ("", ""))[1]

    def cause_text(self) -> str:
        missed, _ = _MISSED.get(self.phase, ("not sent", ""))
        return f"{missed} within {self.seconds:.3f} s ({self.limit})"


class RpcCancelledError(ElanusError):
    """The call was cancelled by the other side, or the handler ended itself by cancelling."""

    sent = True
    phase = "cancelled"


class RemoteError(ElanusError):
    """The server answered, and its answer is an error."""

    sent = True
    phase = "handler"


class ApplicationError(RemoteError):
    """An error reply: a Thrift ``TApplicationException``, a Kitex protobuf error, a gRPC status.

    A handler may raise it to choose the code that its caller sees.

    :param code: the code on the wire. For Thrift: 0 unknown, 1 unknown method, 2 invalid message type, 3 wrong method
        name, 4 bad sequence id, 5 missing result, 6 internal error, 7 protocol error, 20 unknown service.
    :param message: the text on the wire.
    """

    UNKNOWN = 0
    UNKNOWN_METHOD = 1
    INVALID_MESSAGE_TYPE = 2
    WRONG_METHOD_NAME = 3
    BAD_SEQUENCE_ID = 4
    MISSING_RESULT = 5
    INTERNAL_ERROR = 6
    PROTOCOL_ERROR = 7
    INVALID_PROTOCOL = 9
    UNKNOWN_SERVICE = 20

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        if code == self.INTERNAL_ERROR and self.refused:
            # From the start, since policies look at it long before the call ends.
            self.phase = _remote_meaning(code, message)[0]

    @property
    def refused(self) -> bool:
        """Whether a limiter or a breaker of the server refused the request, so that its handler did not run.

        The server is well enough to say so, and another attempt there would add to what it has too much of. It is told
        by code 6 and Kitex's texts (``pkg/kerrors``), ``request over limit`` and ``forbidden by circuitbreaker``;
        ``phase`` is ``"limit"`` or ``"breaker"``. Not so when a handler passes on what a service behind it had refused.
        """
        text = self.message
        return self.code == self.INTERNAL_ERROR and text.startswith(_REFUSED) and not text.endswith(_BY_HANDLER)

    def locate(self, call: Call) -> None:
        """As everywhere; and what Kitex's codes and texts mean for whoever made the call."""
        super().locate(call)
        if not self.hint and (self.phase == RemoteError.phase or self.refused):
            self.phase, self.hint = _remote_meaning(self.code, self.message)

    def _fate(self) -> str:
        return "was refused by the server: its handler did not run" if self.refused else super()._fate()

    def cause_text(self) -> str:
        return f"the server answered with error {self.code}: {self.message}"


#: How the texts begin with which a server refuses, and how a text ends that a handler raised.
_REFUSED = ("request over limit", "forbidden by circuitbreaker")
_BY_HANDLER = "[biz error]"
_IN_HANDLER = "The code that serves the method failed: the log of that server has the traceback"
#: By code: where the server refused, and the next step.
_MEANINGS = {
    ApplicationError.UNKNOWN_METHOD: ("route", "The IDL of that server has no such method: compare the versions"),
    ApplicationError.UNKNOWN_SERVICE: ("route", "That server serves other services: check the address and the name"),
    ApplicationError.INVALID_PROTOCOL: ("route", "That server takes another codec: compare the IDLs of both sides"),
    ApplicationError.PROTOCOL_ERROR: ("decode", "The server cannot read the request: compare the IDLs of both sides"),
}
#: By the beginning of the text of code 6, which elanus and Kitex give to all else.
_REFUSALS = {
    "request over limit": ("limit", "The server protects itself: make fewer calls, or raise that limit there"),
    "forbidden by circuitbreaker": ("breaker", "Too many calls of it failed there: the log of that server has them"),
    "request forbidden": ("acl", "A rule of that server forbids it: check who calls, and the rule"),
    "handler of ": ("handler", "Give the call more time, or look at what the handler waits for"),
    "biz error": ("handler", _IN_HANDLER),
    "panic": ("handler", _IN_HANDLER),
}


def _remote_meaning(code: int, text: str) -> tuple[str, str]:
    if code == ApplicationError.INTERNAL_ERROR:
        if text.endswith(_BY_HANDLER):
            return "handler", _IN_HANDLER
        return next((meant for start, meant in _REFUSALS.items() if text.startswith(start)), ("handler", ""))
    return _MEANINGS.get(code, ("handler", ""))


class BizStatusError(RemoteError):
    """A business status: the call worked, the business said no. Never counts as a failure of the instance.

    A handler raises it; its caller gets it with the same values. It needs a transport that carries metadata
    (TTHeader, gRPC): over framed or buffered Thrift it is lost, as with Kitex.

    :param code: the business's own code, a 32-bit integer other than 0.
    :param message: text for people.
    :param extra: further values, string to string.
    """

    phase = "business"
    next_step = "The call worked and the application said no: look up what its code means there"

    def __init__(self, code: int, message: str = "", extra: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.extra: dict[str, str] = dict(extra or {})
        # What the wire cannot carry must fail where it is written: a peer would take it for success.
        if not _is_status(code):
            raise TypeError(f"business status code {code!r} is no 32-bit integer other than 0")
        if not all(isinstance(text, str) for text in (message, *self.extra, *self.extra.values())):
            raise TypeError(f"business status {code}: message and extra must be texts, not {message!r}, {self.extra!r}")

    def outcome_text(self) -> str:
        return self.cause_text()

    def cause_text(self) -> str:
        text = f"business status {self.code}"
        if self.message:
            text = f"{text}: {self.message}"
        return f"{text} {self.extra}" if self.extra else text
