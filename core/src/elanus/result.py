"""What a call gave, beside its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call
    from elanus.service import Instance
    from elanus.timeline import Timeline

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
    #: What happened when: events, phases, attempts, and what policies decided.
    timeline: Timeline
    transport: str
    attempt: int
    #: Whole frames, envelope and headers included.
    sent_bytes: int
    received_bytes: int

    @classmethod
    def of(cls, call: Call, reply: Any) -> Result:
        """The result of a call that has ended."""
        return cls(
            reply=reply,
            metadata=call.reply_metadata,
            instance=call.instance,
            peer=call.peer,
            timeline=call.history(),
            transport=call.transport,
            attempt=call.attempt,
            sent_bytes=call.sent_bytes,
            received_bytes=call.received_bytes,
        )
