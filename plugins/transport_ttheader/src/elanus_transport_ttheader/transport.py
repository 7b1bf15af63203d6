"""The transports ``ttheader``, ``framed`` and ``buffered``: one family, one server side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from elanus.contracts.transport import Sniff, Transport
from elanus.net.connecting import open_connection
from elanus_transport_ttheader.connection import TTHeaderConnection
from elanus_transport_ttheader.link import TTHeaderLink
from elanus_transport_ttheader.options import read_options
from elanus_transport_ttheader.protocol.frames import sniff
from elanus_transport_ttheader.protocol.headers import ReplyHeaders, RequestHeaders
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.requests import RequestHeads
from elanus_transport_ttheader.protocol.ttheader import FLAG_OUT_OF_ORDER
from elanus_transport_ttheader.served import Served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.contracts.transport import Connection, Dispatcher, LinkOptions, ServerLink
    from elanus_transport_ttheader.options import TTHeaderOptions

__all__ = ["TTHeaderTransport"]

#: Addresses of servers known to answer out of order; the oldest are forgotten first.
_ADDRESSES = 4096


class TTHeaderTransport(Transport):
    """Speaks TTHeader, framed or buffered, as *name* says, and serves all of them.

    :param name: ``"ttheader"``, ``"framed"`` or ``"buffered"``: what clients send.
    """

    sniff_bytes = 8

    def __init__(self, name: str, options: TTHeaderOptions) -> None:
        self.name = name
        self._options = options
        header = name == "ttheader"
        self._header = header
        self._requests: BlockMemo[RequestHeaders] = BlockMemo(RequestHeaders, RequestHeaders.with_timeout)
        self._replies: BlockMemo[ReplyHeaders] = BlockMemo(ReplyHeaders, ReplyHeaders.with_timeout)
        flags = FLAG_OUT_OF_ORDER if options.mux is not False else 0
        self._heads = RequestHeads(header=header, framed=options.framed, flags=flags, checked=options.crc32c)
        self._served: WeakKeyDictionary[Dispatcher, Served] = WeakKeyDictionary()
        self._out_of_order: dict[str, None] = {}

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> TTHeaderTransport:
        """Build it from the user's options. :raises ConfigError: an unknown option, or a value of the wrong type."""
        return cls(name, read_options(name, options))

    def sniff(self, head: bytes) -> Sniff:
        answer = sniff(head)
        if answer is None:
            return Sniff.MORE
        return Sniff.YES if answer else Sniff.NO

    def serve(self, wire: asyncio.Transport, head: bytes, dispatcher: Dispatcher, options: LinkOptions) -> ServerLink:
        served = self._served.get(dispatcher)
        if served is None:
            served = self._served[dispatcher] = Served(dispatcher, self._requests, crc32c=self._options.crc32c)
        link = TTHeaderLink(served, options, asyncio.get_running_loop())
        wire.set_protocol(link)
        link.connection_made(wire)
        link.data_received(head)
        return link

    def shares(self, address: str, lane: str) -> bool:
        return bool(self._options.mux) or address in self._out_of_order

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        loop = asyncio.get_running_loop()
        auto = self._header and self._options.mux is None

        def connection() -> TTHeaderConnection:
            return TTHeaderConnection(
                address,
                self._heads,
                self._replies,
                options,
                loop,
                mux=self.shares(address, lane),
                learn=self._learn if auto else None,
            )

        return await open_connection(connection, address, options.ssl)

    def _learn(self, address: str, out_of_order: bool) -> None:
        self._out_of_order.pop(address, None)
        if out_of_order:
            self._out_of_order[address] = None
            if len(self._out_of_order) > _ADDRESSES:
                del self._out_of_order[next(iter(self._out_of_order))]
