"""Frames: how the journal and recordings keep pieces apart and notice damage.

A frame is length (4 bytes, little-endian) · CRC-32 of the payload (4 bytes) · payload. The payload's first byte says
what it is. A frame whose length is zero or runs past the end, or whose CRC differs with nothing whole after it, is a
torn tail: what a process was writing when it died.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO
from zlib import crc32

PREFIX = Struct("<II")
MAX_PAYLOAD = 1 << 30


def frame(payload: bytes) -> bytes:
    return PREFIX.pack(len(payload), crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class Frame:
    offset: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + PREFIX.size + len(self.payload)


@dataclass
class FrameReader:
    """Reads frames from `offset` on; afterwards `end` is the offset behind the last whole one and `torn` how many bytes
    follow it. A damaged frame in the middle (whole ones come after it) is skipped and counted: the chain of the session
    it belonged to will show it."""

    file: BinaryIO
    end: int = 0
    torn: int = 0
    damaged: int = 0

    def __iter__(self) -> Iterator[Frame]:
        size = self.file.seek(0, 2)
        position = self.end
        skipped = 0
        while True:
            found = read_frame(self.file, position, size)
            if found is None:
                break
            payload, intact = found
            following = position + PREFIX.size + len(payload)
            if intact:
                self.damaged += skipped
                skipped = 0
                self.end = following
                yield Frame(position, payload)
            else:
                skipped += 1
            position = following
        self.torn = size - self.end


def read_frame(file: BinaryIO, offset: int, size: int) -> tuple[bytes, bool] | None:
    """The payload at `offset` of a file of `size` bytes and whether its CRC is right; None where no whole frame can
    be."""
    if size - offset < PREFIX.size:
        return None
    file.seek(offset)
    length, crc = PREFIX.unpack(file.read(PREFIX.size))
    if not 0 < length <= min(MAX_PAYLOAD, size - offset - PREFIX.size):
        return None
    payload = file.read(length)
    if len(payload) != length:
        return None
    return payload, crc32(payload) == crc
