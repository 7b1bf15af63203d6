"""Values that cannot be encoded: the error names the method, the path, and what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec

CASES: list[tuple[str, Callable[[Idl], Any], str, str]] = [
    (
        "scalars",
        lambda t: t.Scalars(tiny=128),
        "value.tiny",
        "128 (int) is out of the range of i8, which is -128 to 127",
    ),
    ("scalars", lambda t: t.Scalars(small=-32769), "value.small", "out of the range of i16"),
    ("scalars", lambda t: t.Scalars(medium=1 << 31), "value.medium", "out of the range of i32"),
    ("scalars", lambda t: t.Scalars(large=1 << 63), "value.large", "out of the range of i64"),
    ("scalars", lambda t: t.Scalars(user=1 << 63), "value.user", "out of the range of i64"),
    ("scalars", lambda t: t.Scalars(color=1 << 31), "value.color", "out of the range of enum"),
    ("scalars", lambda t: t.Scalars(medium="5"), "value.medium", "expects i32, got '5' (str)"),
    ("scalars", lambda t: t.Scalars(medium=5.5), "value.medium", "expects i32, got 5.5 (float)"),
    ("scalars", lambda t: t.Scalars(ratio="x"), "value.ratio", "expects double, got 'x' (str)"),
    ("scalars", lambda t: t.Scalars(text=5), "value.text", "expects string, got 5 (int)"),
    ("scalars", lambda t: t.Scalars(text="\ud800"), "value.text", "cannot be written as UTF-8"),
    ("scalars", lambda t: t.Scalars(blob=5), "value.blob", "expects binary, got 5 (int)"),
    ("scalars", lambda t: t.Scalars(flag="false"), "value.flag", "expects bool, got 'false' (str)"),
    ("scalars", lambda t: t.Scalars(flag=1), "value.flag", "expects bool, got 1 (int)"),
    ("small", lambda t: t.Small(1, "t", True, b"", 0.5, 1 << 31), "value.color", "out of the range of enum"),
    ("small", lambda t: t.Small(1.5, "t", True, b"", 0.5, 1), "value.number", "expects i32, got 1.5 (float)"),
    ("small", lambda t: t.Small(1, 5, True, b"", 0.5, 1), "value.text", "expects string, got 5 (int)"),
    ("small", lambda t: t.Small(1, "t", 1, b"", 0.5, 1), "value.flag", "expects bool, got 1 (int)"),
    ("small", lambda t: t.Small(1, "t", True, 5, 0.5, 1), "value.blob", "expects binary, got 5 (int)"),
    ("word", lambda t: t.Word("\ud800"), "value.text", "cannot be written as UTF-8"),
    ("scalars", lambda t: t.Leaf(1), "value", "expects Scalars, got Leaf(id=1) (Leaf)"),
    ("scalars", lambda t: {"tiny": 1}, "value", "expects Scalars, got {'tiny': 1} (dict)"),
    ("options", lambda t: t.Options(leaf=t.Scalars()), "value.leaf", "expects Leaf, got Scalars() (Scalars)"),
    ("options", lambda t: t.Options(numbers=5), "value.numbers", "expects list<i32>, got 5 (int)"),
    ("options", lambda t: t.Options(numbers=[1, None]), "value.numbers.[1]", "expects i32, got None"),
    ("options", lambda t: t.Options(table=["a"]), "value.table", "expects map<string, string>, got ['a'] (list)"),
    ("options", lambda t: t.Options(table={"a": 5}), "value.table.['a']", "expects string, got 5 (int)"),
    (
        "options",
        lambda t: t.Options(leaf=t.Leaf(tags="abc")),
        "value.leaf.tags",
        "expects list<string>, got 'abc' (str)",
    ),
    ("nested", lambda t: t.Nested(flags=[True, "x"]), "value.flags.[1]", "expects bool"),
    ("nested", lambda t: t.Nested(matrix=[[1], b"ab"]), "value.matrix.[1]", "expects list<i64>, got b'ab' (bytes)"),
    ("nested", lambda t: t.Nested(leaves={1: None}), "value.leaves.[1]", "expects Leaf, got None"),
    ("nested", lambda t: t.Nested(leaves={"k": t.Leaf()}), "value.leaves.[key 'k']", "expects i32, got 'k' (str)"),
    (
        "nested",
        lambda t: t.Nested(forest=[{"a": [t.Leaf(id=1 << 40)]}]),
        "value.forest.[0].['a'].[0].id",
        "range of i32",
    ),
    ("demanding", lambda t: t.Demanding(name="n"), "value.count", "Demanding requires it, and it is None"),
    (
        "choose",
        lambda t: t.Choice(text="t", number=1),
        "value",
        "is a union, and 2 of its fields are set: text, number",
    ),
]


@pytest.mark.parametrize(("method", "make", "path", "cause"), CASES, ids=[f"{case[2]}: {case[3]}" for case in CASES])
def test_the_fault_is_located(
    codec: ThriftCodec, types: Idl, method: str, make: Callable[[Idl], Any], path: str, cause: str
) -> None:
    with pytest.raises(CodecError) as caught:
        codec.encode_arguments(types.Everything.methods[method], [make(types)])
    assert ".".join(caught.value.path) == path
    assert cause in str(caught.value)
    assert str(caught.value).startswith(f"{method} [codec]: ")
    assert caught.value.method == method
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "cause"),
    [(5, "expects list<Leaf>, got 5"), ([5], "expects Leaf, got 5"), ({"a": 1}, "expects list<Leaf>")],
)
def test_a_reply_that_does_not_fit_is_located(codec: ThriftCodec, types: Idl, value: Any, cause: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.encode_result(types.Everything.methods["leaves"], value)
    assert caught.value.path[0] == "success"
    assert cause in str(caught.value)


@pytest.mark.parametrize("arguments", [[], ["a", 1, [], "more"]])
def test_the_number_of_arguments_is_checked(codec: ThriftCodec, types: Idl, arguments: list[Any]) -> None:
    with pytest.raises(CodecError, match=rf"{len(arguments)} arguments for 3 parameters \(left, right, rest\)"):
        codec.encode_arguments(types.Everything.methods["join"], arguments)


def test_an_object_of_another_load_is_told_apart(codec: ThriftCodec, types: Idl, idl_files: Any) -> None:
    other = codec.load(idl_files / "types.thrift")
    with pytest.raises(CodecError, match="a Mixed of another load of its IDL"):
        codec.encode_arguments(types.Everything.methods["mixed"], [other.Mixed()])


def test_objects_of_a_subclass_fit(codec: ThriftCodec, types: Idl) -> None:
    class Mine(types.Leaf):  # type: ignore[misc, name-defined]
        pass

    payload = codec.encode_arguments(types.Everything.methods["options"], [types.Options(leaf=Mine(1))])
    (decoded,) = codec.decode_arguments(types.Everything.methods["options"], payload)
    assert decoded.leaf == types.Leaf(1)


def test_an_object_that_holds_itself_is_an_error(codec: ThriftCodec, types: Idl) -> None:
    tree = types.Tree(name="t")
    tree.children = [tree]
    with pytest.raises(CodecError, match="holds itself"):
        codec.encode_arguments(types.Everything.methods["tree"], [tree])


def test_a_value_that_breaks_when_looked_at_is_an_error(codec: ThriftCodec, types: Idl) -> None:
    class Odd(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise RuntimeError("do not look")

    with pytest.raises(CodecError, match="do not look"):
        codec.encode_arguments(types.Everything.methods["options"], [types.Options(numbers=Odd([1]))])


def test_after_an_error_the_next_message_is_whole(codec: ThriftCodec, types: Idl) -> None:
    method = types.Everything.methods["scalars"]
    good = codec.encode_arguments(method, [types.Scalars(text="good")])
    for _ in range(3):
        with pytest.raises(CodecError):
            codec.encode_arguments(method, [types.Scalars(flag=True, text=5)])
        assert codec.encode_arguments(method, [types.Scalars(text="good")]) == good
