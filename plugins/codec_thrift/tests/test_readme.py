"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from elanus.errors import CodecError, ConfigError

if TYPE_CHECKING:
    from elanus_codec_thrift.codec import ThriftCodec

README = (Path(__file__).parents[1] / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_idl_and_its_use(codec: ThriftCodec, tmp_path: Path) -> None:
    (tmp_path / "echo.thrift").write_text(_blocks("thrift")[0])
    echo = codec.load(tmp_path / "echo.thrift")
    shown = 0
    for line in _blocks("python")[0].splitlines():
        call, _, comment = line.partition("#")
        if call.startswith("echo."):
            value = eval(call, {"echo": echo})
            if "->" in comment:
                assert repr(value) == comment.partition("->")[2].strip()
                shown += 1
    assert shown


def test_the_streaming_method(codec: ThriftCodec, tmp_path: Path) -> None:
    text = f"struct Request {{}}\nstruct Response {{}}\nservice S {{ {_blocks('thrift')[1]} }}"
    (tmp_path / "stream.thrift").write_text(text)
    assert codec.load(tmp_path / "stream.thrift").S.methods["chat"].kind.streams


def test_the_errors(codec: ThriftCodec, tmp_path: Path) -> None:
    shown = " ".join(README.split())
    path = tmp_path / "echo.thrift"
    path.write_text("\n" * 6 + "struct S { 1: Requst r }")
    with pytest.raises(ConfigError) as unloaded:
        codec.load(path)
    assert str(unloaded.value).partition("echo.thrift")[2].partition(". Declare")[0] in shown
    path.write_text(
        "struct Item { 1: i8 size }\nstruct Request { 1: string message, 2: list<Item> items }\n"
        "service E { void echo(1: Request request) }"
    )
    idl = codec.load(path)
    method = idl.E.methods["echo"]
    with pytest.raises(CodecError) as unfit:
        codec.encode_arguments(method, [idl.Request(items=[*[idl.Item(1)] * 3, idl.Item(300)])])
    payload = codec.encode_arguments(method, [idl.Request(message="ab", items=[])]).replace(b"ab", b"\xffb")
    with pytest.raises(CodecError) as malformed:
        codec.decode_arguments(method, payload)
    for caught in (unfit, malformed):
        place, _, cause = str(caught.value).partition(". ")[0].partition(": ")
        assert place == "echo [codec]"
        assert cause in shown, cause
