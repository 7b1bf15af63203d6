"""What a row of the interop matrix is, and the values that travel in several of them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .elanus_peers import FRAMINGS
from .service import idl

__all__ = ["ALL_TYPES", "ALL_TYPES_JSON", "EVERY", "NESTED", "NESTED_JSON", "TTHEADER", "Row", "Rows"]

EVERY = tuple(FRAMINGS)
#: The framings with a TTHeader: what has no place in an envelope travels there, or not at all.
TTHEADER = ("ttheader", "ttheaderframed", "mux")


@dataclass(frozen=True)
class Row:
    """One thing that both sides must agree on, in one direction."""

    name: str
    #: Takes the client, the server and the name of the framing.
    check: Callable[[Any, Any, str], Awaitable[None]]
    framings: tuple[str, ...]
    #: Options of the two sides, in their own words: flags of the Go peer, keywords of elanus.
    client: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)


class Rows(dict[str, Row]):
    """The rows of one direction, by name."""

    def row(
        self,
        *framings: str,
        client: Mapping[str, object] | None = None,
        server: Mapping[str, object] | None = None,
    ) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
        """Add the decorated function as a row of its name; without framings it is one of all."""

        def add(check: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
            name = check.__name__
            assert name not in self, f"two rows are called {name}"
            self[name] = Row(name, check, framings or EVERY, client or {}, server or {})
            return check

        return add


ALL_TYPES = idl.AllTypes(
    flag=True,
    tiny=-128,
    small=-(2**15),
    medium=-(2**31),
    large=-(2**63),
    ratio=1e300,
    text="日本 é",
    blob=b"\xff\0",
    color=idl.Color.BLUE,
    user=2**63 - 1,
    must="",
    maybe_flag=False,
    maybe_tiny=127,
    maybe_small=0,
    maybe_medium=1,
    maybe_large=2,
    maybe_ratio=-0.5,
    maybe_text="",
    maybe_blob=b"x",
    maybe_color=idl.Color.RED,
    maybe_user=3,
    far="away",
)
ALL_TYPES_JSON = {
    "flag": True,
    "tiny": -128,
    "small": -(2**15),
    "medium": -(2**31),
    "large": -(2**63),
    "ratio": 1e300,
    "text": "日本 é",
    "blob": "/wA=",
    "color": 4,
    "user": 2**63 - 1,
    "must": "",
    "maybe_flag": False,
    "maybe_tiny": 127,
    "maybe_small": 0,
    "maybe_medium": 1,
    "maybe_large": 2,
    "maybe_ratio": -0.5,
    "maybe_text": "",
    "maybe_blob": "eA==",
    "maybe_color": 1,
    "maybe_user": 3,
    "far": "away",
}

_LEAF = idl.Leaf(id=7, name="leaf", tags=["a", "b"])
NESTED = idl.Nested(
    forest=[{"oak": [_LEAF, idl.Leaf(id=8, name="")]}, {}],
    numbers={1, -1},
    leaves={-5: _LEAF},
    matrix=[[1, 2], [], [3]],
    deep={"a": {1: {"x"}}},
    blobs=[b"\0", b""],
    flags=[True, False],
    ratios={"half": 0.5},
    tree=idl.Tree(name="root", children=[idl.Tree(name="child", children=[])]),
    colors=[idl.Color.RED, idl.Color.BLUE],
    maybe_table={"k": "v"},
)
_LEAF_JSON = {"id": 7, "name": "leaf", "tags": ["a", "b"]}
NESTED_JSON = {
    "forest": [{"oak": [_LEAF_JSON, {"id": 8, "name": ""}]}, {}],
    "numbers": [1, -1],
    "leaves": {"-5": _LEAF_JSON},
    "matrix": [[1, 2], [], [3]],
    "deep": {"a": {"1": ["x"]}},
    "blobs": ["AA==", ""],
    "flags": [True, False],
    "ratios": {"half": 0.5},
    "tree": {"name": "root", "children": [{"name": "child", "children": []}]},
    "colors": [1, 4],
    "maybe_table": {"k": "v"},
}
