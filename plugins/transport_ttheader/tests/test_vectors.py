"""Messages captured from Kitex: read, written again, and cut at every byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elanus.limits import DEFAULT_LIMITS
from elanus_transport_ttheader.protocol.frames import Receiver, sniff
from elanus_transport_ttheader.protocol.framing import PROTOBUF, THRIFT, framing_of
from elanus_transport_ttheader.protocol.headers import CHECKSUM_KEY, NO_REQUEST_HEADERS, RequestHeaders
from elanus_transport_ttheader.protocol.heads import checked_head, envelope, head
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.replies import CONTROL_FRAME
from elanus_transport_ttheader.protocol.thrift import read_exception, write_exception
from elanus_transport_ttheader.protocol.ttheader import encode_block

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
BY_NAME = {vector["name"]: vector for vector in VECTORS}
every = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def receiver() -> Receiver[RequestHeaders]:
    return Receiver(BlockMemo(RequestHeaders, RequestHeaders.with_timeout), NO_REQUEST_HEADERS, DEFAULT_LIMITS)


def headers_of(vector: dict[str, Any]) -> tuple[dict[str, str], dict[int, str]]:
    decoded = vector["decoded"].get("ttheader") or {"str": [], "int": []}
    return dict(decoded["str"]), dict(decoded["int"])


def test_there_is_a_vector_of_every_kind() -> None:
    assert len(VECTORS) == 15


@every
def test_reading(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert sniff(data[:8]) is True
    reader = receiver()
    (message,) = reader.receive(data)
    assert reader.failure is None
    assert reader.partial_bytes == 0
    inner = vector["decoded"]["inner"]
    assert (message.method, message.kind, message.seq_id) == (inner["method"], inner["type"], inner["seq"])
    assert message.framing.framed == inner["framed"]
    assert message.framing.wire == (PROTOBUF if inner["codec"] == "kitexpb" else THRIFT)
    assert message.size == len(data)
    strings, ints = headers_of(vector)
    assert set(message.headers.values.items()) == {*strings.items(), *ints.items()}
    if "ttheader" in vector["decoded"]:
        assert message.frame_id == vector["decoded"]["ttheader"]["seq"]
        assert message.flags == vector["decoded"]["ttheader"]["flags"]


@every
def test_writing(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    (message,) = receiver().receive(data)
    strings, ints = headers_of(vector)
    framing = framing_of(
        header="ttheader" in vector["decoded"], framed=message.framing.framed, wire=message.framing.wire
    )
    assert framing is message.framing
    start = envelope(framing, message.kind, message.method)
    if strings.pop(CHECKSUM_KEY, ""):
        top = checked_head(framing, 0, strings, ints, start, message.seq_id, message.payload)
    else:
        top = head(framing, 0, encode_block(strings, ints), start)(message.seq_id, len(message.payload))
    assert top + message.payload == data


@every
def test_cut_anywhere(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    (whole,) = receiver().receive(data)
    for cut in range(len(data) + 1):
        reader = receiver()
        messages = reader.receive(data[:cut])
        assert len(messages) == (cut == len(data))
        messages += reader.receive(data[cut:])
        assert [(each.method, each.payload, each.size) for each in messages] == [
            (whole.method, whole.payload, whole.size)
        ]


@every
def test_byte_by_byte_and_in_a_row(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"]) * 3
    reader = receiver()
    dripped = [message for byte in data for message in reader.receive(bytes([byte]))]
    at_once = receiver().receive(data)
    assert len(dripped) == len(at_once) == 3
    assert [each.payload for each in dripped] == [each.payload for each in at_once]


def test_all_of_them_on_one_connection() -> None:
    data = b"".join(bytes.fromhex(vector["hex"]) for vector in VECTORS)
    whole = [repr(message) for message in receiver().receive(data)]
    assert len(whole) == len(VECTORS)
    for size in (1, 2, 3, 7, 64, 100):
        reader = receiver()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [repr(message) for piece in pieces for message in reader.receive(piece)] == whole


def test_the_checksum_is_verified() -> None:
    data = bytearray.fromhex(BY_NAME["ttheader-call-crc32c"]["hex"])
    data[-3] ^= 1
    reader = receiver()
    assert reader.receive(bytes(data)) == []
    assert "checksum" in str(reader.failure)


def test_the_exception_of_an_unknown_service() -> None:
    (message,) = receiver().receive(bytes.fromhex(BY_NAME["thrift-framed-exception-unknown-service"]["hex"]))
    error = read_exception(message.payload)
    assert (error.code, error.message) == (20, "unknown service , method zzz")
    assert write_exception(error.code, error.message) == message.payload


def test_the_control_frame() -> None:
    assert CONTROL_FRAME.hex() == BY_NAME["ttheader-mux-control-frame"]["hex"]


def test_streaming_frames_are_left_to_others() -> None:
    frame = bytes.fromhex("0000004a10000002") + bytes(70)
    assert sniff(frame[:8]) is False
    reader = receiver()
    assert reader.receive(frame) == []
    assert "Streaming" in str(reader.failure)
