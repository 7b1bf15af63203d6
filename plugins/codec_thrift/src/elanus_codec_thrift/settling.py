"""Gives decoded objects Python sets where the IDL says set: thriftpy2's reader builds lists.

Sets of structs and of containers stay lists, since those can change and cannot be members of a set. Types that hold no
set anywhere, which is nearly all, cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.schema import Kind, Struct, ThriftType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["give_settlers"]


def give_settlers(structs: Sequence[Struct]) -> None:
    """Set ``settle`` of those of *structs* that may hold a set, however deep."""
    holders = _holders(structs)
    for struct in structs:
        if id(struct) in holders:
            struct.settle = _of_struct(struct, holders)


def _holders(structs: Sequence[Struct]) -> set[int]:
    """Structs with a set in them or in what they refer to: grown until nothing is added, for types may be recursive."""
    holders: set[int] = set()
    size = -1
    while size != len(holders):
        size = len(holders)
        holders.update(id(item) for item in structs if any(_holds(field.type, holders) for field in item.fields))
    return holders


def _holds(type_: ThriftType, holders: set[int]) -> bool:
    if type_.kind is Kind.SET and type_.element.hashable:
        return True
    if type_.struct is not None:
        return id(type_.struct) in holders
    return type_.value is not None and _holds(type_.value, holders)


def _of_struct(struct: Struct, holders: set[int]) -> Callable[[Any], Any]:
    steps = [(item.name, _of(item.type, holders)) for item in struct.fields if _holds(item.type, holders)]

    def settle(value: Any) -> Any:
        for name, step in steps:
            held = getattr(value, name)
            if held is not None:
                setattr(value, name, step(held))
        return value

    return settle


def _of(type_: ThriftType, holders: set[int]) -> Callable[[Any], Any]:
    if type_.struct is not None:
        struct = type_.struct
        return lambda value: struct.settle(value) if struct.settle is not None else value
    if type_.kind is Kind.SET and type_.element.hashable:
        return set
    step = _of(type_.element, holders)
    if type_.kind is Kind.MAP:
        return lambda value: {key: step(item) for key, item in value.items()}
    return lambda value: [step(item) for item in value]
