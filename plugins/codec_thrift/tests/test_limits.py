"""Hostile bytes: no crash, no hang, no allocation from a forged count or length, and a CodecError always."""

from __future__ import annotations

import re
import struct
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elanus.errors import CodecError
from elanus.limits import DEFAULT_LIMITS
from elanus_codec_thrift.codec import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec
    from elanus_codec_thrift.schema import Struct

HUGE = struct.pack(">i", 2**31 - 1)
I64_LIST, STRING_LIST = b"\x0a" + HUGE, b"\x0b" + HUGE

FORGED = {
    "list<i64> in a known field": ("nested", b"\x0f\x00\x04\x0f\x00\x00\x00\x01" + I64_LIST),
    "list of lists": ("nested", b"\x0f\x00\x04\x0f" + HUGE + I64_LIST),
    "list of structs": ("nested", b"\x0f\x00\x0a\x08" + HUGE),
    "list of bools": ("nested", b"\x0f\x00\x07\x02" + HUGE),
    "set of integers": ("nested", b"\x0e\x00\x02\x08" + HUGE),
    "set of structs": ("nested", b"\x0e\x00\x0b\x0c" + HUGE),
    "map of fixed sizes": ("nested", b"\x0d\x00\x0e\x0a\x0a" + HUGE),
    "map of strings": ("options", b"\x0d\x00\x07\x0b\x0b" + HUGE),
    "map of bools": ("nested", b"\x0d\x00\x0c\x02\x02" + HUGE),
    "string": ("mixed", b"\x0b\x00\x01" + HUGE),
    "binary": ("scalars", b"\x0b\x00\x08" + HUGE),
    "string of a small struct": ("word", b"\x0b\x00\x01" + HUGE),
    "binary of a small struct": ("small", b"\x0b\x00\x04" + HUGE),
    "unknown string": ("mixed", b"\x0b\x00\x63" + HUGE),
    "unknown list of integers": ("mixed", b"\x0f\x00\x63" + I64_LIST),
    "unknown list of strings": ("mixed", b"\x0f\x00\x63" + STRING_LIST),
    "unknown list of structs": ("mixed", b"\x0f\x00\x63\x0c" + HUGE),
    # thriftpy2's own reader would go round 2**31 times here without reading a byte.
    "unknown list of an unknown type": ("mixed", b"\x0f\x00\x63\x00" + HUGE),
    "unknown map of unknown types": ("mixed", b"\x0d\x00\x63\x00\x00" + HUGE),
    "unknown map of fixed sizes": ("mixed", b"\x0d\x00\x63\x0a\x0a" + HUGE),
    "known field, items of an unknown type": ("options", b"\x0f\x00\x06\x00" + HUGE),
    "known field, items of another type": ("options", b"\x0f\x00\x06\x0a" + HUGE),
    # thriftpy2's own reader takes keys that say string for whatever the IDL says.
    "map whose keys say string": ("nested", b"\x0d\x00\x0e\x0b\x0a" + HUGE),
    "field of another type": ("mixed", b"\x0f\x00\x01\x00" + HUGE),
    "negative list": ("nested", b"\x0f\x00\x04\x0f\xff\xff\xff\xff"),
    "negative map": ("options", b"\x0d\x00\x07\x0b\x0b\xff\xff\xff\xff"),
    "negative string": ("mixed", b"\x0b\x00\x01\xff\xff\xff\xfe"),
    "negative unknown string": ("mixed", b"\x0b\x00\x63\x80\x00\x00\x00"),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("rest", [b"", b"\x00\x00", bytes(40)], ids=len)
def test_a_forged_size_costs_nothing(codec: ThriftCodec, types: Idl, name: str, rest: bytes) -> None:
    method, fields = FORGED[name]
    payload = b"\x0c\x00\x01" + fields + rest
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            codec.decode_arguments(types.Everything.methods[method], payload)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000


def _deep(levels: int, each: bytes, last: bytes) -> bytes:
    return b"\x0c\x00\x01" + each * levels + last


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("tree", _deep(100_000, b"\x0f\x00\x02\x0c\x00\x00\x00\x01", bytes(200_001))),
        ("mixed", _deep(100_000, b"\x0c\x00\x63", bytes(100_002))),
        ("mixed", b"\x0c\x00\x01\x0f\x00\x63" + b"\x0f\x00\x00\x00\x01" * 100_000 + b"\x08\x00\x00\x00\x00"),
        ("mixed", b"\x0c\x00\x01\x0d\x00\x63" + b"\x0d\x0d\x00\x00\x00\x01" * 100_000),
        ("mixed", b"\x0c\x00\x01\x0e\x00\x63" + b"\x0e\x00\x00\x00\x01" * 100_000),
    ],
    ids=["recursive type", "unknown structs", "unknown lists", "unknown maps", "unknown sets"],
)
def test_deep_nesting_is_refused(codec: ThriftCodec, types: Idl, name: str, payload: bytes) -> None:
    with pytest.raises(CodecError, match=r"deep|depth"):
        codec.decode_arguments(types.Everything.methods[name], payload)
    generous = codec.with_limits(replace(DEFAULT_LIMITS, depth=10**9))
    with pytest.raises(CodecError, match=r"deep|depth"):
        generous.decode_arguments(types.Everything.methods[name], payload)


def _tree(types: Idl, depth: int) -> Any:
    tree = types.Tree(name="leaf")
    for _ in range(depth - 1):
        tree = types.Tree(children=[tree])
    return tree


@pytest.mark.parametrize("depth", [1, 2, 3, 31, 32, 33, 64])
def test_depth_counts_structs_and_containers(codec: ThriftCodec, types: Idl, depth: int) -> None:
    """Arguments, the tree, and two levels for each child: as thriftpy2 and Kitex count."""
    method = types.Everything.methods["tree"]
    payload = type(codec)(replace(DEFAULT_LIMITS, depth=MAX_DEPTH)).encode_arguments(method, [_tree(types, depth)])
    levels = 2 * depth
    for limit in (levels - 1, levels, levels + 1):
        reader = codec.with_limits(replace(DEFAULT_LIMITS, depth=limit))
        if levels <= min(limit, MAX_DEPTH):
            assert reader.decode_arguments(method, payload) == (_tree(types, depth),)
        else:
            with pytest.raises(CodecError, match="'depth'"):
                reader.decode_arguments(method, payload)


def test_unknown_fields_count_for_depth(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["mixed"]
    for levels, fits in ((2, True), (62, True), (63, False)):
        payload = _deep(levels, b"\x0c\x00\x63", bytes(levels + 2))
        if fits:
            assert codec.decode_arguments(method, payload) == (types.Mixed(),)
        else:
            with pytest.raises(CodecError, match="'depth'"):
                codec.decode_arguments(method, payload)


def test_writing_is_limited_in_depth_too(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["tree"]
    assert codec.encode_arguments(method, [_tree(types, 32)])
    with pytest.raises(CodecError, match="'depth'"):
        codec.encode_arguments(method, [_tree(types, 33)])


@pytest.mark.parametrize("known", [True, False])
def test_containers_and_strings_are_limited(codec: ThriftCodec, types: Idl, known: bool) -> None:
    strict = codec.with_limits(replace(DEFAULT_LIMITS, container_items=10, string_bytes=20))
    method = types.Everything.methods["options"]
    items = [types.Options(numbers=[1] * 10, text="t" * 20, table={str(n): "" for n in range(10)})]
    assert list(strict.decode_arguments(method, codec.encode_arguments(method, items))) == items
    reader = method if known else types.Everything.methods["empty"]
    over = {"numbers": [1] * 11, "table": {str(n): "" for n in range(11)}, "text": "t" * 21, "blob": b"b" * 21}
    for name, value in over.items():
        payload = codec.encode_arguments(method, [types.Options(**{name: value})])
        if known or name in ("text", "blob"):
            limit = "string_bytes" if name in ("text", "blob") else "container_items"
            with pytest.raises(CodecError, match=f"over the limit '{limit}'") as caught:
                strict.decode_arguments(reader, payload)
            assert caught.value.path[0] == "value"
        else:
            # Nobody holds what is skipped.
            assert strict.decode_arguments(reader, payload) == (types.Empty(),)


def test_a_message_larger_than_a_limit_is_read_when_nothing_in_it_is(codec: ThriftCodec, types: Idl) -> None:
    strict = codec.with_limits(replace(DEFAULT_LIMITS, container_items=50, string_bytes=50))
    method = types.Everything.methods["nested"]
    value = types.Nested(forest=[{str(n): [types.Leaf(n, "x" * 40)] * 5} for n in range(20)], numbers={1}, flags=[True])
    assert strict.decode_arguments(method, codec.encode_arguments(method, [value])) == (value,)


def test_hostile_depth_takes_linear_time(codec: ThriftCodec, types: Idl) -> None:
    """Every level deviates after its children, where a reader that began again would double its work."""
    method = types.Everything.methods["tree"]
    fast = codec.with_limits(replace(DEFAULT_LIMITS, depth=MAX_DEPTH))
    levels = MAX_DEPTH // 2 - 2
    payload = _deep(levels, b"\x0b\x00\x01\x00\x00\x00\x00\x0f\x00\x02\x0c\x00\x00\x00\x01", b"\x00")
    payload += b"\x02\x00\x63\x01\x08\x00\x02\x00\x00\x00\x01\x00" * levels + b"\x00\x00"
    (tree,) = fast.decode_arguments(method, payload)
    assert tree.children[0].children[0].name == ""


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_arbitrary_bytes_raise_codec_errors_only(codec: ThriftCodec, types: Idl, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(list(types.Everything.methods.values())))
    payload = data.draw(st.binary(max_size=80) | _plausible())
    view = memoryview(payload)
    for decode in (codec.decode_arguments, codec.decode_result):
        try:
            first = decode(method, payload)
        except CodecError as error:
            with pytest.raises(CodecError, match=re.escape(str(error))):
                decode(method, view)
        except (types.NotFound, types.Broken, types.shared.Denied):
            assert method.name in ("find", "check", "forbid")
        else:
            assert decode(method, view) == first


def _plausible() -> st.SearchStrategy[bytes]:
    """Bytes made of what messages are made of: far more of them get deep into a reader."""
    codes = st.sampled_from([2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15])
    header = st.builds(lambda code, number: struct.pack(">Bh", code, number), codes, st.integers(-1, 16))
    count = st.integers(-1, 4).map(lambda number: struct.pack(">i", number))
    container = st.builds(lambda code, size: bytes([code]) + size, codes, count)
    return st.lists(header | count | container | st.just(b"\x00") | st.binary(max_size=3), max_size=30).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_harmed_messages_raise_codec_errors_only(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    name = data.draw(
        st.sampled_from(["nested", "tree", "mixed", "scalars", "options", "demanding", "defaults", "word", "small"])
    )
    method = types.Everything.methods[name]
    value = data.draw(values(method.argument_type.only))
    payload = bytearray(codec.encode_arguments(method, [value]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload)))
        payload[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4) | st.just(HUGE))
    try:
        codec.decode_arguments(method, bytes(payload))
    except CodecError:
        pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_cut_is_noticed(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    method = types.Everything.methods[
        data.draw(st.sampled_from(["nested", "tree", "mixed", "options", "word", "small"]))
    ]
    payload = codec.encode_arguments(method, [data.draw(values(method.argument_type.only))])
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(CodecError):
        codec.decode_arguments(method, payload[:cut])
