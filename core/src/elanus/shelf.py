"""The parts of one client or server, each built anew only when it is chosen anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from elanus.errors import ConfigError, PluginError
from elanus.option_values import placed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Chosen", "Shelf"]


class Chosen(NamedTuple):
    """What the options choose for one place."""

    kind: str
    #: ``None`` and ``False``: nothing.
    choice: Any
    #: Where a configuration has it; ``None``: it comes from elsewhere.
    source: str | None = None


class Shelf:
    """Parts by their places, such as ``"service_breaker"``. It never changes: :meth:`restocked` makes the next one.

    :param select: builds what is chosen: kind and choice.
    """

    def __init__(self, select: Callable[[str, Any], Any]) -> None:
        self._select = select
        self._parts: dict[str, tuple[Any, Any]] = {}

    def restocked(self, wanted: Mapping[str, Chosen]) -> Shelf:
        """A shelf with exactly what is *wanted*. A part whose choice is what it was is the same object, with all that
        it has learned; the others are new.

        :raises ConfigError: a part cannot be built; this shelf stays as it is.
        """
        shelf = Shelf(self._select)
        for place, chosen in wanted.items():
            known = self._parts.get(place)
            if known is not None and (known[0] is chosen.choice or known[0] == chosen.choice):
                shelf._parts[place] = known
            else:
                shelf._parts[place] = (chosen.choice, self._built(chosen))
        return shelf

    def _built(self, chosen: Chosen) -> Any:
        if chosen.choice is None or chosen.choice is False:
            return None
        try:
            return self._select(chosen.kind, chosen.choice)
        except (ConfigError, PluginError) as error:
            if chosen.source is None:
                raise
            raise placed(error, chosen.source) from error

    def __getitem__(self, place: str) -> Any:
        """The part of a place; ``None`` where nothing is chosen."""
        known = self._parts.get(place)
        return None if known is None else known[1]

    def __contains__(self, place: str) -> bool:
        """Whether the options say anything of this place, be it that nothing is to be there."""
        return place in self._parts

    def those(self, prefix: str) -> list[Any]:
        """The parts of all places that begin so, in order."""
        return [part for place, (_, part) in self._parts.items() if place.startswith(prefix) and part is not None]
