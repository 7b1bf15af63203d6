"""Where keys come from."""

from __future__ import annotations

import enum
from collections import UserDict
from types import SimpleNamespace
from typing import Any

import pytest

from elanus.call import Call
from elanus.errors import ConfigError
from elanus.metadata import Metadata
from elanus.options import CallOptions
from elanus.service import MethodInfo, ServiceInfo
from elanus_balancer_hash.keys import key_bytes, key_function

FIND = MethodInfo("find", "Shop", parameters=("request", "limit"))
SHOP = ServiceInfo("Shop", None, {"find": FIND})  # type: ignore[arg-type]  # nothing is encoded here


def call_of(*arguments: Any, metadata: Metadata | None = None) -> Call:
    call = Call(SHOP, FIND, arguments, CallOptions())
    call.metadata = metadata or Metadata()
    return call


REQUEST = SimpleNamespace(user_id=7, user={"name": "ann", "home": SimpleNamespace(city="Ulm")})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("argument:limit", 3),
        ("argument:request.user_id", 7),
        ("argument:request.user.name", "ann"),
        ("argument:request.user.home.city", "Ulm"),
        ("argument:0.user_id", 7),
        ("argument:1", 3),
        ("argument:2", None),
        ("argument:request.nobody", None),
        ("argument:request.nobody.name", None),
        ("argument:request.user.nobody", None),
        ("argument:another", None),
    ],
)
def test_arguments(source: str, expected: object) -> None:
    assert key_function(source)(call_of(REQUEST, 3)) == expected


def test_any_mapping_has_fields() -> None:
    assert key_function("argument:request.user_id")(call_of(UserDict(user_id="x"))) == "x"


def test_an_argument_that_was_left_out() -> None:
    assert key_function("argument:limit")(call_of(REQUEST)) is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (Metadata({"user": "1"}), "1"),
        (Metadata({}, {"user": "2"}), "2"),
        (Metadata({"user": "1"}, {"user": "2"}), "1"),
        (Metadata({"other": "1"}), None),
    ],
)
def test_metadata(metadata: Metadata, expected: str | None) -> None:
    assert key_function("metadata:user")(call_of(metadata=metadata)) == expected


@pytest.mark.parametrize("source", ["", "user", "argument", "argument:", "argument:a..b", "metadata:", "header:user"])
def test_what_is_no_key_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"option 'key' of balancer 'hash' is .*Give 'argument:NAME'"):
        key_function(source)


class Colour(enum.IntEnum):
    RED = 5


class Size(enum.StrEnum):
    LARGE = "l"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("käse", "käse".encode()),
        ("\ud800", b"\xed\xa0\x80"),
        (b"\0x", b"\0x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"xyz")[1:], b"yz"),
        (0, b"0"),
        (-12, b"-12"),
        (2**70, b"1180591620717411303424"),
        (Colour.RED, b"5"),
        (Size.LARGE, b"l"),
        (None, b""),
        ("", b""),
    ],
)
def test_the_bytes_of_a_key(key: object, expected: bytes) -> None:
    assert key_bytes(key, call_of()) == expected


@pytest.mark.parametrize("key", [1.5, object(), ["a"], ("a",), {"a": 1}])
def test_a_key_that_may_look_different_elsewhere_is_refused(key: object) -> None:
    with pytest.raises(ConfigError, match=r"the key of Shop/find for balancer 'hash' is of type \w+\. A key is a text"):
        key_bytes(key, call_of())
