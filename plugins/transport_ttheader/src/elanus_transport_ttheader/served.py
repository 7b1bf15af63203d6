"""What all connections of one server share: its routes, and what was decoded before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.errors import ApplicationError
from elanus.service import MethodKind
from elanus_transport_ttheader.protocol.replies import ReplyHeads

if TYPE_CHECKING:
    from elanus.contracts.transport import Dispatcher, Route
    from elanus_transport_ttheader.protocol.frames import Message
    from elanus_transport_ttheader.protocol.headers import RequestHeaders
    from elanus_transport_ttheader.protocol.memo import BlockMemo

__all__ = ["Served", "Target"]

#: Routes that are kept; names come from the wire, so there is a bound.
_ROUTES = 4096


class Target:
    """A method that requests are for, and the heads of its replies."""

    __slots__ = ("heads", "oneway", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.oneway = route.method.kind is MethodKind.ONEWAY
        self.heads = ReplyHeads(route.method.name)


class Served:
    """What all connections of one server share.

    :param memo: decodes the headers of requests.
    :param crc32c: send a checksum with every reply that has a TTHeader.
    """

    def __init__(self, dispatcher: Dispatcher, memo: BlockMemo[RequestHeaders], *, crc32c: bool) -> None:
        self.dispatcher = dispatcher
        self.memo = memo
        self.crc32c = crc32c
        self._targets: dict[tuple[str | None, str, str], Target] = {}

    def target(self, message: Message[RequestHeaders]) -> Target:
        """:raises ApplicationError: no such service or method; the phase is ``"route"``."""
        key = (message.headers.service, message.method, message.framing.wire)
        target = self._targets.get(key)
        if target is None:
            route = self.dispatcher.route(*key)
            if route.method.kind.streams:
                error = ApplicationError(
                    ApplicationError.UNKNOWN_METHOD, f"{route.method} is a stream, which this protocol does not carry"
                )
                error.phase = "route"
                raise error
            if len(self._targets) >= _ROUTES:
                self._targets.clear()
            target = self._targets[key] = Target(route)
        return target
