"""Framing and field encoding of the PostgreSQL protocol, version 3. No I/O.

Source: https://www.postgresql.org/docs/18/protocol-message-formats.html. A message is a type byte, a 4-byte length that
counts itself but not the type byte, and a body. Decoders are strict: a body has to end where its last field ends.
Nothing is allocated because a length claims it: memory grows with received bytes only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from taskgate.errors import ClientFault, TargetFault
from taskgate.speed import message_runs

Run = tuple[int, int, int, int]
"""Neighbouring whole messages of one type: (type byte, start, stop, how many)."""

Fault = type[ClientFault] | type[TargetFault]

INT16 = struct.Struct(">h")
INT32 = struct.Struct(">i")
UINT32 = struct.Struct(">I")


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One whole message."""
    return kind + UINT32.pack(len(body) + 4) + body


class MessageBuffer:
    """One direction of a connection, cut into whole messages.

    `take` returns the whole messages that have become complete and keeps the rest. The rest is never scanned twice
    and never joined before its message is whole, so a message that arrives in many pieces costs linear time.
    """

    __slots__ = ("_cap", "_chunks", "_fault", "_missing", "size")

    def __init__(self, fault: Fault, cap: int) -> None:
        self._fault = fault
        self._cap = cap
        self._chunks: list[bytes] = []
        self.size = 0  # bytes held
        self._missing = 0  # bytes that still have to arrive before anything can be complete

    def take(self, data: bytes) -> tuple[bytes, list[Run]]:
        """A buffer and the whole messages in it. Raises the direction's fault on a length below 4 or above the cap."""
        if self._chunks:
            self._chunks.append(data)
            self.size += len(data)
            self._missing -= len(data)
            if self._missing > 0:
                return b"", []
            data = b"".join(self._chunks)
            self._chunks.clear()
            self.size = 0
        try:
            runs = message_runs(data, 0, self._cap)
        except ValueError as error:
            raise self._fault(f"malformed message: {error} (the cap is {self._cap} bytes)") from None
        end = runs[-1][2] if runs else 0
        if end == len(data):
            return data, runs
        rest = data[end:]
        self._chunks.append(rest)
        self.size = len(rest)
        self._missing = (5 if len(rest) < 5 else 1 + UINT32.unpack_from(rest, 1)[0]) - len(rest)
        return data, runs


def split(data: bytes, run: Run) -> Iterator[tuple[int, int]]:
    """(start, stop) of each message of a run."""
    _, start, end, count = run
    if count == 1:
        yield start, end
        return
    while start < end:
        stop = start + 1 + UINT32.unpack_from(data, start + 1)[0]
        yield start, stop
        start = stop


class Reader:
    """Fields of one message body, in order; `finish` insists that nothing is left."""

    __slots__ = ("_data", "_end", "_fault", "_offset", "_what")

    def __init__(self, data: bytes, start: int, end: int, fault: Fault, what: str) -> None:
        self._data = data
        self._offset = start
        self._end = end
        self._fault = fault
        self._what = what

    def _malformed(self, why: str) -> ClientFault | TargetFault:
        return self._fault(f"malformed {self._what} message: {why}")

    @property
    def left(self) -> int:
        return self._end - self._offset

    def take(self, size: int) -> bytes:
        offset = self._offset
        if size < 0 or size > self._end - offset:
            raise self._malformed("a field reaches beyond the message")
        self._offset = offset + size
        return self._data[offset : offset + size]

    def byte(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        value: int = INT16.unpack(self.take(2))[0]
        return value

    def int32(self) -> int:
        value: int = INT32.unpack(self.take(4))[0]
        return value

    def uint32(self) -> int:
        value: int = UINT32.unpack(self.take(4))[0]
        return value

    def cstring(self) -> bytes:
        """A string without its terminating NUL."""
        end = self._data.find(b"\0", self._offset, self._end)
        if end < 0:
            raise self._malformed("a string has no end")
        value = self._data[self._offset : end]
        self._offset = end + 1
        return value

    def count(self, each: int) -> int:
        """A 16-bit count of things that take at least `each` bytes. PostgreSQL reads it as signed."""
        count = self.int16()
        if count < 0:
            raise self._malformed("a negative count")
        if count * each > self.left:
            raise self._malformed("more items than the message holds")
        return count

    def finish(self) -> None:
        if self._offset != self._end:
            raise self._malformed("bytes behind the last field")
