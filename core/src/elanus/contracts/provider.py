"""What a plugin's hook returns: a name, and how to build the thing behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Provider"]

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Provider(Generic[T]):
    """An offer of one capability.

    :param name: what users write to select it, such as ``balancer="weighted"``: lower-case letters, digits and ``_``.
    :param build: called with the user's options when the name is selected, each time it is; returns a new object.
        Import client libraries inside it, not in the hook, so that what nobody names is not loaded. A wrong option
        should raise :exc:`elanus.ConfigError`.
    :param suffixes: for codecs only: the IDL files that it loads, such as ``(".thrift",)``.
    """

    name: str
    build: Callable[[Mapping[str, object]], T]
    suffixes: tuple[str, ...] = ()
