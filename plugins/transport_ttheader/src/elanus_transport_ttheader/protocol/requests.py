"""A client's side of the TTHeader: from a call to the head of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.errors import LocalProtocolError
from elanus.metadata import EMPTY_METADATA
from elanus.service import MethodKind
from elanus_transport_ttheader.protocol.framing import MessageType, framing_of
from elanus_transport_ttheader.protocol.headers import (
    PERSISTENT_PREFIX,
    RETRY_KEY,
    SERVICE_KEY,
    TRANSIENT_PREFIX,
)
from elanus_transport_ttheader.protocol.heads import checked_head, envelope, head
from elanus_transport_ttheader.protocol.ttheader import IntKey, encode_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call
    from elanus.service import MethodInfo, ServiceInfo
    from elanus_transport_ttheader.protocol.framing import Framing
    from elanus_transport_ttheader.protocol.heads import Render

__all__ = ["RequestHeads", "Template"]

#: Heads and templates that are kept in all, some 10 MB at worst; then they are made anew.
_KEPT = 8192
#: Milliseconds above which the remaining time is no longer worth telling: 24 days, a 32-bit number.
_MOST_MS = 2**31 - 1


class Template:
    """What the requests of one caller to one method have in common."""

    __slots__ = (
        "_kept",
        "_last",
        "_last_heads",
        "envelope",
        "flags",
        "framing",
        "ints",
        "oneway",
        "plain",
        "strings",
        "transport",
    )

    def __init__(self, framing: Framing, flags: int, call: Call) -> None:
        self.framing = framing
        self.flags = flags
        self.oneway = call.method.kind is MethodKind.ONEWAY
        kind = MessageType.ONEWAY if self.oneway else MessageType.CALL
        self.envelope = envelope(framing, kind, call.method.name)
        self.strings = {SERVICE_KEY: call.service.name}
        ints = {
            IntKey.TO_SERVICE: call.callee,
            IntKey.TO_METHOD: call.method.name,
            IntKey.MESSAGE_TYPE: str(kind),
            IntKey.TRANSPORT_TYPE: "framed" if framing.framed else "unframed",
            IntKey.FROM_SERVICE: call.caller,
            IntKey.FROM_METHOD: call.caller_method,
        }
        self.ints = {key: value for key, value in ints.items() if value}
        self._kept: dict[object, dict[int, Render]] = {}
        self._last = EMPTY_METADATA
        self._last_heads: dict[int, Render] = {}

    def heads(self, call: Call) -> dict[int, Render]:
        """Heads of calls that carry the same metadata and nothing else, by remaining milliseconds (0: no deadline)."""
        metadata = call.metadata
        if metadata is self._last:  # immutable, and mostly an option that many calls share
            return self._last_heads
        key = (tuple(metadata.transient.items()), tuple(metadata.persistent.items()))
        heads = self._kept.get(key)
        if heads is None:
            heads = self._kept[key] = {}
        self._last, self._last_heads = metadata, heads
        return heads

    def pairs(self, call: Call, left_ms: int) -> tuple[dict[str, str], dict[int, str]]:
        """All pairs of a request's header. Headers that the call brings win. The remaining time comes last, so that
        readers can keep everything before it decoded.
        """
        strings = dict(self.strings)
        for prefix, values in (
            (TRANSIENT_PREFIX, call.metadata.transient),
            (PERSISTENT_PREFIX, call.metadata.persistent),
        ):
            for key, value in values.items():
                if key and value:
                    strings[prefix + key] = value
        ints = dict(self.ints)
        if call.attempt:
            strings[RETRY_KEY] = str(call.attempt)
        if call.log_id:
            ints[IntKey.LOG_ID] = call.log_id
        if call.options.connect_timeout is not None:
            ints[IntKey.CONNECT_TIMEOUT] = str(max(1, round(call.options.connect_timeout * 1000)))
        for name, text in call.headers.items():
            if isinstance(name, int):
                ints[name] = text
            else:
                strings[name] = text
        if left_ms and IntKey.RPC_TIMEOUT not in ints:
            ints[IntKey.RPC_TIMEOUT] = str(min(left_ms, _MOST_MS))
        return strings, ints

    def head(self, call: Call, left_ms: int) -> Render:
        """A new head. :raises LocalProtocolError: the header is too long, or a key cannot be sent."""
        if not self.framing.header:
            return head(self.framing, 0, b"", self.envelope)
        strings, ints = self.pairs(call, left_ms)
        _check(ints)
        return head(self.framing, self.flags, encode_block(strings, ints), self.envelope)


class RequestHeads:
    """Makes the heads of requests, and keeps those that will be wanted again.

    :param header: send a TTHeader.
    :param framed: send a frame length before the envelope.
    :param flags: the TTHeader's flags.
    :param checked: send a checksum in every header.
    """

    __slots__ = ("_checked", "_count", "_flags", "_framed", "_header", "_templates", "words")

    def __init__(self, *, header: bool, framed: bool, flags: int, checked: bool) -> None:
        self._header = header
        self._framed = framed
        self._flags = flags
        self._checked = checked and header
        self._templates: dict[object, Template] = {}
        self._count = 0
        #: What it sends, in words.
        self.words = "TTHeader" if header else "framed" if framed else "buffered"

    def template(self, call: Call) -> Template:
        """What *call* has in common with others. :raises LocalProtocolError: the codec's bytes cannot be carried."""
        key = (call.method, call.service, call.caller, call.callee, call.caller_method)
        template = self._templates.get(key)
        if template is None:
            framing = self._framing(call.service, call.method)
            self._keep_one_more()
            template = self._templates[key] = Template(framing, self._flags, call)
        return template

    def render(self, template: Template, call: Call, seq_id: int, left_ms: int, payload: bytes | memoryview) -> bytes:
        """The bytes before *payload*.

        :param left_ms: milliseconds until the call's deadline, at least 1; 0 when it has none.
        :raises LocalProtocolError: the header is too long.
        """
        if call.headers or call.log_id or call.attempt or self._checked or call.options.connect_timeout is not None:
            return self._render_once(template, call, seq_id, left_ms, payload)
        heads = template.heads(call)
        render = heads.get(left_ms)
        if render is None:
            self._keep_one_more()
            render = heads[left_ms] = template.head(call, left_ms)
        return render(seq_id, len(payload))

    def _render_once(
        self, template: Template, call: Call, seq_id: int, left_ms: int, payload: bytes | memoryview
    ) -> bytes:
        if not self._checked:
            return template.head(call, left_ms)(seq_id, len(payload))
        strings, ints = template.pairs(call, left_ms)
        _check(ints)
        return checked_head(template.framing, self._flags, strings, ints, template.envelope, seq_id, payload)

    def _keep_one_more(self) -> None:
        self._count += 1
        if self._count > _KEPT:
            self._templates.clear()
            self._count = 0

    def _framing(self, service: ServiceInfo, method: MethodInfo) -> Framing:
        wire = service.codec.wire
        framing = framing_of(header=self._header, framed=self._framed, wire=wire)
        if framing is None:
            known = framing_of(header=self._header, framed=True, wire=wire)
            carrier = "an unframed" if known else "this"
            raise LocalProtocolError(
                f"{method} has payloads of kind {wire!r}, which {carrier} transport cannot carry",
                hint="Use it with framed=True" if known else "Select a transport that speaks it",
            )
        if method.kind.streams:
            raise LocalProtocolError(
                f"{method} is a stream, which buffered, framed and TTHeader connections do not carry",
                hint="Select a transport that streams",
            )
        return framing


def _check(ints: Mapping[int, str]) -> None:
    for key in ints:
        if not 0 <= key <= 0xFFFF:
            raise LocalProtocolError(f"the integer header key {key}, out of 0..65535")
