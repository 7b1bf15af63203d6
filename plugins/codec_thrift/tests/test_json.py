"""Values as JSON and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elanus.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec
    from elanus_codec_thrift.schema import Struct


def test_each_type_has_its_form(codec: ThriftCodec, types: Idl) -> None:
    value = types.Nested(
        forest=[{"a": [types.Leaf(1, "é")]}],
        numbers={7},
        leaves={3: types.Leaf(3)},
        deep={"x": {1: {"y"}}},
        blobs=[b"\xff\x00"],
        flags=[True, False],
        ratios={"nan": math.nan, "inf": math.inf, "low": -math.inf, "half": 0.5},
        colors=[types.Color.RED, 4, 77],
        logic={True: False},
        paints={types.Color.BLUE: "b", 99: "?"},
        blob_flags={b"k": True},
        garden={5: []},
    )
    assert json.loads(codec.to_json(value)) == {
        "forest": [{"a": [{"id": 1, "name": "é"}]}],
        "numbers": [7],
        "leaves": {"3": {"id": 3}},
        "deep": {"x": {"1": ["y"]}},
        "blobs": ["/wA="],
        "flags": [True, False],
        "ratios": {"nan": "NaN", "inf": "Infinity", "low": "-Infinity", "half": 0.5},
        "colors": ["RED", "BLUE", 77],
        "logic": {"true": False},
        "paints": {"BLUE": "b", "99": "?"},
        "blob_flags": {"aw==": True},
        "garden": {"5": []},
    }
    value.ratios.pop("nan")  # which equals nothing
    assert codec.from_json(types.Nested, codec.to_json(value)) == value
    assert "é" in codec.to_json(value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_comes_back(
    codec: ThriftCodec, types: Idl, values: Callable[[Struct], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    names = [
        "scalars",
        "options",
        "nested",
        "tree",
        "mixed",
        "demanding",
        "defaults",
        "choose",
        "empty",
        "range",
        "small",
    ]
    struct = types.Everything.methods[data.draw(st.sampled_from(names))].argument_type.only
    value = data.draw(values(struct))
    text = codec.to_json(value)
    assert codec.from_json(struct.cls, text) == value
    assert codec.from_json(struct.cls, text.encode()) == value


def test_arguments_are_built_by_name(codec: ThriftCodec, types: Idl) -> None:
    join = types.Everything.methods["join"].argument_type
    assert codec.from_json(join, '{"rest": ["r"], "left": "l", "right": 7}') == ("l", 7, ["r"])
    assert codec.from_json(join, "{}") == (None, 5, None)
    assert codec.from_json(types.Everything.methods["ping"].argument_type, "{}") == ()
    echo = types.Everything.methods["mixed"].argument_type
    assert codec.from_json(echo, '{"value": {"first": "a"}}') == (types.Mixed("a"),)


def test_replies_and_typedefs_can_be_built(codec: ThriftCodec, types: Idl) -> None:
    assert codec.from_json(types.Everything.methods["paint"].result_type, '"GREEN"') == types.Color.GREEN
    assert codec.from_json(types.Everything.methods["ping"].result_type, "null") is None
    assert codec.from_json(types.Garden, '{"5": [{"id": 1}]}') == {5: [types.Leaf(1)]}
    assert codec.from_json(types.Color, '"BLUE"') == 4
    assert codec.from_json(types.NotFound, '{"what": "w"}') == types.NotFound("w")


def test_null_is_an_absent_field(codec: ThriftCodec, types: Idl) -> None:
    assert codec.from_json(types.Leaf, '{"id": null, "name": "n"}') == types.Leaf(name="n")
    assert codec.from_json(types.Defaults, '{"number": null}').number == 42


def test_replies_that_are_no_structs_are_written(codec: ThriftCodec, types: Idl) -> None:
    assert codec.to_json(None) == "null"
    assert codec.to_json(5) == "5"
    assert codec.to_json("text") == '"text"'
    assert codec.to_json(b"\xff") == '"/w=="'
    assert codec.to_json(types.Color.RED) == '"RED"'
    assert json.loads(codec.to_json([types.Leaf(1), {"k": types.Leaf(2)}])) == [{"id": 1}, {"k": {"id": 2}}]
    assert json.loads(codec.to_json({1: {2}})) == {"1": [2]}
    assert json.loads(codec.to_json(types.NotFound("w"))) == {"what": "w", "code": 404}


def test_keys_may_be_structs(codec: ThriftCodec, tmp_path: Any) -> None:
    (tmp_path / "keys.thrift").write_text(
        "struct K { 1: i32 a }\nstruct M { 1: map<K, string> by_key, 2: map<double, bool> d }"
    )
    idl = codec.load(tmp_path / "keys.thrift")
    value = idl.M({idl.K(1): "one"}, {0.5: True, math.inf: False})
    assert json.loads(codec.to_json(value)) == {"by_key": {'{"a": 1}': "one"}, "d": {"0.5": True, "Infinity": False}}
    assert codec.from_json(idl.M, codec.to_json(value)) == value


@pytest.mark.parametrize(
    ("text", "path", "cause"),
    [
        (
            '{"value": {"frist": "a"}}',
            "value.frist",
            "'frist' is no field of Mixed (in value.frist). Did you mean 'first'?",
        ),
        ('{"value": {"zzz": 1}}', "value.zzz", "Its fields are: first, second"),
        ('{"valeu": {}}', "valeu", "'valeu' is no field of the arguments of mixed (in valeu). Did you mean 'value'?"),
        ('{"value": 5}', "value", "Mixed: expects a JSON object, got 5 (int)"),
        ('{"value": {"second": "2"}}', "value.second", "expects i32, got '2' (str)"),
        ('{"value": {"second": 2.5}}', "value.second", "expects i32, got 2.5 (float)"),
        ('{"value": {"second": true}}', "value.second", "expects i32, got True (bool)"),
        ('{"value": {"second": 2147483648}}', "value.second", "out of the range of i32"),
        ('{"value": {"first": 1}}', "value.first", "expects string, got 1 (int)"),
        ('{"value": {"third": [1, null]}}', "value.third.[1]", "expects i64, got None"),
        ('{"value": {"third": {"a": 1}}}', "value.third", "expects list<i64>, got {'a': 1} (dict)"),
        ('{"value": {"fourth": 1}}', "value.fourth", "expects bool, got 1 (int)"),
        ('{"value": {"fifth": "0.5"}}', "value.fifth", "expects double, got '0.5' (str)"),
        ("[]", "", "the arguments of mixed: expects a JSON object, got [] (list)"),
        ("{", "", "not JSON"),
        ("[" * 100_000, "", "not JSON"),
    ],
)
def test_what_does_not_fit_is_located(codec: ThriftCodec, types: Idl, text: str, path: str, cause: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.from_json(types.Everything.methods["mixed"].argument_type, text)
    assert ".".join(caught.value.path) == path
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "text", "cause"),
    [
        ("Scalars", '{"color": "GREN"}', "Color has no name 'GREN'"),
        ("Scalars", '{"color": "PURPLE"}', "Its names are: RED, GREEN, BLUE"),
        ("Scalars", '{"blob": "not base64!"}', "not base64"),
        ("Scalars", '{"blob": 5}', "expects binary as base64 text, got 5"),
        ("Scalars", '{"tiny": 128}', "out of the range of i8"),
        ("Nested", '{"leaves": {"x": {}}}', "expects i32, got 'x' (str)"),
        ("Nested", '{"logic": {"yes": true}}', "expects bool, got 'yes' (str)"),
        ("Nested", '{"paints": {"PINK": "p"}}', "Color has no name 'PINK'"),
        ("Demanding", '{"name": "n"}', "Demanding: the field 'count' is required"),
        ("Choice", '{"text": "t", "number": 1}', "Choice is a union, and 2 of its fields are given"),
    ],
)
def test_each_type_says_what_it_expects(codec: ThriftCodec, types: Idl, type_: str, text: str, cause: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.from_json(getattr(types, type_), text)
    assert cause in str(caught.value)


def test_other_types_are_refused(codec: ThriftCodec) -> None:
    with pytest.raises(CodecError, match="is no type of a Thrift IDL"):
        codec.from_json(int, "5")
    with pytest.raises(CodecError, match="cannot be written as JSON"):
        codec.to_json(object())


def test_a_value_that_holds_itself_is_refused(codec: ThriftCodec, types: Idl) -> None:
    tree = types.Tree("t")
    tree.children = [tree]
    with pytest.raises(CodecError, match="holds itself"):
        codec.to_json(tree)
