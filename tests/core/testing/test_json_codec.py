"""The JSON codec keeps the contract, and reads its IDL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elanus.errors import CodecError, ConfigError
from elanus.service import MethodKind
from elanus.testing.codec import CodecSuite, Sample
from elanus.testing.json_codec import JsonCodec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.codec import Codec, Idl
    from elanus.service import ServiceInfo


class TestJsonCodec(CodecSuite):
    """The suite of the contract."""

    def codec(self) -> Codec:
        return JsonCodec()

    def path(self) -> Path:
        return Path(__file__).with_name("sample.jsonidl")

    def service(self, idl: Idl) -> ServiceInfo:
        found: ServiceInfo = idl.Sample
        return found

    def samples(self, idl: Idl) -> Sequence[Sample]:
        rich: Any = {
            "text": "é\x00",
            "numbers": [0, -1, 2**62, 0.5],
            "none": None,
            "yes": True,
            "deep": {"a": [{"b": []}]},
        }
        return [Sample("echo", [rich], rich), Sample("two", ["a", [1]]), Sample("nothing"), Sample("tell", ["x"])]

    def declared_exception(self, idl: Idl) -> tuple[str, BaseException]:
        return "echo", idl.Refused("no", 7)

    def stream(self, idl: Idl) -> tuple[str, Any, Any]:
        return "chat", {"line": 1}, ["reply"]

    def nested(self, idl: Idl, depth: int) -> Sample:
        value: Any = 1
        for _ in range(depth - 1):
            value = [value]
        return Sample("echo", [value])

    def many(self, idl: Idl, items: int) -> Sample:
        return Sample("echo", [[0] * items])

    def long(self, idl: Idl, size_bytes: int) -> Sample:
        return Sample("echo", ["x" * size_bytes])

    def unfit(self, idl: Idl) -> tuple[str, Sequence[Any], str]:
        return "two", ["fine", {"items": [1, object()]}], "items"


def test_a_method_of_each_kind() -> None:
    service = JsonCodec().load(Path(__file__).with_name("sample.jsonidl")).Sample
    assert {name: method.kind for name, method in service.methods.items()} == {
        "echo": MethodKind.UNARY,
        "two": MethodKind.UNARY,
        "nothing": MethodKind.UNARY,
        "tell": MethodKind.ONEWAY,
        "feed": MethodKind.SERVER_STREAM,
        "collect": MethodKind.CLIENT_STREAM,
        "chat": MethodKind.BIDI_STREAM,
    }
    assert service.methods["two"].parameters == ("one", "other")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("service S {\n  get(key\n}", 2),
        ("service S\n{\n}", 1),
        ("get(key)", 1),
        ("service S {\n  get(a b)\n}", 2),
        ("service S {\n  exception E(x)\n}", 2),
        ("service S {\n  sometimes get(a)\n}", 2),
        ("service S {\n  get(a) throws Unknown\n}", 2),
    ],
)
def test_a_line_that_makes_no_sense_is_named(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"sample:{line}: "):
        JsonCodec().loads(text, "sample")


def test_declared_exceptions_are_built_by_position_and_by_name() -> None:
    refused = JsonCodec().loads("exception Refused(reason, code)").Refused
    assert refused("no", 7) == refused("no", code=7) == refused(reason="no", code=7)
    assert refused("no") == refused("no", None)
    assert refused("no") != refused("yes")
    error = refused("no", 7)
    assert (error.reason, error.code) == ("no", 7)


def test_an_exception_that_the_method_does_not_declare_is_not_encoded() -> None:
    idl = JsonCodec().loads("exception E(x)\nservice S {\n  may(a) throws E\n  not(a)\n}")
    codec, methods = idl.S.codec, idl.S.methods
    assert codec.encode_exception(methods["not"], idl.E(1)) is None
    assert codec.encode_exception(methods["may"], ValueError()) is None
    payload = codec.encode_exception(methods["may"], idl.E(1))
    with pytest.raises(CodecError, match="'E' that is not declared"):
        codec.decode_result(methods["not"], payload)


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b'"x"', b"\xff", b"[" * 100_000, b"NaN{"])
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    service = JsonCodec().loads("service S {\n  get(a)\n}").S
    with pytest.raises(CodecError, match=r"get \[codec\]"):
        service.codec.decode_arguments(service.methods["get"], payload)


def test_values_for_people_name_what_does_not_fit() -> None:
    idl = JsonCodec().loads("exception E(x)\nservice S {\n  get(a, b)\n}")
    codec, method = idl.S.codec, idl.S.methods["get"]
    assert codec.from_json(method.argument_type, '{"b": 2, "a": 1}') == [1, 2]
    assert codec.from_json(method.argument_type, b"{}") == [None, None]
    assert codec.from_json(idl.E, '{"x": 1}') == idl.E(1)
    assert codec.to_json(idl.E(1)) == '{"x": 1}'
    with pytest.raises(CodecError, match="there is no 'c'; known: a, b"):
        codec.from_json(method.argument_type, '{"c": 1}')
    with pytest.raises(CodecError, match="an object with the keys a, b is wanted"):
        codec.from_json(method.argument_type, "[1]")


def test_a_declared_exception_says_its_values() -> None:
    refused = JsonCodec().loads("exception Refused(reason, code)").Refused
    assert "no" in str(refused("no", 7))
