"""Header blocks: what is written is read, what repeats is not read again, and what keys mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import BizStatusError, LocalProtocolError
from elanus_transport_ttheader.protocol import memo as memo_module
from elanus_transport_ttheader.protocol.biz_status import biz_status_strings, read_biz_status
from elanus_transport_ttheader.protocol.headers import ReplyHeaders, RequestHeaders
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.ttheader import decode_block, encode_block

TEXTS = st.text(max_size=12)
STRINGS = st.dictionaries(
    st.one_of(TEXTS, st.sampled_from(("isn", "rip", "RPC_TRANSIT_gdpr-token"))), TEXTS, max_size=6
)
INTS = st.dictionaries(
    st.one_of(st.integers(0, 30), st.integers(0, 0xFFFF)), st.one_of(TEXTS, st.integers(0, 9999).map(str)), max_size=6
)


def memo() -> BlockMemo[RequestHeaders]:
    return BlockMemo(RequestHeaders, RequestHeaders.with_timeout)


def facts(headers: RequestHeaders) -> list[Any]:
    return [getattr(headers, name) for name in RequestHeaders.__slots__]


@given(STRINGS, INTS)
def test_what_is_written_is_read(strings: dict[str, str], ints: dict[int, str]) -> None:
    block = encode_block(strings, ints)
    assert len(block) % 4 == 0
    pairs = decode_block(block)
    assert (pairs.strings, pairs.ints) == (strings, ints)


@given(st.lists(st.tuples(STRINGS, INTS, st.integers(0, 10**6)), max_size=8))
def test_the_memo_makes_no_difference(headers: list[tuple[dict[str, str], dict[int, str], int]]) -> None:
    remembering = memo()
    for strings, ints, left in headers * 2:
        for last in (left, left + 1):
            ints.pop(12, None)
            block = encode_block(strings, {**ints, 12: str(last)})
            pairs = decode_block(block)
            expected = RequestHeaders(pairs.strings, pairs.ints)
            assert facts(remembering.get(block) or remembering.decode(block)) == facts(expected)


@given(st.binary(max_size=40), st.binary(max_size=8))
def test_bytes_that_look_like_a_timeout_deceive_nobody(middle: bytes, end: bytes) -> None:
    remembering = memo()
    remembering.decode(encode_block({"a": "b"}, {9: "echo", 12: "100"}))
    first = encode_block({"a": "b"}, {9: "echo", 12: "100"})
    block = first[: first.index(b"100")] + middle + b"\0\x0c\0" + end
    try:
        pairs = decode_block(block)
    except Exception as error:
        with pytest.raises(type(error)):
            remembering.decode(block)
    else:
        assert facts(remembering.decode(block)) == facts(RequestHeaders(pairs.strings, pairs.ints))


def test_another_timeout_costs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    remembering = memo()
    strings, ints = {"isn": "Echo", "RPC_PERSIST_k": "v"}, {6: "dst", 9: "echo"}
    first = remembering.decode(encode_block(strings, {**ints, 12: "1000"}))

    def refuse(block: bytes) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(memo_module, "decode_block", refuse)
    for left in (999, 998, 1, 12345):
        headers = remembering.decode(encode_block(strings, {**ints, 12: str(left)}))
        assert headers.timeout_ms == left
        assert headers.values[12] == str(left)
        assert headers.metadata is first.metadata
        assert remembering.get(encode_block(strings, {**ints, 12: str(left)})) is headers
    assert first.timeout_ms == 1000


def test_what_is_kept_is_bounded() -> None:
    remembering = memo()
    for number in range(5000):
        remembering.decode(encode_block({"k": str(number)}, {12: "1"}))
    assert len(remembering._known) <= 2048
    assert len(remembering._prefixes) <= 2048
    big = encode_block({"k": "v" * 2000}, {})
    remembering.decode(big)
    assert remembering.get(big) is None
    checked = encode_block({"crc32c": "e3069283"}, {})
    remembering.decode(checked)
    assert remembering.get(checked) is None, "a checksum is not seen twice"


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "abc", "١٢", "9" * 40, " 5", "5ms"])
def test_timeouts_that_make_no_sense_are_none(text: str) -> None:
    assert RequestHeaders({}, {12: text}).timeout_ms == 0


def test_empty_is_absent() -> None:
    headers = RequestHeaders({"isn": "", "RPC_TRANSIT_": "x", "RPC_PERSIST_k": ""}, {})
    assert headers.service is None
    assert not headers.metadata


def test_a_transient_value_wins_over_its_upstream_one() -> None:
    pairs = {"RPC_TRANSIT_UPSTREAM_k": "old", "RPC_TRANSIT_k": "new", "rpc_transit_k": "other case"}
    assert RequestHeaders(pairs, {}).metadata.transient == {"k": "new"}
    assert RequestHeaders(dict(reversed(pairs.items())), {}).metadata.transient == {"k": "new"}


def test_headers_over_64_kib_are_not_written() -> None:
    most = 64 * 1024 - 16  # with the prefix of 14 bytes, in words of 4, the last size below 64 KiB
    around = 2 + 3 + 2 + 1 + 2  # protocol and transforms, block and count, length, key, length
    assert len(encode_block({"k": "v" * (most - around)}, {})) == most
    with pytest.raises(LocalProtocolError, match="over 65536"):
        encode_block({"k": "v" * (most - around + 1)}, {})


@pytest.mark.parametrize(
    ("strings", "code"),
    [
        ({}, None),
        ({"biz-status": "0", "biz-message": "x"}, None),
        ({"biz-status": ""}, None),
        ({"biz-status": "x"}, None),
        ({"biz-status": "1_0"}, None),
        ({"biz-status": " 1"}, None),
        ({"biz-status": "2147483648"}, None),
        ({"biz-status": "2147483647"}, 2147483647),
        ({"biz-status": "-2147483648"}, -2147483648),
        ({"biz-status": "+7"}, 7),
    ],
)
def test_which_business_statuses_count(strings: dict[str, str], code: int | None) -> None:
    status = read_biz_status(strings)
    assert (status and status.code) == code
    assert (ReplyHeaders(strings, {}).biz_status() is None) == (code is None)


@pytest.mark.parametrize("extra", ["", "null", "{}", "[1]", "{", "7", '{"a":' * 100_000])
def test_extra_values_that_make_no_sense_leave_the_status(extra: str) -> None:
    status = read_biz_status({"biz-status": "5", "biz-message": "m", "biz-extra": extra})
    assert status is not None
    assert (status.code, status.message, status.extra) == (5, "m", {})


@given(st.integers(-(2**31), 2**31 - 1).filter(bool), st.text(), st.dictionaries(st.text(), st.text(), max_size=4))
def test_business_statuses_there_and_back(code: int, message: str, extra: dict[str, str]) -> None:
    strings = biz_status_strings(BizStatusError(code, message, extra))
    assert ("biz-extra" in strings) == bool(extra)
    assert not set(strings.get("biz-extra", "")) & set("<>&\u2028\u2029")
    status = read_biz_status(strings)
    assert status is not None
    assert (status.code, status.message, status.extra) == (code, message, extra)


def test_extra_values_are_written_as_go_does() -> None:
    strings = biz_status_strings(BizStatusError(1, "", {"b": "é\u2028", "a": "<&>"}))
    assert strings["biz-extra"] == '{"a":"\\u003c\\u0026\\u003e","b":"é\\u2028"}'


def test_each_caller_gets_a_status_of_its_own() -> None:
    headers = ReplyHeaders({"biz-status": "5"}, {})
    assert headers.biz_status() is not headers.biz_status()
