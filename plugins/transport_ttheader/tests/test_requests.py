"""Heads of requests: equal calls get equal bytes, different ones their own, and what is kept is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import LocalProtocolError
from elanus.limits import DEFAULT_LIMITS
from elanus.metadata import Metadata
from elanus.options import CallOptions
from elanus.service import MethodInfo, ServiceInfo
from elanus.testing.transport_peers import CopyCodec
from elanus_transport_ttheader.protocol.frames import Receiver
from elanus_transport_ttheader.protocol.headers import NO_REQUEST_HEADERS, RequestHeaders
from elanus_transport_ttheader.protocol.memo import BlockMemo
from elanus_transport_ttheader.protocol.requests import RequestHeads

PAYLOAD = b"\x0b\0\1\0\0\0\2hi\0"
TEXTS = st.text(st.characters(codec="ascii"), min_size=1, max_size=8)
VALUES = st.dictionaries(TEXTS, TEXTS, max_size=3)


def heads(**how: Any) -> RequestHeads:
    return RequestHeads(**{"header": True, "framed": True, "flags": 1, "checked": False, **how})


def sent(requests: RequestHeads, call: Any, seq_id: int = 1, left_ms: int = 0) -> Any:
    head = requests.render(requests.template(call), call, seq_id, left_ms, PAYLOAD)
    receiver = Receiver(BlockMemo(RequestHeaders, RequestHeaders.with_timeout), NO_REQUEST_HEADERS, DEFAULT_LIMITS)
    (message,) = receiver.receive(head + PAYLOAD)
    assert receiver.failure is None
    return message


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("echo", "other")),
            st.sampled_from(("", "a.caller")),
            VALUES,
            VALUES,
            st.integers(0, 5000),
            st.sampled_from(("", "log")),
            st.integers(0, 2),
            st.dictionaries(st.one_of(TEXTS, st.integers(100, 200)), TEXTS, max_size=2),
            st.integers(-(2**31), 2**31 - 1),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_every_call_gets_its_own_headers(harness: Any, calls: list[tuple[Any, ...]], checked: bool) -> None:
    requests = heads(checked=checked)
    for method, caller, transient, persistent, left_ms, log_id, attempt, headers, seq_id in calls * 2:
        call = harness.call(
            method,
            caller=caller,
            metadata=Metadata(transient, persistent),
            log_id=log_id,
            attempt=attempt,
            headers=headers,
        )
        message = sent(requests, call, seq_id, left_ms)
        expected: dict[Any, str] = {"isn": "Echo", 6: "dst.echo", 9: method, 22: "1", 1: "framed"}
        expected |= {3: caller} if caller else {}
        expected |= {"RPC_TRANSIT_" + key: value for key, value in transient.items()}
        expected |= {"RPC_PERSIST_" + key: value for key, value in persistent.items()}
        expected |= {2: log_id} if log_id else {}
        expected |= {"RPC_PERSIST_RetryReq": str(attempt)} if attempt else {}
        expected |= {12: str(left_ms)} if left_ms else {}
        expected |= headers
        values = dict(message.headers.values)
        assert len(values.pop("crc32c", "")) == (8 if checked else 0)
        assert values == expected
        assert (message.method, message.seq_id, message.frame_id) == (method, seq_id, seq_id)


def test_the_remaining_time_comes_last(harness: Any) -> None:
    requests = heads()
    call = harness.call(metadata=Metadata({"k": "v"}))
    template = requests.template(call)
    one, other = (requests.render(template, call, 1, left_ms, PAYLOAD) for left_ms in (1000, 2000))
    where = one.index(b"1000")
    assert other[:where] == one[:where]
    assert other[where : where + 4] == b"2000"
    assert other[where + 4 :] == one[where + 4 :]


def test_the_connect_timeout_of_a_call(harness: Any) -> None:
    message = sent(heads(), harness.call(options=CallOptions(connect_timeout=0.0501)))
    assert message.headers.values[17] == "50"


def test_headers_of_the_call_win(harness: Any) -> None:
    message = sent(heads(), harness.call(headers={6: "mine", "isn": "Mine", 12: "7"}), left_ms=500)
    assert (message.headers.callee, message.headers.service, message.headers.timeout_ms) == ("mine", "Mine", 7)


def test_the_acl_token_has_a_block_of_its_own(harness: Any) -> None:
    call = harness.call(metadata=Metadata({"gdpr-token": "secret"}))
    requests = heads()
    head = requests.render(requests.template(call), call, 1, 0, PAYLOAD)
    assert b"\x11\0\6secret" in head
    assert b"gdpr-token" not in head
    assert sent(requests, call).headers.metadata.transient == {"gdpr-token": "secret"}


def test_what_is_kept_is_bounded(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elanus_transport_ttheader.protocol.requests._KEPT", 50)
    requests = heads()
    for number in range(1000):
        call = harness.call(metadata=Metadata({"trace": str(number)}))
        requests.render(requests.template(call), call, 1, number, PAYLOAD)
        requests.render(requests.template(harness.call()), harness.call(), 1, number, PAYLOAD)
        kept = sum(len(template._last_heads) + len(template._kept) for template in requests._templates.values())
        assert kept <= 50


def test_what_cannot_be_carried(harness: Any) -> None:
    for wire, how, words in (
        ("protobuf", {"framed": False}, "an unframed transport cannot carry"),
        ("protobuf", {"framed": False, "header": False}, "an unframed transport cannot carry"),
        ("msgpack", {}, "this transport cannot carry"),
    ):
        method = MethodInfo("echo", "Echo")
        call = harness.call()
        call.service, call.method = ServiceInfo("Echo", CopyCodec(wire), {"echo": method}), method
        with pytest.raises(LocalProtocolError, match=words):
            heads(**how).template(call)
