"""What unknown first bytes are taken for."""

from __future__ import annotations

import pytest

from elanus.first_bytes import guess


@pytest.mark.parametrize(
    ("head", "what", "step"),
    [
        (b"HTTP/1.1 404 Not Found\r\n", "an HTTP/1 answer ('HTTP/1.1 404 Not')", "check the address and the port"),
        (b"GET / HTTP/1.1\r\n", "an HTTP/1 request ('GET / HTTP/1.1')", "check the address and the port"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP/2 preface, as a gRPC client sends it (", "check the address"),
        (b"\0\0\x06\x04\0\0\0\0\0", "HTTP/2 settings, as a gRPC server sends them (00 00 06 04", "check the address"),
        (b"\x16\x03\x01", "a TLS handshake (16 03 01)", "Use TLS on both sides or on none"),
        (b"\x15\x03\x03\0\x02\x02\x46", "a TLS alert (15 03 03 00 02 02 46)", "Use TLS on both sides or on none"),
        (b"PROXY TCP4 10.0.0.1", "a PROXY protocol header, as load balancers send it (", "PROXY protocol off"),
        (b"\r\n\r\n\0\r\nQUIT\n!\x11", "a PROXY protocol header, as load balancers send it (", "PROXY protocol off"),
        (b"-ERR unknown command", "a Redis error ('-ERR unknown com')", "check the address"),
        (b'{"a":1}', """JSON ('{"a":1}')""", "check the address"),
        (
            b"\x82\x21\x01\x04echo",
            "Thrift's compact protocol, which Kitex does not speak (82 21 01",
            "check the address",
        ),
        (b"\x01\x02", "bytes of no known protocol (01 02)", "check the address"),
        (b"", "bytes of no known protocol ('')", "check the address"),
    ],
)
def test_words_for_what_is_not_ours(head: bytes, what: str, step: str) -> None:
    guessed = guess(head)
    assert guessed.what.startswith(what)
    assert step in guessed.next_step
