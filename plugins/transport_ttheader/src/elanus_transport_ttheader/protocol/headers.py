"""What the pairs of a TTHeader mean to a server (:class:`RequestHeaders`) and to a client (:class:`ReplyHeaders`).

Both are shared between messages with equal headers, so nothing in them may be changed. Source of the keys: Kitex
v0.16.3 ``pkg/transmeta``, ``bytedance/gopkg cloud/metainfo``, confirmed on the wire.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from elanus.metadata import EMPTY_METADATA, Metadata
from elanus_transport_ttheader.protocol.biz_status import read_biz_status
from elanus_transport_ttheader.protocol.ttheader import IntKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.errors import BizStatusError

__all__ = [
    "CHECKSUM_KEY",
    "NO_REPLY_HEADERS",
    "NO_REQUEST_HEADERS",
    "PERSISTENT_PREFIX",
    "RESET_KEY",
    "RETRY_KEY",
    "SERVICE_KEY",
    "TRANSIENT_PREFIX",
    "ReplyHeaders",
    "RequestHeaders",
]

#: IDL service name.
SERVICE_KEY = "isn"
#: Its presence in a reply, with whatever value, means: no more calls on this connection.
RESET_KEY = "crrst"
CHECKSUM_KEY = "crc32c"
#: Written by proxies: the address to report for the other side.
_REMOTE_ADDRESS_KEY = "rip"
TRANSIENT_PREFIX = "RPC_TRANSIT_"
PERSISTENT_PREFIX = "RPC_PERSIST_"
#: A transient value that already made its hop. Kitex reads it and does not write it.
_UPSTREAM_PREFIX = "RPC_TRANSIT_UPSTREAM_"
#: On the n-th retry: n.
RETRY_KEY = "RPC_PERSIST_RetryReq"


class RequestHeaders:
    """A request's headers, as its server reads them."""

    __slots__ = (
        "callee",
        "caller",
        "caller_method",
        "checksum",
        "limit",
        "log_id",
        "metadata",
        "peer",
        "retry",
        "service",
        "timeout_ms",
        "values",
    )

    def __init__(self, strings: Mapping[str, str], ints: Mapping[int, str]) -> None:
        #: The IDL service name, ``None`` when the client does not say.
        self.service = strings.get(SERVICE_KEY) or None
        self.caller = ints.get(IntKey.FROM_SERVICE, "")
        self.caller_method = ints.get(IntKey.FROM_METHOD, "")
        self.callee = ints.get(IntKey.TO_SERVICE, "")
        self.log_id = ints.get(IntKey.LOG_ID, "")
        #: Milliseconds that the caller has left; 0 when it does not say.
        self.timeout_ms = _count(ints.get(IntKey.RPC_TIMEOUT, ""))
        #: The same in seconds, as a call names the limit of its deadline.
        self.limit = ("deadline", self.timeout_ms / 1000)
        self.peer = strings.get(_REMOTE_ADDRESS_KEY, "")
        self.checksum = strings.get(CHECKSUM_KEY, "")
        self.metadata = _metadata(strings)
        #: The number of the retry, 0 for a first attempt.
        self.retry = _count(strings.get(RETRY_KEY, ""))
        #: All of them, text and integer keys.
        self.values: Mapping[str | int, str] = MappingProxyType(_merged(strings, ints))

    def with_timeout(self, text: str) -> RequestHeaders:
        """The same headers with another value of integer key 12."""
        other = RequestHeaders.__new__(RequestHeaders)
        for name in RequestHeaders.__slots__:
            setattr(other, name, getattr(self, name))
        other.timeout_ms = _count(text)
        other.limit = ("deadline", other.timeout_ms / 1000)
        other.values = MappingProxyType({**self.values, IntKey.RPC_TIMEOUT: text})
        return other


class ReplyHeaders:
    """A reply's headers, as its client reads them."""

    __slots__ = ("backward", "checksum", "has_status", "peer", "reset")

    def __init__(self, strings: Mapping[str, str], ints: Mapping[int, str]) -> None:
        #: All string keys: Kitex hands every one of them to the caller as backward metadata, its own included.
        self.backward: Mapping[str, str] = MappingProxyType(dict(strings))
        self.reset = RESET_KEY in strings
        self.checksum = strings.get(CHECKSUM_KEY, "")
        self.peer = strings.get(_REMOTE_ADDRESS_KEY, "")
        self.has_status = read_biz_status(strings) is not None

    def with_timeout(self, text: str) -> ReplyHeaders:
        """Replies carry no timeout; one that does means the same with another."""
        return self

    def biz_status(self) -> BizStatusError | None:
        """A new error with the business status, since each caller gets its own raised."""
        return read_biz_status(self.backward) if self.has_status else None


def _metadata(strings: Mapping[str, str]) -> Metadata:
    transient: dict[str, str] = {}
    upstream: dict[str, str] = {}
    persistent: dict[str, str] = {}
    for key, value in strings.items():
        if not value:
            continue
        if key.startswith(_UPSTREAM_PREFIX):
            upstream[key.removeprefix(_UPSTREAM_PREFIX)] = value
        elif key.startswith(TRANSIENT_PREFIX):
            transient[key.removeprefix(TRANSIENT_PREFIX)] = value
        elif key.startswith(PERSISTENT_PREFIX):
            persistent[key.removeprefix(PERSISTENT_PREFIX)] = value
    transient = {**upstream, **transient}
    for values in (transient, persistent):
        values.pop("", None)
    if not transient and not persistent:
        return EMPTY_METADATA
    return Metadata(MappingProxyType(transient), MappingProxyType(persistent))


def _merged(strings: Mapping[str, str], ints: Mapping[int, str]) -> dict[str | int, str]:
    merged: dict[str | int, str] = {}
    for source in (strings, ints):
        merged |= dict(source.items())
    return merged


def _count(text: str) -> int:
    """A decimal number, of milliseconds or of retries; 0 for anything else, which Kitex ignores too."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0


NO_REQUEST_HEADERS = RequestHeaders({}, {})
NO_REPLY_HEADERS = ReplyHeaders({}, {})
