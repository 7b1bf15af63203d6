"""Struct bytes out of messages of Kitex v0.16.3: decoded, and encoded to the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import CodecError

if TYPE_CHECKING:
    from elanus.contracts.codec import Idl
    from elanus.service import MethodInfo
    from elanus_codec_thrift.codec import ThriftCodec

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]


@pytest.fixture(scope="module")
def kitex(codec: ThriftCodec, idl_files: Path) -> Idl:
    return codec.load(idl_files / "kitex.thrift")


def _plain(value: Any) -> Any:
    """A decoded object in the form of the vectors' expectation: pairs of id and value."""
    struct = getattr(type(value), "__elanus_struct__", None)
    if struct is None:
        return value
    pairs = ((item.id, getattr(value, item.name)) for item in struct.fields)
    return [[number, _plain(held)] for number, held in pairs if held is not None]


def _expected(fields: list[Any]) -> list[Any]:
    return [[number, _expected(value) if kind == "struct" else value] for number, kind, value in fields]


def _method(idl: Idl, vector: dict[str, Any]) -> MethodInfo:
    service = idl.Plain if vector["name"] == "ttheader-framed-call-echo-metainfo" else idl.Echo
    method: MethodInfo = service.methods[vector["method"]]
    return method


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "arguments"], ids=lambda vector: vector["name"])
def test_arguments(codec: ThriftCodec, kitex: Idl, vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    method = _method(kitex, vector)
    arguments = codec.decode_arguments(method, payload)
    assert [[1, _plain(value)] for value in arguments] == _expected(vector["fields"])
    assert codec.encode_arguments(method, arguments) == payload
    for end in range(len(payload)):
        with pytest.raises(CodecError):
            codec.decode_arguments(method, payload[:end])


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "result"], ids=lambda vector: vector["name"])
def test_results(codec: ThriftCodec, kitex: Idl, vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    method = _method(kitex, vector)
    if vector["method"] == "exc":
        with pytest.raises(kitex.MyException) as caught:
            codec.decode_result(method, payload)
        assert [[1, _plain(caught.value)]] == _expected(vector["fields"])
        assert codec.encode_exception(method, caught.value) == payload
        return
    reply = codec.decode_result(method, payload)
    assert ([] if reply is None else [[0, _plain(reply)]]) == _expected(vector["fields"])
    assert codec.encode_result(method, reply) == payload


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "item"], ids=lambda vector: vector["name"])
def test_stream_messages(codec: ThriftCodec, kitex: Idl, vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    method = _method(kitex, vector)
    for reply in (False, True):
        item = codec.decode_item(method, payload, reply=reply)
        assert _plain(item) == _expected(vector["fields"])
        assert codec.encode_item(method, item, reply=reply) == payload


def test_an_application_exception_is_a_struct_like_any_other(codec: ThriftCodec, kitex: Idl) -> None:
    (vector,) = (vector for vector in VECTORS if vector["kind"] == "application exception")
    payload = b"\x0c\x00\x01" + bytes.fromhex(vector["hex"]) + b"\x00"
    (value,) = codec.decode_arguments(kitex.Plain.methods["note"], payload)
    assert _plain(value) == _expected(vector["fields"])
