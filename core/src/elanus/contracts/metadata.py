"""The contract of a metadata handler: reads and writes what travels beside a call (Kitex's MetaHandler)."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["MetadataHandler"]


class MetadataHandler(ABC):  # noqa: B024 - either method may be left out
    """Moves values between a call and its wire headers. Given with ``metadata_handlers=[...]`` on either side.

    Both methods may replace ``call.metadata`` and ``call.headers`` (request), and use ``call.reply_metadata`` (reply).
    They run once per attempt, must not block, and what they raise fails the call.
    """

    def write(self, call: Call) -> None:  # noqa: B027
        """About to send: on a client the request, on a server the reply."""

    def read(self, call: Call) -> None:  # noqa: B027
        """Something arrived: on a server the request, on a client the reply."""
