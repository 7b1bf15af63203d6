"""Error replies of both codecs: written, read, and read from peers that write them otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ApplicationError, RemoteProtocolError
from elanus_transport_ttheader.protocol import kitex_protobuf, thrift
from elanus_transport_ttheader.protocol.crc32c import checksum

if TYPE_CHECKING:
    from collections.abc import Callable

CODES = st.integers(-(2**31), 2**31 - 1)


@given(CODES, st.text())
def test_thrift_there_and_back(code: int, text: str) -> None:
    error = thrift.read_exception(thrift.write_exception(code, text))
    assert (error.code, error.message) == (code, text or thrift.default_text(code))


@given(CODES, st.text())
def test_protobuf_there_and_back(code: int, text: str) -> None:
    error = kitex_protobuf.read_error(kitex_protobuf.write_error(code, text))
    assert (error.code, error.message) == (code, text or thrift.default_text(code))


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (b"\0", 0, "unknown application exception"),
        (b"\x08\0\2\0\0\0\1\0", 1, "unknown method"),
        (b"\x08\0\2\0\0\0\1\x0b\0\1\0\0\0\1x\0", 1, "x"),
        (b"\x0c\0\7\x0f\0\1\x0b\0\0\0\1\0\0\0\1y\0\x0b\0\1\0\0\0\1x\x0d\0\x08\x0b\x0c\0\0\0\1\0\0\0\1k\0\0", 0, "x"),
        (b"\x0a\0\1\0\0\0\0\0\0\0\1\x0b\0\2\0\0\0\1z\0", 0, "unknown application exception"),
    ],
    ids=["empty", "no message", "other order", "unknown fields", "other types"],
)
def test_thrift_of_others(payload: bytes, code: int, text: str) -> None:
    error = thrift.read_exception(payload)
    assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (b"", 0, "unknown application exception"),
        (b"\x08\x14", 20, "unknown service"),
        (b"\x12\1x\x08\x06", 6, "x"),
        (b"\x1a\2ab\x25abcd\x29abcdefgh\x30\xff\x01\x08\x06", 6, "unknown internal error"),
        (b"\x08\x01\x08\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01", -5, "error -5"),
    ],
    ids=["empty", "no message", "other order", "unknown fields", "twice"],
)
def test_protobuf_of_others(payload: bytes, code: int, text: str) -> None:
    error = kitex_protobuf.read_error(payload)
    assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x0b", b"\x0b\0\1\0\0", b"\x0b\0\1\0\0\0\5abc", b"\x0b\0\1\xff\xff\xff\xff", b"\x05\0\1", b"\x08\0\2\0"],
)
def test_broken_thrift(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        thrift.read_exception(payload)


@pytest.mark.parametrize("payload", [b"\x08", b"\x12\5abc", b"\x13", b"\x0c", b"\xff" * 12, b"\x25abc"])
def test_broken_protobuf(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        kitex_protobuf.read_error(payload)


@pytest.mark.parametrize("read", [thrift.read_exception, kitex_protobuf.read_error])
@given(payload=st.binary(max_size=64))
def test_anything(read: Callable[[bytes], ApplicationError], payload: bytes) -> None:
    try:
        assert isinstance(read(payload), ApplicationError)
    except RemoteProtocolError:
        pass


def test_the_check_value_of_crc32c() -> None:
    assert checksum(b"123456789") == "e3069283"
    assert checksum(b"") == "00000000"
