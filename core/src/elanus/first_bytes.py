"""What the first bytes of a connection look like that is not understood: for the texts of errors and logs."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Guess", "guess"]


class Guess(NamedTuple):
    """What something unknown probably is."""

    #: A noun with the bytes that were seen, such as ``"an HTTP/1 answer ('HTTP/1.1 400 Bad')"``.
    what: str
    #: What to do about it, as a sentence without a full stop.
    next_step: str


_PORT = "The two sides speak different protocols: check the address and the port"
_TLS = "Use TLS on both sides or on none: Client(ssl=...), Server(ssl=...)"
_PROXY = "Switch the PROXY protocol off in the load balancer"

_SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (b"HTTP/1.", "an HTTP/1 answer", _PORT),
    (b"PRI * HTTP/2", "an HTTP/2 preface, as a gRPC client sends it", _PORT),
    *(
        (method, "an HTTP/1 request", _PORT)
        for method in (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ")
    ),
    (b"SSH-", "an SSH greeting", _PORT),
    (b"-ERR", "a Redis error", _PORT),
    (b"PROXY ", "a PROXY protocol header, as load balancers send it", _PROXY),
    (b"\r\n\r\n\0\r\nQUIT\n", "a PROXY protocol header, as load balancers send it", _PROXY),
    (b"\x15\x03", "a TLS alert", _TLS),
    (b"\x16\x03", "a TLS handshake", _TLS),
    (b"\x82\x21", "Thrift's compact protocol, which Kitex does not speak", _PORT),
    (b"{", "JSON", _PORT),
)
#: Bytes that are shown.
_SHOWN = 16


def guess(head: bytes) -> Guess:
    """What *head*, the first bytes of something that is not understood, probably is, and what to do about it."""
    for sign, what, next_step in _SIGNS:
        if head.startswith(sign):
            return Guess(f"{what} ({_shown(head)})", next_step)
    if len(head) >= 9 and head[3] == 4 and head[5:9] == b"\0\0\0\0":
        return Guess(f"HTTP/2 settings, as a gRPC server sends them ({_shown(head)})", _PORT)
    return Guess(f"bytes of no known protocol ({_shown(head)})", _PORT)


def _shown(head: bytes) -> str:
    """The beginning of *head*: text as text, and anything else in hexadecimal."""
    start = head[:_SHOWN].rstrip(b"\r\n")
    return repr(start.decode("ascii")) if start.isascii() and start.decode("ascii").isprintable() else start.hex(" ")
