"""Decoded header blocks, kept: peers repeat them from call to call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from elanus_transport_ttheader.protocol.ttheader import decode_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BlockMemo", "Headers"]

# A block of more bytes is decoded anew each time, and at most so many are kept: some 4 MB at worst.
_BLOCK_BYTES = 1024
_BLOCKS = 2048
#: Integer key 12 (the remaining milliseconds) and the upper half of its value's length.
_TIMEOUT_SIGN = b"\0\x0c\0"


class Headers(Protocol):
    """What a block means to one side."""

    @property
    def checksum(self) -> str: ...


H = TypeVar("H", bound=Headers)


class BlockMemo(Generic[H]):
    """Decodes header blocks and keeps what it decoded, bounded.

    The remaining time (integer key 12) differs from call to call. Where it is the last pair, as elanus clients write
    it, what comes before is kept apart, so that a new value costs no decoding.

    :param read: makes the side's view of the pairs.
    :param with_timeout: makes a copy of that view with another value of key 12.
    """

    __slots__ = ("_known", "_prefixes", "_read", "_with_timeout", "get")

    def __init__(
        self, read: Callable[[Mapping[str, str], Mapping[int, str]], H], with_timeout: Callable[[H, str], H]
    ) -> None:
        self._read = read
        self._with_timeout = with_timeout
        self._known: dict[bytes, H] = {}
        self._prefixes: dict[bytes, H] = {}
        #: What is kept for a block, or ``None``. Bound here, since it runs once per message.
        self.get = self._known.get

    def decode(self, block: bytes) -> H:
        """What :meth:`get` does not have. :raises RemoteProtocolError: the block makes no sense."""
        if len(block) > _BLOCK_BYTES:
            return self._decode(block)
        headers = self._from_prefix(block)
        if headers is None:
            headers = self._decode(block)
        if not headers.checksum:  # which differs from payload to payload
            if len(self._known) >= _BLOCKS:
                self._known.clear()
            self._known[block] = headers
        return headers

    def read(self, strings: Mapping[str, str]) -> H:
        """The headers that *strings* are, where no block says them."""
        return self._read(strings, {})

    def _decode(self, block: bytes) -> H:
        pairs = decode_block(block)
        headers = self._read(pairs.strings, pairs.ints)
        if pairs.tail and len(block) <= _BLOCK_BYTES and not headers.checksum:
            if len(self._prefixes) >= _BLOCKS:
                self._prefixes.clear()
            self._prefixes[block[: pairs.tail]] = headers
        return headers

    def _from_prefix(self, block: bytes) -> H | None:
        tail = block.rfind(_TIMEOUT_SIGN)
        headers = self._prefixes.get(block[:tail]) if tail > 0 else None
        if headers is None or tail + 4 > len(block):
            return None
        digits = tail + 4
        end = digits + block[tail + 3]
        text = block[digits:end]
        # The same bytes lead up to here, so the same decoding follows, if what follows is a number and padding.
        if len(text) == block[tail + 3] and text.isdigit() and not block[end:].strip(b"\0"):
            return self._with_timeout(headers, text.decode())
        return None
