"""The contract of a transport: payloads of calls to bytes on a connection and back, on both sides."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from elanus.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Awaitable, Callable

    from elanus.call import Call
    from elanus.contracts.codec import Payload
    from elanus.errors import ElanusError
    from elanus.service import MethodInfo, ServiceInfo

__all__ = [
    "Connection",
    "Dispatcher",
    "LinkOptions",
    "RawStream",
    "Reply",
    "Route",
    "ServerLink",
    "Sniff",
    "Transport",
]


class Sniff(enum.Enum):
    """A transport's word on the first bytes of a connection."""

    YES = "it is mine"
    NO = "it is not mine"
    MORE = "too few bytes to tell"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What core hands to a transport with every connection, on either side."""

    limits: Limits = DEFAULT_LIMITS
    ssl: ssl.SSLContext | None = None
    #: Seconds that a started read of a frame, or a write, may stall before the connection counts as dead.
    read_write_timeout: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where a request goes: the answer of :meth:`Dispatcher.route`. A transport may keep it for equal requests."""

    service: ServiceInfo
    method: MethodInfo


#: How core answers a request: with a payload, or with an error that the transport puts into its own words.
#: A business status is on ``call.biz_status`` beside the payload. For a stream it is the end: payload ``None``, or the
#: one reply of a client-stream. After a :exc:`~elanus.LimitExceededError` whose ``cut`` is true there is no answer: the
#: transport closes the connection.
Reply: TypeAlias = "Callable[[Call, bytes | None, ElanusError | None], None]"


class Dispatcher(ABC):
    """Core's side of a server: finds the method and runs it. Implemented once, in core."""

    @abstractmethod
    def route(self, service: str | None, method: str, wire: str) -> Route:
        """Find a method.

        :param service: the IDL name of the service as the request says it, ``None`` when it does not.
        :param wire: the payload's codec, as :attr:`elanus.contracts.codec.Codec.wire`.
        :raises ApplicationError: code 20 for an unknown service, 1 for an unknown method, 9 for a codec
            that is not the service's; with Kitex's texts.
        """

    @abstractmethod
    def dispatch(self, call: Call, reply: Reply) -> asyncio.Task[None] | None:
        """Run the handler of a call whose ``argument_payload`` (or, for a stream, ``stream``) is set.

        *reply* is called exactly once, for oneway methods too; a task that was cancelled may call it and may not, and
        the answer is dropped then. Returns ``None`` when it was called already, or else the task, which is kept only to
        cancel it when the peer is gone.
        """


class Transport(ABC):
    """Speaks one family of wire protocols, as client and as server.

    One object serves many connections and holds no state of one. What a transport opens belongs to the connection, and
    ends with it.
    """

    #: The name users select it by.
    name: str
    #: With so many bytes :meth:`sniff` always knows.
    sniff_bytes: int

    @abstractmethod
    def sniff(self, head: bytes) -> Sniff:
        """Whether the first bytes of a connection are this transport's. Pure; at most one transport may say YES."""

    @abstractmethod
    def serve(self, wire: asyncio.Transport, head: bytes, dispatcher: Dispatcher, options: LinkOptions) -> ServerLink:
        """Take over an accepted connection of which *head* was read.

        Sets a protocol of its own on *wire*. Called only after :meth:`sniff` said YES to *head*.
        """

    @abstractmethod
    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        """Open a connection to ``"host:port"``, ``"[v6]:port"`` or ``"unix:/path"``.

        Core bounds it in time. :raises ConnectFailedError: it could not be opened.
        """

    def lane(self, method: MethodInfo) -> str:
        """Which connections a method may use: those of equal address and lane are shared."""
        return ""

    def shares(self, address: str, lane: str) -> bool:
        """Whether a connection that is made now would take many calls at once, as far as that is known beforehand.

        Then calls to an instance without a connection wait for the first one instead of making one each.
        """
        return False


class Connection(ABC):
    """One open connection of a client. Used from its event loop only."""

    #: Address of the other side.
    peer: str
    #: Calls that may start now; may change at any time; 0 when draining or closed.
    free: int
    #: Calls in flight, streams included.
    busy: int
    #: ``False`` while too many bytes wait to be written.
    writable: bool
    #: Done once the connection is closed; its result says why.
    closed: asyncio.Future[ElanusError]

    @abstractmethod
    def request(self, call: Call, payload: Payload) -> asyncio.Future[Payload]:
        """Send a unary or oneway request. The future gives the payload of the reply; for oneway an empty one, at once
        when the bytes are on their way.

        Sets ``seq_id``, ``peer``, ``transport``, ``sent_bytes`` and ``written`` of the call, and when the reply is
        there ``received_bytes``, ``reply_metadata`` and ``biz_status``. The future fails with
        :exc:`~elanus.ApplicationError`, :exc:`~elanus.ConnectionLostError` or :exc:`~elanus.RemoteProtocolError`.
        Frames of one turn of the loop should be written together.

        :raises LocalProtocolError: the request cannot be framed (too large, a header too long); nothing was sent.
        """

    @abstractmethod
    def abandon(self, reply: asyncio.Future[Payload], reason: ElanusError) -> None:
        """Nobody waits for *reply* any more: tell the peer if the protocol can, and make sure that a late reply reaches
        no other call. Called by whoever sent, on cancellation, which has mostly cancelled the future too; does nothing
        when the reply has arrived.
        """

    @abstractmethod
    async def open(self, call: Call) -> RawStream:
        """Open a stream for a streaming method."""

    @abstractmethod
    async def drained(self) -> None:
        """Wait until the connection is writable. Raises the error of the connection when it closes meanwhile."""

    @abstractmethod
    async def aclose(self, grace: float) -> None:
        """Close after the calls in flight, or after *grace* seconds."""


class RawStream(ABC):
    """One stream of payloads, on either side. One task may send and another receive at the same time.

    Both directions are bounded: :meth:`send` waits while the peer reads too slowly, and a reader that stops reading
    stops the peer's writer. The end of a stream is ``ended``.
    """

    #: Done when the stream has ended both ways. Carries the one reply of a client-stream, ``None`` otherwise, and
    #: raises the error with which the other side ended the stream.
    ended: Awaitable[Payload | None]

    @abstractmethod
    async def send(self, payload: bytes) -> None:
        """Send one message; waits for room."""

    @abstractmethod
    async def receive(self) -> Payload | None:
        """The next message, or ``None`` when the other side sends no more. An error ends it early."""

    @abstractmethod
    def close_send(self) -> None:
        """Send no more. On a server the end is sent by the ``Reply`` instead."""

    @abstractmethod
    def cancel(self, reason: ElanusError) -> None:
        """End the stream at once and tell the peer: *reason* is what :attr:`ended`, and whoever sends or receives on
        this side, gets. Does nothing when the stream has ended.
        """


class ServerLink(ABC):
    """One accepted connection of a server."""

    #: Address of the other side.
    peer: str
    #: Requests read and not yet answered.
    busy: int
    #: Done once the connection is closed.
    closed: asyncio.Future[None]

    @abstractmethod
    def drain(self) -> None:
        """Tell the peer, as far as the protocol can, to send new calls elsewhere; answer what was read."""

    @abstractmethod
    def close(self) -> None:
        """Close once what was written has left; handlers that still run are cancelled."""
