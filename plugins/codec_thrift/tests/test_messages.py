"""What decoding and encoding mean: absent and unknown fields, order, defaults, replies, exceptions, stream messages."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import CodecError

if TYPE_CHECKING:
    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec


def field(code: int, number: int, value: bytes) -> bytes:
    return struct.pack(">Bh", code, number) + value


def text(value: str) -> bytes:
    return struct.pack(">i", len(value.encode())) + value.encode()


def i32(value: int) -> bytes:
    return struct.pack(">i", value)


def argument(*fields: bytes) -> bytes:
    """The arguments struct of a method with one struct."""
    return b"\x0c\x00\x01" + b"".join(fields) + b"\x00\x00"


UNKNOWN = [
    field(2, 90, b"\x01"),
    field(3, 91, b"\x7f"),
    field(6, 92, b"\x00\x01"),
    field(8, 93, i32(5)),
    field(10, 94, bytes(8)),
    field(4, 95, bytes(8)),
    field(11, 96, text("unknown")),
    field(12, -97, field(8, 1, i32(1)) + field(12, 2, b"\x00") + b"\x00"),
    field(15, 98, b"\x08" + i32(2) + i32(1) + i32(2)),
    field(14, 99, b"\x0b" + i32(1) + text("x")),
    field(13, 100, b"\x0b\x0f" + i32(1) + text("k") + b"\x0c" + i32(2) + b"\x00\x00"),
    field(15, 101, b"\x00" + i32(0)),
]


def test_unknown_fields_are_skipped(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["mixed"]
    known = [field(11, 1, text("a")), field(8, 2, i32(2)), field(2, 4, b"\x01")]
    for unknown in UNKNOWN:
        for at in range(len(known) + 1):
            payload = argument(*known[:at], unknown, *known[at:])
            assert codec.decode_arguments(method, payload) == (types.Mixed(first="a", second=2, fourth=True),)
    assert codec.decode_arguments(method, argument(*UNKNOWN)) == (types.Mixed(),)
    assert codec.decode_arguments(method, b"".join(UNKNOWN) + b"\x00") == (None,)


def test_the_order_of_fields_does_not_matter(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["mixed"]
    value = types.Mixed("a", 2, [3], True, 0.5, "f")
    fields = [
        field(11, 1, text("a")),
        field(8, 2, i32(2)),
        field(15, 3, b"\x0a" + i32(1) + struct.pack(">q", 3)),
        field(2, 4, b"\x01"),
        field(4, 5, struct.pack(">d", 0.5)),
        field(11, 6, text("f")),
    ]
    # The IDL's order, Kitex's (fixed sizes first), and others.
    for order in ([0, 1, 2, 3, 4, 5], [1, 3, 4, 0, 2, 5], [5, 4, 3, 2, 1, 0], [2, 0, 4, 1, 5, 3], [3, 5, 0, 4, 2, 1]):
        assert codec.decode_arguments(method, argument(*(fields[index] for index in order))) == (value,)
    assert codec.encode_arguments(method, [value]) == argument(*fields)


def test_the_last_of_two_values_for_a_field_counts(codec: ThriftCodec, types: Idl) -> None:
    payload = argument(field(8, 2, i32(1)), field(8, 2, i32(2)))
    assert codec.decode_arguments(types.Everything.methods["mixed"], payload) == (types.Mixed(second=2),)


def test_a_field_of_another_type_is_skipped(codec: ThriftCodec, types: Idl) -> None:
    payload = argument(field(8, 1, i32(7)), field(11, 2, text("two")), field(2, 4, b"\x01"))
    assert codec.decode_arguments(types.Everything.methods["mixed"], payload) == (types.Mixed(fourth=True),)


def test_an_empty_container_may_have_any_type(codec: ThriftCodec, types: Idl) -> None:
    payload = argument(field(15, 6, b"\x00" + i32(0)), field(13, 7, b"\x00\x00" + i32(0)))
    assert codec.decode_arguments(types.Everything.methods["options"], payload) == (
        types.Options(numbers=[], table={}),
    )


@pytest.mark.parametrize(
    ("method", "payload", "cause"),
    [
        ("options", field(15, 6, b"\x0b" + i32(1) + text("x")), "items of a list<i32> have the wire type 11"),
        ("nested", field(13, 3, b"\x0b\x0c" + i32(1) + text("k") + b"\x00"), "wire types 11 and 12"),
        ("nested", field(15, 7, b"\x02" + i32(1) + b"\x05"), "bool"),
        ("nested", field(13, 12, b"\x02\x02" + i32(1) + b"\x05\x01"), "bool is 0 or 1"),
        ("scalars", field(2, 1, b"\x07"), "bool is 0 or 1 on the wire, not 7"),
        ("scalars", field(11, 7, i32(2) + b"\xff\xfe"), "not UTF-8"),
        ("scalars", field(11, 7, i32(-1)), "negative size -1"),
        ("scalars", field(11, 7, i32(100) + b"x"), "100 bytes, of which 3 are there"),
        ("scalars", field(7, 7, b""), "7 is no type code"),
        ("scalars", field(18, 8, text("x")), "18 is no type code"),
        ("nested", field(15, 4, b"\x0f" + i32(1) + b"\x0a" + i32(-5)), "negative size -5"),
        ("mixed", field(15, 99, b"\x63" + i32(1) + b"\x00"), "no type of a container's items"),
        ("mixed", field(15, 99, b"\x63" + i32(-1)), "negative size -1"),
        ("demanding", field(11, 1, text("name")), "required field 'count' of Demanding is missing"),
    ],
)
def test_what_makes_no_sense_is_named(codec: ThriftCodec, types: Idl, method: str, payload: bytes, cause: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode_arguments(types.Everything.methods[method], argument(payload))
    assert cause in str(caught.value)
    assert str(caught.value).startswith(f"{method} [codec]: ")
    assert caught.value.path[:1] == ("value",)
    assert caught.value.hint


def test_the_path_to_the_fault_is_named(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["nested"]
    good = types.Nested(forest=[{}, {"a": [types.Leaf(1, "ok"), types.Leaf(2, "broken")]}])
    payload = codec.encode_arguments(method, [good]).replace(b"broken", b"brok\xff\xff")
    with pytest.raises(CodecError, match="not UTF-8") as caught:
        codec.decode_arguments(method, payload)
    assert caught.value.path == ("value", "forest", "[1]", "[0]", "[1]", "name")


def test_bytes_after_the_struct_are_ignored(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["mixed"]
    payload = argument(field(8, 2, i32(2)))
    for rest in (b"\x00", b"rest", bytes(100)):
        assert codec.decode_arguments(method, payload + rest) == (types.Mixed(second=2),)


def test_absent_arguments_are_none_or_the_default(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["join"]
    assert codec.decode_arguments(method, b"\x00") == (None, 5, None)
    assert codec.encode_arguments(method, ["l", None, None]) == field(11, 1, text("l")) + b"\x00"
    assert codec.decode_arguments(method, codec.encode_arguments(method, ["l", 7, ["r"]])) == ("l", 7, ["r"])


def test_absent_fields_have_the_defaults_of_the_reader(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["defaults"]
    (value,) = codec.decode_arguments(method, argument())
    assert value == types.Defaults()
    value.numbers.append(4)
    assert codec.decode_arguments(method, argument())[0].numbers == [1, 2, 3]


def test_the_defaults_of_the_writer_are_on_the_wire(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["defaults"]
    payload = codec.encode_arguments(method, [types.Defaults()])
    assert field(8, 2, i32(42)) in payload
    assert field(11, 11, text("bytes")) in payload


def test_none_is_left_out(codec: ThriftCodec, types: Idl) -> None:
    assert codec.encode_arguments(types.Everything.methods["options"], [types.Options()]) == argument()
    assert codec.encode_arguments(types.Everything.methods["options"], [None]) == b"\x00"
    empty = types.Options(numbers=[], table={}, text="", flag=False)
    (decoded,) = codec.decode_arguments(
        types.Everything.methods["options"], codec.encode_arguments(types.Everything.methods["options"], [empty])
    )
    assert decoded == empty


def test_numbers_keep_their_bounds(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["scalars"]
    for sign in (0, -1):
        value = types.Scalars(
            **{
                name: sign ^ (1 << bits - 1) - 1
                for name, bits in [("tiny", 8), ("small", 16), ("medium", 32), ("large", 64)]
            }
        )
        assert codec.decode_arguments(method, codec.encode_arguments(method, [value])) == (value,)


def test_text_is_text_and_binary_is_bytes(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["scalars"]
    (value,) = codec.decode_arguments(
        method, codec.encode_arguments(method, [types.Scalars(text="é", blob=b"\xff\x00")])
    )
    assert (value.text, value.blob) == ("é", b"\xff\x00")
    (value,) = codec.decode_arguments(method, codec.encode_arguments(method, [types.Scalars(blob=bytearray(b"ab"))]))
    assert value.blob == b"ab"


def test_sets_are_sets(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["nested"]
    value = types.Nested(numbers={1, 2}, deep={"a": {1: {"x", "y"}}}, leaf_set=[types.Leaf(1)])
    (decoded,) = codec.decode_arguments(method, codec.encode_arguments(method, [value]))
    assert decoded == value
    assert isinstance(decoded.numbers, set)
    assert isinstance(decoded.deep["a"][1], set)
    given = types.Nested(numbers=[3, 4], leaf_set={types.Leaf(1)})
    (decoded,) = codec.decode_arguments(method, codec.encode_arguments(method, [given]))
    assert (decoded.numbers, decoded.leaf_set) == ({3, 4}, [types.Leaf(1)])


def test_unknown_numbers_of_an_enum_come_through(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["paint"]
    assert codec.decode_arguments(method, codec.encode_arguments(method, [99])) == (99,)
    assert codec.decode_result(method, codec.encode_result(method, types.Color.BLUE)) == types.Color.BLUE


@pytest.mark.parametrize("reply", [0, "", [], False], ids=repr)
def test_empty_replies_are_not_absent_ones(codec: ThriftCodec, types: Idl, reply: Any) -> None:
    name = {int: "paint", str: "join", list: "leaves", bool: "paint"}[type(reply)]
    method = types.Everything.methods[name]
    assert codec.decode_result(method, codec.encode_result(method, reply)) == reply
    assert codec.encode_result(method, reply) != codec.encode_result(method, None) == b"\x00"


def test_what_a_void_method_returned_is_not_sent(codec: ThriftCodec, types: Idl) -> None:
    for name in ("ping", "fire", "check"):
        method = types.Everything.methods[name]
        assert codec.encode_result(method, "ignored") == b"\x00"
        assert codec.decode_result(method, b"\x00") is None


def test_declared_exceptions_are_raised_as_themselves(codec: ThriftCodec, types: Idl) -> None:
    find = types.Everything.methods["find"]
    for error in (types.NotFound(what="x"), types.Broken(text="y")):
        payload = codec.encode_exception(find, error)
        assert payload is not None
        with pytest.raises(type(error)) as caught:
            codec.decode_result(find, payload)
        assert caught.value == error
        assert caught.value is not error
    check = types.Everything.methods["check"]
    assert codec.encode_exception(check, types.Broken(text="not declared by this one")) is None
    with pytest.raises(types.NotFound):
        codec.decode_result(check, codec.encode_exception(check, types.NotFound()) or b"")


def test_an_exception_of_a_subclass_is_the_declared_one(codec: ThriftCodec, types: Idl) -> None:
    class Special(types.NotFound):  # type: ignore[misc, name-defined]
        pass

    method = types.Everything.methods["find"]
    with pytest.raises(types.NotFound) as caught:
        codec.decode_result(method, codec.encode_exception(method, Special(what="s")) or b"")
    assert caught.value == types.NotFound(what="s")


def test_an_exception_that_cannot_be_written_is_an_error(codec: ThriftCodec, types: Idl) -> None:
    with pytest.raises(CodecError, match="out of the range of i32") as caught:
        codec.encode_exception(types.Everything.methods["find"], types.NotFound(code=1 << 40))
    assert caught.value.path == ("missing", "code")


def test_inherited_methods_work(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["forbid"]
    with pytest.raises(types.shared.Denied, match="no"):
        codec.decode_result(method, codec.encode_exception(method, types.shared.Denied("no")) or b"")


def test_stream_messages_are_bare_structs(codec: ThriftCodec, types: Idl) -> None:
    method = types.Streams.methods["chat"]
    leaf = types.Leaf(1, "a")
    for reply in (False, True):
        payload = codec.encode_item(method, leaf, reply=reply)
        assert payload == field(8, 1, i32(1)) + field(11, 2, text("a")) + b"\x00"
        assert codec.decode_item(method, payload, reply=reply) == leaf
        with pytest.raises(CodecError, match="expects Leaf, got 'text'"):
            codec.encode_item(method, "text", reply=reply)
        with pytest.raises(CodecError, match="bytes end"):
            codec.decode_item(method, payload[:-1], reply=reply)


def test_a_method_without_a_struct_has_no_stream_messages(codec: ThriftCodec, types: Idl) -> None:
    with pytest.raises(CodecError, match="join has no single struct"):
        codec.encode_item(types.Everything.methods["join"], "x", reply=False)


def test_codecs_are_independent_of_the_one_that_loaded(types: Idl, codec: ThriftCodec) -> None:
    other = type(codec)()
    method = types.Everything.methods["mixed"]
    value = types.Mixed("a", 1)
    assert other.decode_arguments(method, codec.encode_arguments(method, [value])) == (value,)
