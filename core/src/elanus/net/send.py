"""send: the innermost endpoint of a client. Encodes, finds a connection, and waits for the reply."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from elanus.call import Event
from elanus.errors import RpcCancelledError

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.endpoint import Endpoint
    from elanus.net.pool import Pool
    from elanus.service import MethodInfo

__all__ = ["unary_send"]


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
        payload = call.argument_payload
        if payload is None:
            payload = call.argument_payload = encode(method, call.arguments)
        group = groups.get(instance.address) or pool.group(instance.address, lane)
        connection = group.take()
        if connection is None:
            connection = await group.acquire(call.options.connect_timeout or connect_timeout)
            call.mark(Event.CONNECTED)
        try:
            if not connection.writable:
                await connection.drained()
            reply = connection.request(call, payload)
            try:
                result = await reply
            except CancelledError:
                connection.abandon(reply, RpcCancelledError("the caller waits no longer", instance=instance.address))
                raise
            finally:
                del reply  # it holds its error, whose traceback holds this frame
        finally:
            group.release(connection)
        call.mark(Event.REPLIED)
        return None if oneway else decode(method, result)

    return send
