"""What Python classes of an IDL's structs can do: be built, compared, printed, copied and pickled.

thriftpy2 makes the classes. Its ``__init__`` shares one default list among all objects, and its exceptions compare by
identity; both are replaced here. Absent fields read as the class's own attribute, so that decoding an object
costs no ``__init__``.
"""

from __future__ import annotations

import copy
import keyword
from functools import partial
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

from elanus_codec_thrift.pickling import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elanus_codec_thrift.pickling import TypeKey
    from elanus_codec_thrift.schema import Field, Struct

__all__ = ["dress", "give_init", "is_shareable"]

_UNSET: Any = type("Unset", (), {"__repr__": lambda self: "<the IDL's default>"})()


def is_shareable(value: object) -> bool:
    """Whether many objects may hold *value* itself: it cannot change."""
    return value is None or isinstance(value, (bool, int, float, str, bytes))


def give_init(cls: Any, defaults: Iterable[tuple[str, Any]]) -> None:
    """Give *cls* an ``__init__`` that takes every field by position or keyword.

    Fields whose name is a Python keyword are taken by keyword only: ``Range(**{"from": 1})``.
    """
    plain, words = [], {}
    for name, default in defaults:
        if keyword.iskeyword(name) or name == "__self__":
            words[name] = default
        else:
            plain.append((name, default))
    scope: dict[str, Any] = {"UNSET": _UNSET, "copy": copy.deepcopy, "words": words, "take": _take_words}
    parameters, body = ["__self__"], []
    for index, (name, default) in enumerate(plain):
        scope[f"d{index}"] = default
        if is_shareable(default):
            parameters.append(f"{name}=d{index}")
            body.append(f"    __self__.{name} = {name}")
        else:
            parameters.append(f"{name}=UNSET")
            body.append(f"    __self__.{name} = copy(d{index}) if {name} is UNSET else {name}")
    if words:
        parameters.append("**__words__")
        body.append("    take(__self__, words, __words__)")
    exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(body) or "    pass"), scope)
    init = scope["__init__"]
    init.__qualname__ = f"{cls.__name__}.__init__"
    cls.__init__ = init


def _take_words(target: Any, defaults: dict[str, Any], given: dict[str, Any]) -> None:
    for name, default in defaults.items():
        setattr(target, name, given.pop(name) if name in given else copy.deepcopy(default))
    if given:
        raise TypeError(f"{type(target).__name__}() got an unexpected keyword argument {next(iter(given))!r}")


def dress(struct: Struct, key: TypeKey | None) -> None:
    """Give the class of *struct* its behaviour.

    :param key: where the type can be found again, for pickle; ``None`` for the wrappers of arguments and results.
    """
    cls: Any = struct.cls
    names = tuple(item.name for item in struct.fields)
    give_init(cls, [(item.name, item.default) for item in struct.fields])
    for item in struct.fields:
        setattr(cls, item.name, item.default if is_shareable(item.default) else None)
    cls.__elanus_struct__ = struct
    setattr(cls, "__match_args__", names)  # noqa: B010 (mypy refuses the plain form)
    values = _getter(names)
    cls.__eq__ = lambda self, other: values(self) == values(other) if other.__class__ is cls else NotImplemented
    cls.__ne__ = object.__ne__
    cls.__hash__ = lambda self: hash((cls, _freeze(values(self))))
    cls.__repr__ = recursive_repr(f"{cls.__name__}(...)")(lambda self: f"{cls.__name__}({_shown(struct, self)})")
    cls.__str__ = (lambda self: _shown(struct, self)) if issubclass(cls, Exception) else cls.__repr__
    cls.__copy__ = lambda self: _copied(cls, names, self, lambda value: value)
    cls.__deepcopy__ = lambda self, memo: _copied(cls, names, self, partial(copy.deepcopy, memo=memo), memo)
    if key is not None:
        cls.__reduce__ = lambda self: (rebuild, (key, {name: getattr(self, name) for name in names}))
        cls.__reduce_ex__ = lambda self, protocol: self.__reduce__()


def _getter(names: tuple[str, ...]) -> Any:
    if len(names) == 1:
        only = names[0]
        return lambda self: (getattr(self, only),)
    return attrgetter(*names) if names else lambda self: ()


def _freeze(value: Any) -> Any:
    """Something hashable that is equal when *value* is."""
    if isinstance(value, dict):
        return frozenset((_freeze(key), _freeze(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_freeze, value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_freeze, value))
    return value


def _shown(struct: Struct, value: Any) -> str:
    pairs = ((item, getattr(value, item.name)) for item in struct.fields)
    return ", ".join(f"{item.name}={_field_repr(item, given)}" for item, given in pairs if given is not None)


def _field_repr(item: Field, value: Any) -> str:
    names = getattr(item.type.enum, "_value2member_map_", None)
    if names is not None and isinstance(value, int) and value in names:
        return f"{item.type}.{names[value].name}"  # an IntEnum's own text is its number
    return repr(value)


def _copied(cls: Any, names: tuple[str, ...], source: Any, clone: Any, memo: dict[int, Any] | None = None) -> Any:
    other = cls.__new__(cls)
    if memo is not None:
        memo[id(source)] = other
    for name in names:
        setattr(other, name, clone(getattr(source, name)))
    return other
