"""An IDL that cannot be loaded: the error names file, line, cause and next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from elanus_codec_thrift.codec import ThriftCodec


def _fault(codec: ThriftCodec, folder: Path, text: str) -> ConfigError:
    path = folder / "bad.thrift"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        codec.load(path)
    return caught.value


def test_there_is_no_such_file(codec: ThriftCodec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no IDL file .*absent\.thrift.*working directory") as caught:
        codec.load(tmp_path / "absent.thrift")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("struct A {\n  1: i32 x\n  2: ?? y\n}", 3, "Illegal character"),
        ("struct A {\n  1: i32 x\n", 3, "Grammar error"),
        ("struct A {\n  1: i32\n}", 3, "Grammar error"),
        ("struct A {\n  1: i32 x\n  1: i32 y\n}", 4, "already been used"),
        ("struct A {}\n\nstruct A {}", 3, "already defined"),
        ("struct A {\n  1: Missing x\n}", 2, "no type 'Missing'"),
        ("struct A {\n  1: list<Missing> x\n}", 2, "no type 'Missing'"),
        ("service S {\n  void f(1: map<i32, Missing> x)\n}", 2, "no type 'Missing'"),
        ("typedef A B\ntypedef B A\nstruct C { 1: A a }", 1, "no type"),
        ("struct A {\n  99999: i32 x\n}", 2, "id 99999"),
        ("const i32 X = 'text'", 1, "Type error"),
        ("const i32 X = Y", 1, "Y"),
        ("service S extends Missing {\n}", 1, "Missing"),
        ('include "absent.thrift"\nstruct A {}', 1, "include thrift absent.thrift"),
    ],
)
def test_the_line_and_the_cause_are_named(codec: ThriftCodec, tmp_path: Path, text: str, line: int, cause: str) -> None:
    error = _fault(codec, tmp_path, text)
    assert f"bad.thrift:{line}: " in str(error)
    assert cause in str(error)
    assert error.hint


def test_the_included_file_is_named(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "inner.thrift").write_text("struct Ok {}\nstruct A {\n  1: Nope x\n}")
    with pytest.raises(ConfigError, match=r"inner\.thrift:3: there is no type 'Nope'"):
        codec.load(_written(tmp_path, 'include "inner.thrift"'))
    (tmp_path / "inner.thrift").write_text("struct Ok {}\n}")
    with pytest.raises(ConfigError, match=r"inner\.thrift:2: Grammar error"):
        codec.load(_written(tmp_path, 'include "inner.thrift"'))


def test_files_that_include_each_other_are_refused(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "one.thrift").write_text('include "two.thrift"')
    (tmp_path / "two.thrift").write_text('include "one.thrift"')
    with pytest.raises(ConfigError, match=r"circle: .*one\.thrift -> .*two\.thrift -> .*one\.thrift"):
        codec.load(tmp_path / "one.thrift")


def test_a_file_that_is_not_text_is_refused(codec: ThriftCodec, tmp_path: Path) -> None:
    path = tmp_path / "binary.thrift"
    path.write_bytes(b"struct \xff {}")
    with pytest.raises(ConfigError, match=r"binary\.thrift:1: not UTF-8"):
        codec.load(path)


def test_a_folder_is_refused(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "folder.thrift").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.thrift: Is a directory"):
        codec.load(tmp_path / "folder.thrift")


@pytest.mark.parametrize(
    "default",
    ["binary x = 5", "Inner x = {'nope': 1}", "Inner x = 5", "list<Inner> x = [5]", "map<i32, Inner> x = {1: 5}"],
)
def test_a_default_of_another_type_is_refused(codec: ThriftCodec, tmp_path: Path, default: str) -> None:
    error = _fault(codec, tmp_path, f"struct A {{ 1: {default} }}\nstruct Inner {{ 1: i32 y }}")
    assert "bad.thrift" in str(error)


@pytest.mark.parametrize(
    ("method", "cause"),
    [
        ("A f(1: A a) (streaming.mode = 'both')", "streaming.mode='both'"),
        ("A f(1: A a, 2: A b) (streaming.mode = 'client')", "must have one parameter"),
        ("A f(1: i32 a) (streaming.mode = 'client')", "must have one parameter, a struct"),
        ("void f(1: A a) (streaming.mode = 'server')", "must return a struct"),
        ("oneway A f(1: A a) (streaming.mode = 'server')", "cannot be oneway"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(codec: ThriftCodec, tmp_path: Path, method: str, cause: str) -> None:
    error = _fault(codec, tmp_path, f"struct A {{}}\nservice S {{ {method} }}")
    assert "S.f" in str(error)
    assert cause in str(error)


def test_a_failed_load_leaves_the_next_one_alone(codec: ThriftCodec, tmp_path: Path) -> None:
    _fault(codec, tmp_path, "struct {")
    assert codec.load(_written(tmp_path, "struct A { 1: i32 end }")).A(end=1).end == 1


def _written(folder: Path, text: str) -> Path:
    path = folder / "written.thrift"
    path.write_text(text)
    return path
