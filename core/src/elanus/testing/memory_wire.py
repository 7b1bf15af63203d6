"""What the in-memory transport carries instead of frames: copies of what a frame would hold, and nothing more."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elanus.errors import ApplicationError, BizStatusError, ElanusError, LocalProtocolError
from elanus.metadata import EMPTY_METADATA, Metadata
from elanus.service import MethodKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus.call import Call
    from elanus.contracts.codec import Payload
    from elanus.limits import Limits

__all__ = ["NAME", "Answer", "Request", "carried", "checked", "post"]

#: The transport's name, and its word for what is on the wire.
NAME = "memory"


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a call, and its payload unless it is a stream."""

    seq_id: int
    service: str
    method: str
    wire: str
    payload: bytes | None
    oneway: bool
    retried: bool
    caller: str
    caller_method: str
    callee: str
    log_id: str
    metadata: Metadata
    headers: Mapping[str | int, str]
    #: Seconds that the caller has left, ``None`` without a deadline.
    remaining: float | None

    @classmethod
    def of(cls, call: Call, seq_id: int, payload: bytes | None) -> Request:
        metadata = EMPTY_METADATA
        if call.metadata:
            metadata = Metadata(carried(call.metadata.transient), carried(call.metadata.persistent))
        return cls(
            seq_id=seq_id,
            service=call.service.name,
            method=call.method.name,
            wire=call.service.codec.wire,
            payload=payload,
            oneway=call.method.kind is MethodKind.ONEWAY,
            retried=call.attempt > 0,
            caller=call.caller,
            caller_method=call.caller_method,
            callee=call.callee,
            log_id=call.log_id,
            metadata=metadata,
            headers=dict(call.headers),
            remaining=call.remaining(),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended on its server."""

    payload: bytes | None
    #: Code and text of an error.
    error: tuple[int, str] | None
    #: Code, text and extra of a business status.
    status: tuple[int, str, dict[str, str]] | None
    metadata: Mapping[str, str]
    trailers: Mapping[str, str]

    @classmethod
    def of(cls, call: Call, payload: bytes | None, error: ElanusError | None) -> Answer:
        wrong: tuple[int, str] | None = None
        if isinstance(error, ApplicationError):
            wrong = error.code, error.message
        elif error is not None:
            wrong = ApplicationError.INTERNAL_ERROR, error.cause_text()
        status = call.biz_status
        return cls(
            payload=payload if error is None else None,
            error=wrong,
            status=None if status is None else (status.code, status.message, dict(status.extra)),
            metadata=carried(call.reply_metadata),
            trailers=carried(call.reply_trailers),
        )

    def give(self, call: Call) -> ElanusError | None:
        """Note on the client's *call* what the answer says; its error, if it is one."""
        if self.metadata:
            call.reply_metadata = self.metadata
        call.reply_trailers = self.trailers
        if self.status is not None:
            call.biz_status = BizStatusError(*self.status)
        call.received_bytes += len(self.payload or b"")
        return None if self.error is None else ApplicationError(*self.error)


def carried(values: Mapping[str, str]) -> dict[str, str]:
    """What of *values* a wire carries: as Kitex, none without a key or without a value."""
    return {key: value for key, value in values.items() if key and value}


def post(function: Callable[..., object], *arguments: object) -> None:
    """Let *function* run in a later turn of the loop, with none of the context of this side."""
    asyncio.get_running_loop().call_soon(function, *arguments, context=Context())


def checked(payload: Payload, limits: Limits) -> bytes:
    if len(payload) > limits.frame_bytes:
        raise LocalProtocolError(
            f"a message of {len(payload)} bytes is over the limit of {limits.frame_bytes}",
            hint="Raise limits.frame_bytes on both sides, or send less",
        )
    return bytes(payload)
