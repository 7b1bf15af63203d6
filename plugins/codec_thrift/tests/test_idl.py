"""What an IDL may say, and what of it is on the loaded module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elanus.contracts.codec import Idl
from elanus.service import MethodKind, ServiceInfo
from elanus_codec_thrift.schema import ThriftType

if TYPE_CHECKING:
    from pathlib import Path

    from elanus_codec_thrift.codec import ThriftCodec


def test_constants_have_their_values(types: Idl) -> None:
    assert (types.LIMIT, types.BIG, types.HEXADECIMAL) == (10, -9000000000, 255)
    assert (types.GREETING, types.YES, types.HALF) == ('hello "you"', True, 0.5)
    assert types.PRIMES == [2, 3, 5]
    assert types.AGES == {"ann": 3, "bob": 4}
    assert {"ann", "bob"} == types.NAMES
    assert types.FAVOURITE == types.Color.GREEN


def test_enums_are_integers_with_names(types: Idl) -> None:
    assert [(item.name, item.value) for item in types.Color] == [("RED", 1), ("GREEN", 2), ("BLUE", 4)]
    assert types.Color.BLUE == 4
    assert types.Color(2) is types.Color.GREEN


def test_typedefs_stand_for_what_they_name(types: Idl) -> None:
    assert types.Blade is types.Leaf
    assert types.Paint is types.Color
    assert isinstance(types.UserId, ThriftType)
    assert str(types.UserId) == "i64"
    assert str(types.Garden) == "map<i64, list<Leaf>>"


def test_structs_take_fields_by_position_and_by_name(types: Idl) -> None:
    assert types.Leaf(1, "a", ["t"]) == types.Leaf(id=1, tags=["t"], name="a")
    assert types.Leaf().id is None
    with pytest.raises(TypeError, match="colour"):
        types.Leaf(colour=1)


def test_defaults_have_the_types_of_their_fields(types: Idl) -> None:
    value = types.Defaults()
    assert (value.flag, value.number, value.text, value.maybe, value.unset) == (True, 42, "plain", "perhaps", None)
    assert (value.numbers, value.table, value.names) == ([1, 2, 3], {"one": 1, "two": 2}, {"x", "y"})
    assert (value.color, value.level) == (types.Color.GREEN, types.shared.Level.HIGH)
    assert isinstance(value.ratio, float)
    assert value.blob == b"bytes"
    assert value.leaf == types.Leaf(7, "seven")
    assert value.leaves == [types.Leaf(1, "one")]
    assert all(isinstance(weight, float) for weight in value.weights)


def test_defaults_are_not_shared_among_objects(types: Idl) -> None:
    types.Defaults().numbers.append(4)
    types.Defaults().leaf.id = 8
    types.Defaults().leaves[0].name = "changed"
    assert types.Defaults().numbers == [1, 2, 3]
    assert types.Defaults().leaf.id == 7
    assert types.Defaults().leaves[0].name == "one"


def test_field_names_may_be_reserved_words(types: Idl) -> None:
    value = types.Range(end=2, self="me", read=3, write=4, **{"from": 1})
    assert (getattr(value, "from"), value.end, value.self, getattr(value, "None")) == (1, 2, "me", True)
    assert repr(value) == "Range(from=1, end=2, None=True, self='me', read=3, write=4)"
    with pytest.raises(TypeError, match="to"):
        types.Range(to=1)


def test_structs_match_by_position(types: Idl) -> None:
    match types.Leaf(1, "a"):
        case types.Leaf(1, name):
            assert name == "a"
        case _:
            pytest.fail("no match")


def test_includes_are_loaded_idls(types: Idl) -> None:
    assert isinstance(types.shared, Idl)
    assert types.shared.Stamp(seconds=1).seconds == 1
    assert types.units.shared is types.shared, "one file that is included along two ways is one IDL"
    assert list(types.shared.__services__) == ["Common"]


def test_services_know_their_package_and_methods(types: Idl) -> None:
    service = types.Everything
    assert isinstance(service, ServiceInfo)
    assert list(types.__services__) == ["Everything", "Streams"]
    assert service.package == "types"
    assert types.shared.Common.package == "shared"
    assert service.extra["namespaces"] == {"go": "acme.platform.types", "py": "acme_types"}
    assert service.methods["join"].parameters == ("left", "right", "rest")
    assert service.methods["ping"].parameters == ()
    assert service.methods["fire"].kind is MethodKind.ONEWAY
    assert service.methods["check"].kind is MethodKind.UNARY


def test_a_service_has_the_methods_of_the_one_that_it_extends(types: Idl) -> None:
    assert list(types.Everything.methods)[:2] == ["now", "forbid"]
    assert types.Everything.methods["now"].service == "Common"
    assert types.Everything.methods["join"].service == "Everything"


def test_annotations_say_how_a_method_streams(types: Idl) -> None:
    methods = types.Streams.methods
    assert {name: method.kind for name, method in methods.items()} == {
        "chat": MethodKind.BIDI_STREAM,
        "collect": MethodKind.CLIENT_STREAM,
        "list_all": MethodKind.SERVER_STREAM,
        "single": MethodKind.UNARY,
    }
    assert methods["chat"].extra["annotations"] == {"streaming.mode": "bidirectional"}


def test_an_annotation_says_that_a_method_is_idempotent(types: Idl) -> None:
    assert types.Everything.methods["once"].idempotent is True
    assert types.Everything.methods["ping"].idempotent is None


def test_what_is_not_there_is_named_with_what_is(types: Idl) -> None:
    with pytest.raises(AttributeError, match=r"declares no 'Leaff'.*Leaf,"):
        _ = types.Leaff


def test_types_may_be_declared_after_any_use(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "late.thrift").write_text(
        """
        service S extends B {
            list<Late> all(1: map<Kind, Late> known, 2: Alias alias) throws (1: Bad bad)
        }
        service B {}
        typedef map<Kind, list<Late>> Alias
        typedef Other Again
        typedef Late Other
        struct User { 1: Alias alias, 2: set<Kind> kinds, 3: Again again, 4: Late late = {"kind": 1} }
        const Late FIRST = {"kind": 2}
        struct Late { 1: Kind kind }
        enum Kind { A = 1, B = 2 }
        exception Bad { 1: Late late }
        """.replace("service S extends B", "service S")
    )
    idl = codec.load(tmp_path / "late.thrift")
    assert idl.Again is idl.Late
    assert idl.Late(kind=2) == idl.FIRST
    assert idl.User().late == idl.Late(kind=1)
    method = idl.S.methods["all"]
    arguments = [{1: idl.Late(1)}, {2: [idl.Late(2)]}]
    assert list(codec.decode_arguments(method, codec.encode_arguments(method, arguments))) == arguments
    assert codec.decode_result(method, codec.encode_result(method, [idl.Late(2)])) == [idl.Late(2)]
    with pytest.raises(idl.Bad):
        codec.decode_result(method, codec.encode_exception(method, idl.Bad(idl.Late(1))) or b"")


def test_two_files_of_one_name_do_not_collide(codec: ThriftCodec, idl_files: Path) -> None:
    left = codec.load(idl_files / "left" / "same.thrift")
    right = codec.load(idl_files / "right" / "same.thrift")
    assert left.Same(left="l").left == "l"
    assert right.Same(right=1).right == 1
    assert left.Same is not right.Same


def test_includes_of_one_name_in_two_folders_do_not_collide(codec: ThriftCodec, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "common.thrift").write_text(f"struct Thing {{ 1: string of_{folder} }}")
        (tmp_path / folder / f"{folder}.thrift").write_text(
            f'include "common.thrift"\nstruct Box_{folder} {{ 1: common.Thing thing }}'
        )
    (tmp_path / "root.thrift").write_text('include "a/a.thrift"\ninclude "b/b.thrift"')
    idl = codec.load(tmp_path / "root.thrift")
    assert idl.a.common.Thing(of_a="x").of_a == "x"
    assert idl.b.common.Thing(of_b="x").of_b == "x"


def test_a_changed_file_is_read_again(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "inner.thrift").write_text("struct Inner { 1: string old }")
    path = tmp_path / "outer.thrift"
    path.write_text('include "inner.thrift"\nstruct Outer { 1: inner.Inner inner }')
    before = codec.load(path)
    (tmp_path / "inner.thrift").write_text("struct Inner { 1: string new }")
    after = codec.load(path)
    assert before.inner.Inner(old="o").old == "o"
    assert after.inner.Inner(new="n").new == "n"


def test_includes_are_found_beside_the_file_and_in_the_given_folders(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "base.thrift").write_text("struct Base { 1: i32 x }")
    (tmp_path / "project").mkdir()
    path = tmp_path / "project" / "p.thrift"
    path.write_text('include "base.thrift"\nstruct P { 1: base.Base base }')
    assert codec.load(path, [tmp_path / "library"]).base.Base(x=1).x == 1
    assert codec.load(str(path), [str(tmp_path / "library")]).P().base is None


def test_an_enum_whose_names_python_refuses_still_has_its_numbers(codec: ThriftCodec, tmp_path: Path) -> None:
    path = tmp_path / "odd.thrift"
    path.write_text("enum Odd { mro = 1, fine = 2 }\nstruct Holder { 1: Odd odd = Odd.fine }")
    idl = codec.load(path)
    assert idl.Odd.mro == 1
    assert idl.Holder().odd == 2
    assert codec.from_json(idl.Holder, '{"odd": "mro"}').odd == 1
    assert codec.to_json(idl.Holder(odd=1)) == '{"odd": "mro"}'


def test_loading_leaves_thriftpy2_as_it_was(codec: ThriftCodec, idl_files: Path) -> None:
    import sys

    from thriftpy2.parser import lexer, parser

    before = (
        parser.parse,
        parser.gen_init,
        lexer.thrift_reserved_keywords,
        dict(parser._thrift_cache),
        set(sys.modules),
    )
    codec.load(idl_files / "types.thrift")
    after = (
        parser.parse,
        parser.gen_init,
        lexer.thrift_reserved_keywords,
        dict(parser._thrift_cache),
        set(sys.modules),
    )
    assert before == after


def test_threads_may_load_at_once(codec: ThriftCodec, idl_files: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    names = ["types.thrift", "left/same.thrift", "right/same.thrift", "suite.thrift"] * 3
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda name: codec.load(idl_files / name), names))
    assert [set(idl.__services__) for idl in loaded[:4]] == [{"Everything", "Streams"}, {"Who"}, {"Who"}, {"Store"}]
