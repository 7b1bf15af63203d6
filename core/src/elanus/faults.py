"""Bugs of policies: told by the policy's name and at a bearable pace, so that nobody else is blamed for them."""

from __future__ import annotations

import logging
from time import monotonic

__all__ = ["Faults"]

#: Seconds between two words on one policy.
_INTERVAL = 1.0


class Faults:
    """Logs what goes wrong inside policies of one kind, once a second, and counts the rest.

    :param kind: what users call such a policy: ``"limiter"``.
    :param log: the name of the logger.
    """

    __slots__ = ("_kind", "_last", "_log", "_untold")

    def __init__(self, kind: str, log: str) -> None:
        self._kind = kind
        self._log = logging.getLogger(log)
        self._last: float | None = None
        self._untold = 0

    def note(self, policy: object, doing: str, of: object, error: Exception, outcome: str) -> None:
        """*policy* failed in its method *doing*, for the call or connection *of*; *outcome*: what happens instead."""
        now = monotonic()
        if self._last is not None and now - self._last < _INTERVAL:
            self._untold += 1
            return
        more = f"; {self._untold} times more since the last such line" if self._untold else ""
        self._last, self._untold = now, 0
        name, made_by = getattr(policy, "name", "?"), type(policy)
        self._log.error(
            "%s %r (%s.%s) failed in %s() for %s: %s%s. Tell its author",
            self._kind,
            name,
            made_by.__module__,
            made_by.__qualname__,
            doing,
            of,
            outcome,
            more,
            exc_info=error,
        )
