"""Objects compare, print, copy and pickle."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.codec import ThriftCodec


def _rich(types: Idl) -> Any:
    return types.Nested(
        forest=[{"a": [types.Leaf(1, "b", ["c"])]}],
        numbers={1, 2},
        tree=types.Tree("root", [types.Tree("leaf")]),
        colors=[types.Color.RED],
        blobs=[b"\xff"],
    )


def test_they_compare_by_value(types: Idl, idl_files: Path, codec: ThriftCodec) -> None:
    assert _rich(types) == _rich(types)
    assert types.Leaf(1) != types.Leaf(2)
    assert types.Leaf(1) != types.Blade(1, "x")
    assert types.Leaf() != types.Empty()
    assert types.Leaf(1) != 1
    assert codec.load(idl_files / "types.thrift").Leaf(1) != types.Leaf(1), "two loads are two types"


def test_a_decoded_object_equals_the_one_that_was_encoded(types: Idl, codec: ThriftCodec) -> None:
    method = types.Everything.methods["tree"]
    (decoded,) = codec.decode_arguments(method, codec.encode_arguments(method, [types.Tree("t")]))
    assert decoded == types.Tree("t")
    assert types.Tree("t") == decoded
    assert hash(decoded) == hash(types.Tree("t"))
    assert decoded.children is None


def test_equal_objects_have_equal_hashes(types: Idl) -> None:
    assert hash(_rich(types)) == hash(_rich(types))
    assert {types.Leaf(1): "one"}[types.Leaf(1)] == "one"


def test_exceptions_compare_by_value_and_tell_their_fields(types: Idl) -> None:
    error = types.NotFound(what="x")
    assert error == types.NotFound("x", 404)
    assert error != types.NotFound("y")
    assert isinstance(error, Exception)
    assert str(error) == "what='x', code=404"
    assert repr(error) == "NotFound(what='x', code=404)"


def test_they_print_what_is_set(types: Idl) -> None:
    assert repr(types.Leaf(1, tags=["t"])) == "Leaf(id=1, tags=['t'])"
    assert str(types.Scalars(color=2)) == "Scalars(color=Color.GREEN)"
    assert str(types.Scalars(color=77)) == "Scalars(color=77)"
    tree = types.Tree("t")
    tree.children = [tree]
    assert repr(tree) == "Tree(name='t', children=[Tree(...)])"


def test_copies_are_of_the_same_class(types: Idl) -> None:
    value = _rich(types)
    shallow, deep = copy.copy(value), copy.deepcopy(value)
    assert shallow == deep == value
    assert type(shallow) is type(deep) is types.Nested
    shallow.numbers.add(3)
    assert value.numbers == {1, 2, 3}
    assert deep.numbers == {1, 2}
    tree = types.Tree("t")
    tree.children = [tree]
    twin = copy.deepcopy(tree)
    assert twin.children[0] is twin


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_they_pickle(types: Idl, protocol: int) -> None:
    value = _rich(types)
    again = pickle.loads(pickle.dumps(value, protocol))
    assert again == value
    assert type(again) is types.Nested
    assert type(again.colors[0]) is types.Color
    for other in (types.NotFound("x"), types.Color.RED, types.units.Metre(length=1.0)):
        assert pickle.loads(pickle.dumps(other, protocol)) == other


def test_another_process_loads_the_file_that_the_pickle_names(codec: ThriftCodec, tmp_path: Path) -> None:
    path = tmp_path / "own.thrift"
    path.write_text("enum Kind { A = 1 }\nstruct Own { 1: list<Own> children, 2: Kind kind, 3: string name }")
    idl = codec.load(path)
    value = idl.Own([idl.Own(name="leaf")], idl.Kind.A)
    program = (
        "import pickle, sys; value = pickle.load(sys.stdin.buffer); "
        "print(type(value).__name__, value.children[0].name, type(value.kind).__name__); "
        "sys.stdout.flush(); sys.stdout.buffer.write(pickle.dumps(value))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(value), capture_output=True, check=True, cwd="/"
    )
    line, _, back = done.stdout.partition(b"\n")
    assert line.split() == [b"Own", b"leaf", b"Kind"]
    assert pickle.loads(back) == value


def test_a_process_that_has_the_same_content_elsewhere_uses_its_own(codec: ThriftCodec, tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.thrift").write_text("struct X { 1: i32 a }  // the same in both")
    here = codec.load(tmp_path / "here" / "x.thrift")
    data = pickle.dumps(here.X(1))
    del here
    gc.collect()  # as in a process that never had it
    there = codec.load(tmp_path / "there" / "x.thrift")
    (tmp_path / "here" / "x.thrift").unlink()
    assert type(pickle.loads(data)) is there.X


def test_after_a_change_of_the_file_the_fields_that_remain_are_kept(codec: ThriftCodec, tmp_path: Path) -> None:
    path = tmp_path / "x.thrift"
    path.write_text("struct X { 1: i32 a, 2: i32 gone }")
    data = pickle.dumps(codec.load(path).X(1, 2))
    path.write_text("struct X { 1: i32 a, 3: i32 added = 3 }")
    after = codec.load(path)
    gc.collect()  # the first load is nobody's any more
    assert pickle.loads(data) == after.X(a=1, added=3)


def test_a_file_that_is_gone_is_named(codec: ThriftCodec, tmp_path: Path) -> None:
    path = tmp_path / "gone.thrift"
    path.write_text("struct Gone { 1: i32 a }")
    data = pickle.dumps(codec.load(path).Gone(1))
    path.unlink()
    gc.collect()
    with pytest.raises(ConfigError, match=r"no IDL file .*gone\.thrift"):
        pickle.loads(data)
