"""send: the innermost endpoint of a client. Encodes, finds a connection, and waits for the reply."""

from __future__ import annotations

from asyncio import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.call import Event
from elanus.errors import CodecError, RpcCancelledError

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.endpoint import Endpoint
    from elanus.net.pool import Pool
    from elanus.service import MethodInfo

__all__ = ["unary_send"]

# Names of this module are found faster than those of a class, and every call needs them.
_ENCODING, _ENCODED, _WRITTEN = Event.ENCODING, Event.ENCODED, Event.WRITTEN
_REPLIED, _DECODED = Event.REPLIED, Event.DECODED


def unary_send(pool: Pool, codec: Codec, method: MethodInfo, lane: str, connect_timeout: float) -> Endpoint:
    """The innermost endpoint of a unary or oneway method.

    The reply is decoded here, in its caller's task. When the task is cancelled, for whatever reason, the connection
    is told that nobody waits for the reply, so that it can reach no other call.
    """
    groups = pool.lane(lane)
    encode, decode = codec.encode_arguments, codec.decode_result
    oneway = method.kind.value == "oneway"

    async def send(call: Call) -> Any:
        instance = call.instance
        assert instance is not None, "the resolve room picks one"
        note = call.timeline.append
        note((_ENCODING, monotonic()))
        payload = call.argument_payload
        if payload is None:
            payload = call.argument_payload = encode(method, call.arguments)
        group = groups.get(instance.address) or pool.group(instance.address, lane)
        connection = group.take()
        if connection is not None:
            note((_ENCODED, monotonic()))
        else:
            call.mark(Event.WAITING)
            connection = await group.acquire(call.options.connect_timeout or connect_timeout, call.mark)
            call.mark(Event.CONNECTED)
        try:
            if not connection.writable:
                await connection.drained()
            reply = connection.request(call, payload)
            note((_WRITTEN, monotonic()))
            try:
                result = await reply
            except CancelledError:
                connection.abandon(reply, RpcCancelledError("the caller waits no longer", instance=instance.address))
                raise
            finally:
                del reply  # it holds its error, whose traceback holds this frame
        finally:
            group.release(connection)
        note((_REPLIED, monotonic()))
        try:
            value = None if oneway else decode(method, result)
        except CodecError as error:
            error.phase, error.sent = "decode", True
            raise
        note((_DECODED, monotonic()))
        return value

    return send
