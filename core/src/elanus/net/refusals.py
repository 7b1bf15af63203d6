"""What a server has turned away: counted one by one, and told about once a second, so that a flood stays cheap."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from elanus.events import CALL_OVERLOAD, CONNECTION_OVERLOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus.call import Call
    from elanus.contracts.limiter import Refusal
    from elanus.events import EventBus
    from elanus.service import MethodInfo

__all__ = ["Overload", "Refusals"]

_log = logging.getLogger("elanus.server")

#: Seconds between two words on one limit.
_INTERVAL = 1.0
#: Names of limits that are kept apart. A policy that makes up more of them shall not grow a server.
_NAMES = 256
_FURTHER = "(further limits)"


@dataclass(frozen=True, slots=True)
class Overload:
    """What an event :data:`~elanus.events.CALL_OVERLOAD` or :data:`~elanus.events.CONNECTION_OVERLOAD` tells.

    :param limit: the name of the limit.
    :param value: its value, where it has one.
    :param refused: how many were refused since the last event of this limit.
    :param seconds: the time in which that happened; 0 for the first one.
    :param last: method and peer of the last one, or the peer alone.
    """

    limit: str
    value: float | None
    refused: int
    seconds: float
    last: str


class _Count:
    """One limit: what it refused in all, and what nobody was told yet."""

    __slots__ = ("limit", "peer", "since", "told", "total", "value", "what")

    def __init__(self, limit: str) -> None:
        self.limit = limit
        self.total = self.told = 0
        self.since: float | None = None
        self.value: float | None = None
        self.what: MethodInfo | None = None
        self.peer = ""


class Refusals:
    """Counts refusals by limit. The first of a limit is told at once, further ones together, a second later.

    Once it is told of a refusal there is a timer, until :meth:`close` or a quiet second.
    """

    def __init__(self, events: EventBus) -> None:
        self._events = events
        #: Called with each refusal, the peer's address, and the call (``None``: a connection).
        self.reporter: Callable[[Refusal, str, Call | None], None] | None = None
        self._counts: dict[tuple[str, str], _Count] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._reporter_failed: float | None = None

    @property
    def totals(self) -> Mapping[str, int]:
        """How many calls and connections each limit has refused."""
        totals: dict[str, int] = {}
        for count in self._counts.values():
            totals[count.limit] = totals.get(count.limit, 0) + count.total
        return totals

    def call(self, refusal: Refusal, call: Call) -> None:
        """A call was refused."""
        self._add(CALL_OVERLOAD, refusal, call.peer, call)

    def connection(self, refusal: Refusal, peer: str) -> None:
        """A connection was refused."""
        self._add(CONNECTION_OVERLOAD, refusal, peer, None)

    def close(self) -> None:
        """Tell what is left, and stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._tell_all()

    def _add(self, event: str, refusal: Refusal, peer: str, call: Call | None) -> None:
        count = self._counts.get((event, refusal.limit)) or self._new(event, refusal.limit)
        count.total += 1
        count.value = refusal.value
        count.peer = peer
        count.what = None if call is None else call.method
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._on_timer)
        if count.since is None:
            self._tell(event, count)
        if self.reporter is not None:
            self._report(self.reporter, refusal, peer, call)

    def _new(self, event: str, limit: str) -> _Count:
        if len(self._counts) >= _NAMES:
            limit = _FURTHER
        return self._counts.setdefault((event, limit), _Count(limit))

    def _on_timer(self) -> None:
        self._timer = None
        if self._tell_all():
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._on_timer)

    def _tell_all(self) -> bool:
        """Tell what nobody was told; whether there was anything."""
        again = False
        for (event, _), count in self._counts.items():
            if count.told < count.total:
                again = True
                self._tell(event, count)
            else:
                count.since = None  # a quiet second: the next one is told at once
        return again

    def _tell(self, event: str, count: _Count) -> None:
        now = monotonic()
        seconds = 0.0 if count.since is None else now - count.since
        last = count.peer if count.what is None else f"{count.what} from {count.peer}"
        overload = Overload(count.limit, count.value, count.total - count.told, seconds, last)
        count.told, count.since, count.what = count.total, now, None
        things = ("call" if event == CALL_OVERLOAD else "connection") + ("s" if overload.refused != 1 else "")
        value = "" if overload.value is None else f" = {overload.value:g}"
        detail = f"{overload.limit}{value} is reached: refused {overload.refused} {things}, the last was {last}"
        _log.warning("%s", detail)
        self._events.emit(event, detail, overload)

    def _report(
        self, reporter: Callable[[Refusal, str, Call | None], None], refusal: Refusal, peer: str, call: Call | None
    ) -> None:
        try:
            reporter(refusal, peer, call)
        except Exception:
            now = monotonic()
            if self._reporter_failed is None or now - self._reporter_failed >= _INTERVAL:
                self._reporter_failed = now
                _log.exception("the limit_reporter failed")
