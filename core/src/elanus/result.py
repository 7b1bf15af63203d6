"""What a call gave, beside its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.call import Call
    from elanus.service import Instance

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """The reply of a call with everything around it. What :meth:`elanus.Client.invoke` returns."""

    reply: Any
    #: Backward metadata: what the server sent with the reply.
    metadata: Mapping[str, str]
    #: Who answered, and from which address.
    instance: Instance | None
    peer: str
    #: What happened when: names of :class:`elanus.call.Event` and seconds since the start of the call.
    timeline: Sequence[tuple[str, float]]
    transport: str
    attempt: int
    #: Whole frames, envelope and headers included.
    sent_bytes: int
    received_bytes: int

    @classmethod
    def of(cls, call: Call, reply: Any) -> Result:
        """The result of a call that has ended."""
        started = call.timeline[0][1]
        return cls(
            reply=reply,
            metadata=call.reply_metadata,
            instance=call.instance,
            peer=call.peer,
            timeline=[(event, at - started) for event, at in call.timeline],
            transport=call.transport,
            attempt=call.attempt,
            sent_bytes=call.sent_bytes,
            received_bytes=call.received_bytes,
        )
