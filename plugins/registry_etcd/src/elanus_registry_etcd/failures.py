"""What can go wrong between here and etcd, in etcd's terms: what it means for the connection, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from grpc.aio import AioRpcError

__all__ = ["EtcdError", "as_etcd_error", "code_of", "connection_gone"]

#: The member answered, and another one would not answer otherwise. Everything else makes us turn to the next one.
_ANSWERS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
#: etcd's own texts; the codes are shared with other failures. Source: etcd ``api/v3rpc/rpctypes/error.go``.
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")
_NO_AUTH = "authentication is not enabled"


class EtcdError(Exception):
    """etcd could not be asked, or refused. Stays inside this plugin; what leaves it is an error of elanus.

    :param endpoint: the member that was asked.
    :param text: what happened.
    """

    def __init__(self, endpoint: str, text: str, code: grpc.StatusCode, *, hint: str = "") -> None:
        super().__init__(endpoint, text, code)
        self.endpoint = endpoint
        self.text = text
        self.code = code
        self.hint = hint or _hint(code, text)

    def __str__(self) -> str:
        return f"etcd at {self.endpoint}: {self.text}"

    @property
    def unreachable(self) -> bool:
        """Whether another member, or another connection, may do better."""
        return self.code not in _ANSWERS

    @property
    def token_refused(self) -> bool:
        """Whether the token is no good any more; a new one may be."""
        return self.code is grpc.StatusCode.UNAUTHENTICATED or any(text in self.text for text in _STALE_TOKEN)

    @property
    def without_auth(self) -> bool:
        """Whether this etcd knows no users at all."""
        return _NO_AUTH in self.text


def as_etcd_error(endpoint: str, error: AioRpcError) -> EtcdError:
    """The error of a call that gRPC ended."""
    code = error.code()
    text = (error.details() or "no details").removeprefix("etcdserver: ")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = "no answer in time"
    return EtcdError(endpoint, text, code)


def code_of(text: str) -> grpc.StatusCode:
    """The code for a reason that etcd gave as text only, as it does for a cancelled watch."""
    if "leader" in text or "timed out" in text:
        return grpc.StatusCode.UNAVAILABLE
    if "permission denied" in text:
        return grpc.StatusCode.PERMISSION_DENIED
    return grpc.StatusCode.OUT_OF_RANGE


def connection_gone(endpoint: str) -> EtcdError:
    """The error of a call whose connection was given up because another call found it dead."""
    return EtcdError(endpoint, "the connection was given up", grpc.StatusCode.UNAVAILABLE)


def _hint(code: grpc.StatusCode, text: str) -> str:
    if "authentication failed" in text:
        return "Check the options 'user' and 'password'"
    if "user name is empty" in text:
        return "This etcd wants to know who asks: set the options 'user' and 'password'"
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return "Grant the user's role its rights on the prefix: read to look up, readwrite to register"
    lowered = text.lower()
    if "ssl" in lowered or "tls" in lowered or "certificate" in lowered:
        return "Check the options 'tls', 'ca_file', 'cert_file', 'key_file' and 'server_name'"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return "Check that etcd runs there, that it has a leader, and whether it wants TLS"
    return "Look into etcd's log"
