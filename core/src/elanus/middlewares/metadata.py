"""metadata: seats for a third party's readers and writers of metadata and headers, next to the wire on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.call import Call
    from elanus.contracts.metadata import MetadataHandler
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["client_metadata", "server_metadata"]


def client_metadata(handlers: Sequence[MetadataHandler]) -> Middleware:
    """Let *handlers* write before the request is sent, and read when the reply is there."""

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            for handler in handlers:
                handler.write(call)
            reply = await next_endpoint(call)
            for handler in handlers:
                handler.read(call)
            return reply

        return endpoint

    return middleware


def server_metadata(handlers: Sequence[MetadataHandler]) -> Middleware:
    """Let *handlers* read when the request is there, and write before the reply is sent, errors included."""

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            for handler in handlers:
                handler.read(call)
            try:
                return await next_endpoint(call)
            finally:
                for handler in handlers:
                    handler.write(call)

        return endpoint

    return middleware
