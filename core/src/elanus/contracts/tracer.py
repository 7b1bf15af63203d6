"""The contract of a tracer: told what happens to calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["Tracer"]


class Tracer(ABC):
    """Told of the start and the end of every call, on both sides. Must not block.

    What a tracer raises is logged and harms no call. Tracers finish in the reverse of the order in which they started.
    """

    #: The name users select it by.
    name: str

    @abstractmethod
    def start(self, call: Call) -> None:
        """A call begins. On a server its arguments are not decoded yet."""

    def event(self, call: Call, event: str, detail: object = None) -> None:  # noqa: B027
        """Something happened to a call, for instance a message of its stream was sent."""

    @abstractmethod
    def finish(self, call: Call, error: BaseException | None) -> None:
        """The call has ended. A business status is no error; it is on ``call.biz_status``.

        :param error: what ended it, as it was before a :class:`~elanus.Fallback` replaced it, unless that is to be
            reported itself.
        """
