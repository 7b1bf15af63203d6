"""What the tests share: the codec, the IDL files beside them, strategies for values, and a reference reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from elanus_codec_thrift.codec import ThriftCodec
from elanus_codec_thrift.schema import Form, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.contracts.codec import Idl
    from elanus_codec_thrift.schema import Struct, ThriftType

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def idl_files() -> Path:
    return HERE / "idl"


@pytest.fixture(scope="session")
def codec() -> ThriftCodec:
    return ThriftCodec()


@pytest.fixture(scope="session")
def types(codec: ThriftCodec, idl_files: Path) -> Idl:
    return codec.load(idl_files / "types.thrift")


@pytest.fixture(scope="session")
def values() -> Callable[[Struct], st.SearchStrategy[Any]]:
    """From a struct to a strategy for its objects; fields that may be absent sometimes are."""
    return _objects


_INTEGERS = {Kind.I8: 8, Kind.I16: 16, Kind.I32: 32, Kind.I64: 64, Kind.ENUM: 32}


def _objects(struct: Struct, depth: int = 0) -> st.SearchStrategy[Any]:
    fields = [item for item in struct.fields if depth < 3 or item.type.hashable]
    if struct.form is Form.UNION:
        return st.sampled_from(fields).flatmap(
            lambda item: _values(item.type, depth + 1).map(lambda value: struct.cls(**{item.name: value}))
        )
    # A field that has a default and is left out does not come back as None.
    needed = {item.name for item in fields if item.required or item.default is not None}
    given = {
        item.name: _values(item.type, depth + 1) if item.name in needed else st.none() | _values(item.type, depth + 1)
        for item in fields
    }
    return st.fixed_dictionaries(given).map(lambda chosen: struct.cls(**chosen))


def _values(type_: ThriftType, depth: int) -> st.SearchStrategy[Any]:
    kind = type_.kind
    if kind in _INTEGERS:
        half = 1 << (_INTEGERS[kind] - 1)
        return st.integers(-half, half - 1)
    if type_.struct is not None:
        struct = type_.struct
        return st.deferred(lambda: _objects(struct, depth))
    if kind is Kind.LIST:
        return st.lists(_values(type_.element, depth), max_size=3)
    if kind is Kind.SET:
        items = _values(type_.element, depth)
        return st.sets(items, max_size=3) if type_.element.hashable else st.lists(items, max_size=3)
    if kind is Kind.MAP:
        return st.dictionaries(_values(type_.key_type, depth), _values(type_.element, depth), max_size=3)
    return _PLAIN[kind]


_PLAIN: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BOOL: st.booleans(),
    Kind.DOUBLE: st.floats(allow_nan=False),
    Kind.STRING: st.text(max_size=10),
    Kind.BINARY: st.binary(max_size=10),
}
