"""The contract of a configuration source: options per scope, where each stands, and word of changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from elanus.errors import ConfigError

__all__ = ["Config", "Setting"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, as the source has it, and where it stands.

    :param value: ``bool``, ``int``, ``float``, ``str``, a list of these, or a mapping of texts to these. Core knows
        what each option takes, converts and checks it; a source does neither.
    :param source: where it stands, for people: a file and a line (``"elanus.toml:12"``), a key in a store.
    :param inner: for a mapping: where its keys stand, as far as the source knows.
    """

    value: object
    source: str
    inner: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


class Config(ABC):
    """A source of options of clients and servers.

    A *scope* says for whom: ``"client"`` (every client of the process), ``"client/EchoService"`` (clients of a service,
    by its IDL name), ``"client/EchoService/echo"`` (one method), and the same with ``"server"``. Within a scope a
    setting is named as the option in code: :class:`elanus.ClientOptions`, :class:`elanus.ServerOptions`,
    :class:`elanus.MethodOptions`, :class:`elanus.HandlerOptions`. For a service of a server, and its methods, those of
    :class:`elanus.HandlerOptions`.

    A source that needs no I/O, or only a file, is ready when it is built, and its provider raises what is wrong with
    it. One that asks a network has no scopes until :meth:`start`.
    """

    #: The name users select it by.
    name: str

    async def start(self) -> None:  # noqa: B027
        """Have a first look, for sources that cannot when they are built. Called in the event loop of its user, before
        the first call; a source given as an object to several users is started by each.

        :raises ConfigError: it cannot be read.
        """

    @abstractmethod
    def scopes(self) -> Collection[str]:
        """The scopes for which it has settings, as known now."""

    @abstractmethod
    def settings(self, scope: str) -> Mapping[str, Setting]:
        """What it sets for exactly this scope, as known now; nothing for one that it does not know. No I/O."""

    @abstractmethod
    def changes(self) -> AsyncIterator[ConfigError | None]:
        """One item after each change: ``None`` when :meth:`scopes` and :meth:`settings` now have the new state, all of
        it at once; an error when the source has changed and cannot be read. Then they stay as they were.

        Several iterators may run at once; each tells every change since it was made. Changes in quick succession may be
        told as one. An outage of a store changes nothing: it is logged, not told.
        """

    async def aclose(self) -> None:  # noqa: B027
        """End what it has opened. Iterators of :meth:`changes` are closed before."""
