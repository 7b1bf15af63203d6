"""Finds the end of a Thrift struct that no length announces, as it arrives."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from elanus.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elanus.limits import Limits

__all__ = ["StructWalker"]

_I32 = Struct(">i")
_STOP, _STRUCT, _MAP, _SET, _LIST, _STRING = 0, 12, 13, 14, 15, 11
#: Bytes of a value whose size its type tells: bool, byte, double, i16, i32, i64.
_WIDTHS = {2: 1, 3: 1, 4: 8, 6: 2, 8: 4, 10: 8}


class StructWalker:
    """Walks one struct in Thrift's binary encoding, and stops wherever the bytes stop.

    Buffered Thrift has no frame length: the reader has to walk the struct to find the end of the message. Each value is
    looked at once, however the bytes are cut, so the time is linear in the bytes. It holds one entry per nesting level.

    :param position: where the struct begins.
    :param limits: depth, container items, string bytes, and the bytes of the whole (``frame_bytes``).
    """

    __slots__ = ("_end", "_limits", "_pending", "_stack", "position")

    def __init__(self, position: int, limits: Limits) -> None:
        #: The first byte that was not walked yet; may lie beyond what has arrived.
        self.position = position
        self._end = position + limits.frame_bytes
        self._limits = limits
        # A struct is None; a container [values left, type of the odd ones, type of the even ones], counted downwards.
        self._stack: list[list[int] | None] = [None]
        self._pending = _STOP  # the type of the value at `position`, once its field header was read

    def advance(self, data: bytes | bytearray) -> int | None:
        """The offset just past the struct, or ``None`` while more is needed.

        :param data: everything since the beginning of the message, what was given before included.
        :raises RemoteProtocolError: a type that Thrift does not have, a negative size, or more than the limits allow.
        """
        size = len(data)
        while self.position <= size:
            if self.position > self._end:
                break
            if self._pending != _STOP:
                if not self._value(data, size):
                    break
            elif not self._stack:
                return self.position
            elif not self._next(data, size):
                break
        if self.position > self._end:
            raise RemoteProtocolError(
                f"a message over the limit of {self._limits.frame_bytes} bytes", hint="See the limit frame_bytes"
            )
        return None

    def fields(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """The fields of the struct itself, all of whose bytes are there: type, id, and where the value begins.

        :raises RemoteProtocolError: as :meth:`advance`, and when the struct is cut short.
        """
        while True:
            start = self.position
            if start >= len(data):
                raise RemoteProtocolError("a struct that is cut short")
            kind = data[start]
            if kind == _STOP:
                return
            self.position, self._pending = start + 3, kind
            depth = len(self._stack)
            while self._pending != _STOP or len(self._stack) > depth:
                moved = self._value(data, len(data)) if self._pending != _STOP else self._next(data, len(data))
                if not moved or self.position > len(data):
                    raise RemoteProtocolError("a struct that is cut short")
            yield kind, data[start + 1] << 8 | data[start + 2], start + 3

    def shift(self, offset: int) -> None:
        """The bytes before *offset* were dropped."""
        self.position -= offset
        self._end -= offset

    def _next(self, data: bytes | bytearray, size: int) -> bool:
        """Find the type of the next value of the innermost struct or container; ``False`` when bytes are missing."""
        top = self._stack[-1]
        if top is None:
            if self.position >= size:
                return False
            self._pending = data[self.position]
            if self._pending == _STOP:
                self.position += 1
                self._stack.pop()
            else:
                self.position += 3  # the type, and an id that does not matter here
        elif top[0] == 0:
            self._stack.pop()
        else:
            self._pending = top[1 + top[0] % 2]
            top[0] -= 1
        return True

    def _value(self, data: bytes | bytearray, size: int) -> bool:
        """Pass over one value, or enter it; ``False`` when bytes are missing."""
        kind = self._pending
        width = _WIDTHS.get(kind)
        if width is not None:
            self.position += width
        elif kind == _STRING:
            if self.position + 4 > size:
                return False
            self.position += 4 + self._count(data, self.position, self._limits.string_bytes, "a string", "string_bytes")
        elif kind == _STRUCT:
            self._enter(None)
        elif kind in (_LIST, _SET):
            return self._list(data, size)
        elif kind == _MAP:
            return self._map(data, size)
        else:
            raise RemoteProtocolError(f"a Thrift value of unknown type {kind}")
        self._pending = _STOP
        return True

    def _list(self, data: bytes | bytearray, size: int) -> bool:
        if self.position + 5 > size:
            return False
        kind = data[self.position]
        count = self._items(data, self.position + 1)
        self.position += 5
        self._repeat(count, kind, kind)
        return True

    def _map(self, data: bytes | bytearray, size: int) -> bool:
        if self.position + 6 > size:
            return False
        keys, values = data[self.position], data[self.position + 1]
        count = self._items(data, self.position + 2)
        self.position += 6
        self._repeat(2 * count, values, keys)
        return True

    def _repeat(self, count: int, odd: int, even: int) -> None:
        """*count* values follow; counted downwards, so of a map the even ones are keys."""
        self._pending = _STOP
        if count == 0:
            return
        one, other = _WIDTHS.get(odd), _WIDTHS.get(even)
        if one is not None and other is not None:
            self.position += (one + other) * count // 2
            return
        if odd == _STOP or even == _STOP:
            raise RemoteProtocolError("a Thrift container whose elements have no type")
        self._enter([count, even, odd])

    def _enter(self, frame: list[int] | None) -> None:
        if len(self._stack) >= self._limits.depth:
            raise RemoteProtocolError(
                f"structs and containers nested deeper than {self._limits.depth}", hint="See the limit depth"
            )
        self._stack.append(frame)

    def _items(self, data: bytes | bytearray, at: int) -> int:
        return self._count(data, at, self._limits.container_items, "a container", "container_items")

    @staticmethod
    def _count(data: bytes | bytearray, at: int, most: int, what: str, limit: str) -> int:
        count: int = _I32.unpack_from(data, at)[0]
        if count < 0:
            raise RemoteProtocolError(f"{what} of negative size {count}")
        if count > most:
            raise RemoteProtocolError(
                f"{what} of size {count}, over the limit of {most}", hint=f"See the limit {limit}"
            )
        return count
