"""A name server of a few lines, for what a real one does not do on request."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

SOA = "ns. admin. 1 60 60 3600 7"


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP from :attr:`records`; counts what it is asked."""

    def __init__(self) -> None:
        #: By name and kind: TTL and values.
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        #: By name: the error that is answered instead; ``None`` for silence.
        self.failing: dict[str, dns.rcode.Rcode | None] = {}
        #: Put the addresses of SRV targets beside the answer.
        self.additional = False
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = str(question.name).rstrip("."), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        if name in self.failing:
            failure = self.failing[name]
            if failure is None:
                return
            reply.set_rcode(failure)
        else:
            self._fill(reply, name, kind)
        self._transport.sendto(reply.to_wire(), peer)

    def _fill(self, reply: dns.message.Message, name: str, kind: str) -> None:
        if (name, kind) in self.records:
            ttl, values = self.records[name, kind]
            reply.answer.append(dns.rrset.from_text_list(f"{name}.", ttl, "IN", kind, values))
        else:
            reply.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", SOA))
            if name not in {known for known, _ in self.records}:
                reply.set_rcode(dns.rcode.NXDOMAIN)
        if self.additional and kind == "SRV":
            for (host, other), (ttl, values) in self.records.items():
                if other in ("A", "AAAA"):
                    reply.additional.append(dns.rrset.from_text_list(f"{host}.", ttl, "IN", other, values))


@pytest.fixture
async def name_server() -> AsyncGenerator[NameServer]:
    """A name server on loopback."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield server
    transport.close()


@pytest.fixture
def options(name_server: NameServer) -> Callable[..., dict[str, object]]:
    """``options(port=80)``: those that lead to the name server, and more."""

    def build(**more: object) -> dict[str, object]:
        fast = {"min_refresh": 0.02, "max_refresh": 0.05, "timeout": 2.0}
        return {"nameservers": name_server.address, "search": [], "resolv_conf": "/nowhere", **fast, **more}

    return build
