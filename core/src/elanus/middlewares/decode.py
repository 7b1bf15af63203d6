"""decode: the server's way from payload to arguments, and from the reply back to a payload."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from elanus.call import Event
from elanus.errors import BizStatusError, CodecError
from elanus.service import MethodKind

if TYPE_CHECKING:
    from elanus.call import Call
    from elanus.contracts.codec import Codec
    from elanus.endpoint import Endpoint, Middleware
    from elanus.service import MethodInfo

__all__ = ["decode", "decode_stream"]

_ADMITTED, _DECODED, _ENCODED = Event.ADMITTED, Event.DECODED, Event.ENCODED


def decode(codec: Codec, method: MethodInfo) -> Middleware:
    """Decode the arguments, run the rooms inside, and set ``call.reply_payload``.

    A declared exception is a reply. A business status is a reply without a result, and ``call.biz_status``.

    :raises CodecError: of phase ``"decode"``: the request makes no sense; of phase ``"encode"``: the handler's reply
        does not fit the IDL.
    """

    oneway = method.kind is MethodKind.ONEWAY

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            assert call.argument_payload is not None
            note = call.timeline.append  # three marks a call, of which each counts
            note((_ADMITTED, monotonic()))
            try:
                call.arguments = codec.decode_arguments(method, call.argument_payload)
            except CodecError as error:
                error.phase = "decode"
                raise
            note((_DECODED, monotonic()))
            try:
                reply = await next_endpoint(call)
            except BizStatusError as status:
                _refuse(call, status)
                call.reply_payload = b"" if oneway else codec.encode_result(method, None)
                return None
            except Exception as error:
                call.reply_payload = None if oneway else codec.encode_exception(method, error)
                if call.reply_payload is None:
                    raise
                call.error = None
                return None
            if oneway:
                return None  # there is no reply to encode
            try:
                call.reply_payload = codec.encode_result(method, reply)
            except CodecError as error:
                error.phase = "encode"
                raise
            note((_ENCODED, monotonic()))
            return reply

        return endpoint

    return middleware


def decode_stream(next_endpoint: Endpoint) -> Endpoint:
    """The same place for streams: their messages are decoded further in; the outcome alone is put in form."""

    async def endpoint(call: Call) -> Any:
        try:
            return await next_endpoint(call)
        except BizStatusError as status:
            _refuse(call, status)
            return None

    return endpoint


def _refuse(call: Call, status: BizStatusError) -> None:
    """The business said no, which is an outcome and no failure. A traceback on it would refer to the call again."""
    call.biz_status = status.with_traceback(None)
    call.error = None
