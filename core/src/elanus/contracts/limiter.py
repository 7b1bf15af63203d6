"""The contract of a limiter: how much a server takes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["Limiter", "Refusal"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A limiter's no. It may be made once and given many times.

    :param limit: the name of the limit that was reached, such as ``"qps"`` or ``"per_method[echo].qps"``. Refusals are
        counted by it, so that it names a rule and not a caller: there must not be a name for each.
    :param value: the value of that limit; ``None`` where it has none.
    :param text: what the peer gets to read, behind Kitex's ``request over limit: ``.
    :param cut: close the connection instead of answering, as Kitex's default limiter does. Every call in flight on that
        connection ends with it.
    """

    limit: str
    value: float | None
    text: str
    cut: bool = False


class Limiter(ABC):
    """Admits or refuses connections and calls; never queues. Pure: told the time, asks no clock.

    One object serves one server, and is used in its event loop only. Policy only: the hard
    :class:`~elanus.limits.Limits` of core stand by themselves, and are asked first.

    What a method raises, or an answer that is neither ``None`` nor a :class:`Refusal`, is logged with the limiter's
    name; the call or connection passes, and no ``release`` or ``left`` follows for it.
    """

    #: The name users select it by.
    name: str

    def admit(self, peer: str, now: float) -> Refusal | None:
        """Whether a new connection may stay. After ``None`` exactly one :meth:`left` follows; after a refusal none,
        and the connection is closed without a word.

        :param peer: its address, ``"10.0.0.1:40123"``, ``"[::1]:40123"`` or ``"unix"``.
        :param now: seconds on the monotonic clock.
        """
        return None

    def left(self, peer: str, now: float) -> None:  # noqa: B027
        """A connection that was admitted is gone."""

    @abstractmethod
    def acquire(self, call: Call, now: float) -> Refusal | None:
        """Whether a call may run. After ``None`` exactly one :meth:`release` follows, cancelled calls included; after a
        refusal none.

        :param call: before its decoding: ``call.arguments`` is empty, while method, caller, peer, metadata
            (``.transient`` and ``.persistent``, mappings of texts), headers and deadline are known. Its
            first event, ``call.timeline[0][1]``, is the instant at which it was read.
        :param now: seconds on the monotonic clock.
        """

    @abstractmethod
    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        """A call that was acquired has ended.

        *call* is the same object, while middlewares behind may have changed what it says: metadata, headers, caller,
        deadline and so on. Keep what you need of :meth:`acquire` for this, in a dict by call for instance.

        :param error: ``None`` is success, declared exceptions and business statuses included.
        :param elapsed: seconds since it was acquired.
        """
