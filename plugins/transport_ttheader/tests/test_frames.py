"""The receiving side: whatever comes, however it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import RemoteProtocolError
from elanus.limits import DEFAULT_LIMITS, Limits
from elanus_transport_ttheader.protocol.frames import Receiver, sniff
from elanus_transport_ttheader.protocol.framing import (
    BUFFERED,
    FRAMED,
    FRAMED_PROTOBUF,
    TTHEADER,
    TTHEADER_FRAMED,
    TTHEADER_FRAMED_PROTOBUF,
)
from elanus_transport_ttheader.protocol.headers import NO_REQUEST_HEADERS, RequestHeaders
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.ttheader import PREFIX, encode_block

if TYPE_CHECKING:
    import random

FRAMINGS = (BUFFERED, FRAMED, FRAMED_PROTOBUF, TTHEADER, TTHEADER_FRAMED, TTHEADER_FRAMED_PROTOBUF)
LONG_FIELD = b"\x0b\0\x01\0\0\x02\0"  # a string of 512 bytes begins
SMALL = Limits(frame_bytes=4096, header_bytes=1024, depth=8, container_items=64, string_bytes=512)


def receiver(limits: Limits = DEFAULT_LIMITS) -> Receiver[RequestHeaders]:
    return Receiver(BlockMemo(RequestHeaders, RequestHeaders.with_timeout), NO_REQUEST_HEADERS, limits)


def seen(messages: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (m.framing, m.kind, m.method, m.seq_id, m.frame_id, m.flags, dict(m.headers.values), m.payload, m.size)
        for m in messages
    ]


def fault(reader: Receiver[RequestHeaders]) -> str:
    return str(reader.failure)[:60]  # without the bytes that it may quote, of which more or fewer were there


def feed(reader: Receiver[RequestHeaders], data: bytes, cuts: list[int]) -> list[tuple[Any, ...]]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    messages, start = [], 0
    for end in ends:
        messages += seen(reader.receive(data[start:end]))
        start = end
    return messages


def pieces() -> st.SearchStrategy[bytes]:
    """Bytes that lead deep into the reader: magics, small and huge lengths, and anything."""
    return st.one_of(
        st.binary(max_size=24),
        st.sampled_from(
            (
                b"\x80\x01\0\x01",
                b"\x90\x01\0\x01",
                b"\x10\0\0\0",
                b"\x10\0\0\x02",
                b"\xff\xaf\0\x04",
                b"\0\0\0\x04echo",
                b"\0\0\0\x01",
                b"\0\0\0\x40",
                b"\xff\xff\xff\xff",
                b"\x7f\xff\xff\xff",
                b"\x0b\0\x01\0\0\0\x02hi",
                b"\x0c\0\x01",
                b"\x0f\0\x01\x0c\0\0\0\x02",
                b"\x0d\0\x01\x0b\x08\0\0\0\x01",
                b"\0\x03\0\0",
                b"\x01\0\x01\0\x03isn\0\x04Echo",
                b"\x10\0\x01\0\x0c\0\x041500",
                b"\0",
            )
        ),
    )


@given(st.lists(pieces(), max_size=30).map(b"".join), st.lists(st.integers(0, 10_000), max_size=12))
def test_anything_gives_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    whole, cut = receiver(SMALL), receiver(SMALL)
    expected = seen(whole.receive(data))
    assert feed(cut, data, cuts) == expected
    assert fault(cut) == fault(whole)
    assert isinstance(whole.failure, RemoteProtocolError | None)
    assert cut.partial_bytes == whole.partial_bytes <= max(len(data), SMALL.frame_bytes)
    assert isinstance(whole.end(), RemoteProtocolError | None)


def good_messages(harness: Any, chance: random.Random) -> bytes:
    strings = {"isn": "Echo", "RPC_PERSIST_k": "v"}
    ints = {6: "dst", 22: "1", 12: str(chance.randrange(5000))}
    payloads = (b"\0", b"\x0b\0\x01\0\0\0\x05hello\0", b"\x0f\0\x01\x0c\0\0\0\x02\0\0\0", b"\x0d\0\2\x0b\x0b\0\0\0\0\0")
    return b"".join(
        harness.message(
            chance.choice(("echo", "a", "longer_name")),
            chance.randrange(-(2**31), 2**31),
            chance.choice(payloads),
            kind=chance.randrange(1, 6),
            framing=chance.choice(FRAMINGS),
            flags=chance.randrange(2),
            strings=strings,
            ints=ints,
        )
        for _ in range(chance.randrange(1, 6))
    )


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 10_000), max_size=12))
def test_damaged_messages(harness: Any, chance: random.Random, cuts: list[int]) -> None:
    data = bytearray(good_messages(harness, chance))
    for _ in range(chance.randrange(0, 4)):
        where = chance.randrange(len(data))
        if chance.random() < 0.3:
            del data[where]
        else:
            data[where] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if not data:
            return
    whole, cut = receiver(SMALL), receiver(SMALL)
    expected = seen(whole.receive(bytes(data)))
    assert feed(cut, bytes(data), cuts) == expected
    assert fault(cut) == fault(whole)


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 10_000), max_size=12))
def test_good_messages_arrive_however_they_are_cut(harness: Any, chance: random.Random, cuts: list[int]) -> None:
    data = good_messages(harness, chance)
    whole, cut = receiver(), receiver()
    expected = seen(whole.receive(data))
    assert feed(cut, data, cuts) == expected
    assert sum(message[-1] for message in expected) == len(data)
    assert (cut.failure, cut.partial_bytes, whole.partial_bytes) == (None, 0, 0)
    # The memo is warm now: the short way gives what the long way gave.
    assert seen(whole.receive(data)) == expected


def prefix(length: int, words: int, *, flags: int = 0) -> bytes:
    return PREFIX.pack(length, 0x1000, flags, 1, words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (prefix(5000, 1), "a frame of 5004 bytes, over the limit of 4096"),
        (prefix(0xFFFFFFFF, 1), "over the limit of 4096"),
        (b"\0\0\x13\x88\x80\x01\0\x01", "a frame of 5004 bytes, over the limit of 4096"),
        (b"\0\0\x13\x88\x90\x01\0\x01", "a frame of 5004 bytes, over the limit of 4096"),
        (prefix(4000, 500) + bytes(4000), "a TTHeader of 2000 bytes, over the limit of 1024"),
        (prefix(30, 100) + bytes(30), "in a frame of 34"),
        (prefix(6, 0)[:10], "a TTHeader frame of 10 bytes"),
        (prefix(30, 0) + bytes(30), "protocol id missing"),
        (prefix(30, 1) + b"\x02\0\0\0" + bytes(20), "protocol id 02"),
        (prefix(30, 1) + b"\0\xff\0\0" + bytes(20), "announces 255 transforms"),
        (prefix(30, 1) + b"\0\0\x33\0" + bytes(20), "unknown info block 0x33"),
        (prefix(30, 2) + b"\0\0\x01\0\x01\0\x09a" + bytes(20), "longer than the header"),
        (prefix(30, 2) + b"\0\0\x10\xff\xff\0\0\0" + bytes(20), "longer than the header"),
        (prefix(22, 1) + bytes(4) + b"whatever", "behind a header, bytes of no known protocol"),
        (prefix(34, 1) + bytes(4) + b"\0\0\0\x08\x80\x01\0\x01\0\0\0\x04echo\0\0\0\x01", "a frame of 8 bytes in 16"),
        (prefix(34, 1) + bytes(4) + b"\0\0\0\x10\x80\x01\0\x01\0\0\0\x40echo\0\0\0\x01", "method name is longer"),
        (b"\0\0\0\x02\x80\x01\0\x01", "too short for an envelope"),
        (b"\x80\x01\0\x01\x7f\xff\xff\xff", "a method name of 2147483647 bytes"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\x0b\0\x01\x7f\xff\xff\xff", "string_bytes"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\x0b\0\x01\xff\xff\xff\xff", "a string of negative size -1"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\x0f\0\x01\x0a\0\x01\0\0", "a container of size 65536"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01" + b"\x0c\0\x01" * 9, "nested deeper than 8"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\x05\0\x01", "unknown type 5"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\x0f\0\x01\0\0\0\0\x01", "whose elements have no type"),
        (b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01" + (LONG_FIELD + bytes(512)) * 8, "over the limit of 4096"),
        (b"\xff\xaf\0\x04\0\x01\0\x09" + b"\x80\x01\0\x01\0\0\0\x01a\0\0\0\x01\0", "a mesh header whose pairs"),
        (b"\x80\x21\x01\x01echo", "bytes of no known protocol"),
    ],
)
def test_what_breaks_the_rules(data: bytes, words: str) -> None:
    reader = receiver(SMALL)
    assert reader.receive(data) == []
    assert words in str(reader.failure)
    assert reader.receive(data) == []
    assert reader.partial_bytes == 0
    dripped = receiver(SMALL)
    assert [message for byte in data for message in dripped.receive(bytes([byte]))] == []
    assert fault(dripped) == fault(reader)


def test_what_came_before_a_fault_is_not_lost(harness: Any) -> None:
    reader = receiver()
    messages = reader.receive(harness.message("echo", 1) + harness.message("echo", 2) + b"GET / HTTP/1.1\r\n")
    assert [message.seq_id for message in messages] == [1, 2]
    assert "HTTP/1 request" in str(reader.failure)


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: f"{framing.name}-{framing.wire}")
def test_what_is_held_is_bounded_by_what_was_announced(harness: Any, framing: Any) -> None:
    reader = receiver(SMALL)
    data = harness.message("echo", 1, b"\x0b\0\1\0\0\1\xff" + bytes(511) + b"\0", framing=framing)
    for byte in data[:-1]:
        assert reader.receive(bytes([byte])) == []
        assert reader.partial_bytes <= len(data)
    assert len(reader.receive(data[-1:])) == 1
    assert reader.partial_bytes == 0


class Counted(bytearray):
    """Counts how often a byte is looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        Counted.looks += 1
        return super().__getitem__(index)


def test_a_dripping_struct_is_walked_once() -> None:
    from elanus_transport_ttheader.protocol.skipper import StructWalker

    item = b"\x0b\0\1\0\0\0\3abc\x0d\0\2\x08\x0b\0\0\0\1\0\0\0\1\0\0\0\1x\0"
    struct = b"\x0f\0\1\x0c" + (300).to_bytes(4, "big") + item * 300 + b"\0"
    walker, buffer, Counted.looks = StructWalker(0, DEFAULT_LIMITS), Counted(), 0
    for byte in struct[:-1]:
        buffer.append(byte)
        assert walker.advance(buffer) is None
    buffer.append(struct[-1])
    assert walker.advance(buffer) == len(struct)
    assert Counted.looks <= 2 * len(struct)


def test_blocks_in_any_order_with_padding_and_repeats(harness: Any) -> None:
    block = (
        b"\0\0"
        b"\x10\0\1\0\x09\0\4echo"
        b"\0\0"
        b"\x11\0\3tok"
        b"\x01\0\1\0\1a\0\1b"
        b"\0"
        b"\x01\0\2\0\1a\0\1c\0\1d\0\0"
        b"\x10\0\1\0\x16\0\1" + b"1"
    )
    block += bytes(-len(block) % 4)
    rest = harness.message("echo", 1, framing=FRAMED)
    data = prefix(10 + len(block) + len(rest), len(block) // 4) + block + rest
    (message,) = receiver().receive(data)
    assert message.headers.values == {9: "echo", "RPC_TRANSIT_gdpr-token": "tok", "a": "c", "d": "", 22: "1"}
    assert message.headers.metadata.transient == {"gdpr-token": "tok"}


@pytest.mark.parametrize("protocol", [0, 3, 4])
@pytest.mark.parametrize("transforms", [b"", b"\1", b"\1\3"])
def test_protocol_ids_and_transforms_that_make_no_difference(harness: Any, protocol: int, transforms: bytes) -> None:
    block = bytes([protocol, len(transforms)]) + transforms + b"\x01\0\1\0\1a\0\1b"
    block += bytes(-len(block) % 4)
    rest = harness.message("echo", 1, framing=FRAMED)
    (message,) = receiver().receive(prefix(10 + len(block) + len(rest), len(block) // 4) + block + rest)
    assert message.headers.values == {"a": "b"}


def test_names_and_values_that_are_no_utf8_survive(harness: Any) -> None:
    data = harness.message("na\udcffme", 1, strings={"k\udcfe": "\udcfd"})
    (message,) = receiver().receive(data)
    assert message.method == "na\udcffme"
    assert message.headers.values == {"k\udcfe": "\udcfd"}
    assert encode_block({"k\udcfe": "\udcfd"}, {}) in data


def test_the_end_between_messages_is_no_fault(harness: Any) -> None:
    reader = receiver()
    reader.receive(harness.message("echo", 1))
    assert reader.end() is None
    reader.receive(b"\0\0")
    assert "the peer closed after" in str(reader.end())


@given(st.binary(max_size=24))
def test_sniffing(data: bytes) -> None:
    answers = [sniff(data[:size]) for size in range(len(data) + 1)]
    assert answers[:8] == [None] * min(8, len(answers))
    assert None not in answers[8:]
    assert len(set(answers[8:])) <= 1
