"""The file a session's records end up in (`<session id>.tgr`).

    magic, then frames (framing.py):  K  the session's wrapped key, JSON; absent once the content is erased
                                      H  zstd of headers: length (2 bytes) · header, again and again
                                      C  sealed zstd of the same records' salt ‖ content: length (4 bytes) · bytes
                                      E  the end, JSON: how many records, hash of the last header, when erased

Written as blocks of about 256 KiB, so memory stays the same however long the session was; a file without `E` is one
that is still being written and can be appended to. Contents are compressed before they are sealed, which is why
this is not done on the way of an action: sealed bytes do not compress.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from taskgate.errors import GatewayFault
from taskgate.recording.framing import MAX_PAYLOAD, FrameReader, frame
from taskgate.recording.header import NO_PREVIOUS, Header, Record
from taskgate.recording.keys import KeyWrapper
from taskgate.recording.session_key import SessionKey, check_description

MAGIC = b"TGR1\n"
BLOCK_BYTES = 256 * 1024
_LEVEL = 3
# What a block can hold, whoever wrote it: it ends with the record that fills it. A header's length has two bytes, and
# a content has been one frame of the journal.
_MAX_HEADERS = 2 * BLOCK_BYTES
_MAX_CONTENTS = MAX_PAYLOAD + 2 * BLOCK_BYTES


class RecordingWriter:
    """Writes a new recording, or goes on with one that was left unfinished (a torn tail is cut off)."""

    def __init__(self, path: Path, key: SessionKey) -> None:
        self.path = path
        self.next_seq = 0
        self.head = NO_PREVIOUS
        self._key = key
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._headers: list[bytes] = []
        self._contents: list[bytes] = []
        self._pending = 0
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def _resume(self) -> None:
        done = progress(self._file)
        self.next_seq, self.head = done.next_seq, done.head
        self._file.seek(done.end)
        self._file.truncate()
        if done.key is None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(MAGIC + frame(b"K" + self._key.describe()))

    def add(self, header: bytes, plaintext: bytes) -> None:
        """The next record: header and salt ‖ content."""
        self._headers.append(len(header).to_bytes(2, "little") + header)
        self._contents.append(len(plaintext).to_bytes(4, "little") + plaintext)
        self._pending += len(header) + len(plaintext)
        if self._pending >= BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._headers:
            return
        headers, contents = b"".join(self._headers), b"".join(self._contents)
        self._file.write(frame(b"H" + self._compressor.compress(headers)))
        self._file.write(frame(b"C" + self._key.seal_block(self._compressor.compress(contents))))
        parsed = Header.parse(self._headers[-1][2:])
        self.next_seq, self.head = parsed.seq + 1, parsed.hash()
        self._headers, self._contents, self._pending = [], [], 0

    def save(self) -> None:
        """Everything added so far is on disk; more may follow."""
        self._flush()
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        self._flush()
        self._file.write(frame(b"E" + orjson.dumps({"records": self.next_seq, "head": self.head, "erased": None})))
        self.save()
        self._file.close()

    def close(self) -> None:
        """Leave it unfinished."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording has come. `end`: offset behind its last whole block of records; `erased`: when its content
    went; `finished`: nothing will follow."""

    end: int = 0
    next_seq: int = 0
    head: str = NO_PREVIOUS
    last: Header | None = None
    key: dict[str, Any] | None = None
    finished: bool = False
    erased: str | None = None


def progress(file: BinaryIO) -> Progress:
    """Reads headers only. Whatever is torn or damaged and all behind it does not count."""
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return Progress()
    end, last, key, finished, erased, headers = len(MAGIC), None, None, False, None, b""
    reader = FrameReader(file, len(MAGIC))
    for block in reader:
        kind, payload = block.payload[:1], block.payload[1:]
        if reader.damaged:
            break
        if kind == b"K":
            key = _json(payload)
        elif kind == b"H":
            last = _last_header(headers, last) if headers else last  # its contents were erased
            headers = block.payload
            continue
        elif kind == b"C":
            last, headers = _last_header(headers, last), b""
        elif kind == b"E":
            last, finished, erased = _last_header(headers, last), True, _json(payload).get("erased")
            break
        end = block.end
    if last is None:
        return Progress(end, key=key, finished=finished)
    return Progress(end, last.seq + 1, last.hash(), last, key, finished, erased)


def _last_header(block: bytes, before: Header | None) -> Header | None:
    for header in _headers(block) if block else ():
        before = header
    return before


class RecordingReader:
    """Reads one recording in bounded memory. With `wrapper` None contents stay sealed: only headers are read, and
    whether something is there that the key would open. `finished`: it has to have an end."""

    def __init__(self, file: BinaryIO, wrapper: KeyWrapper | None, *, finished: bool = False) -> None:
        self._file = file
        self._wrapper = wrapper
        self._finished = finished
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise GatewayFault("taskgate: not a recording, or a damaged one")

    def __iter__(self) -> Iterator[Record]:
        """Raises GatewayFault at the first damaged block."""
        reader = FrameReader(self._file, len(MAGIC))
        key: SessionKey | None = None
        headers: list[Header] = []
        locked = ended = False
        for block in reader:
            if reader.damaged:
                raise GatewayFault("taskgate: a block of the recording is damaged")
            kind, payload = block.payload[:1], block.payload[1:]
            if kind == b"K" and self._wrapper is not None:
                key = SessionKey.unwrapped(_json(payload), self._wrapper)
            elif kind == b"K":
                check_description(_json(payload))
                locked = True
            elif kind == b"H":
                yield from map(Record, headers)  # their contents were erased
                headers = list(_headers(block.payload))
            elif kind == b"C":
                if key is None:
                    yield from (Record(header, sealed=locked and bool(payload)) for header in headers)
                else:
                    contents = list(_split(_decompress(key.open_block(payload), _MAX_CONTENTS), 4))
                    if len(contents) != len(headers):
                        raise GatewayFault("taskgate: a block of the recording is damaged")
                    yield from map(Record.of_plaintext, headers, contents)
                headers = []
            elif kind == b"E":
                yield from map(Record, headers)
                headers, ended = [], True
        if reader.torn and ended:
            raise GatewayFault("taskgate: the recording goes on after its end")
        if self._finished and not ended:
            raise GatewayFault("taskgate: the recording is cut short, or its last block is damaged")


def begun(file: BinaryIO) -> int | None:
    """When the first record was made, in nanoseconds of the epoch; reads no more than the first block. None where there
    is no content (any more). Raises GatewayFault for what is no recording."""
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise GatewayFault("taskgate: not a recording, or a damaged one")
    blocks = iter(FrameReader(file, len(MAGIC)))
    first, second = next(blocks, None), next(blocks, None)
    if first is None or first.payload[:1] != b"K" or second is None or second.payload[:1] != b"H":
        return None
    return next(_headers(second.payload)).time


def erase(source: BinaryIO, target: BinaryIO, when: str) -> None:
    """Copy a finished recording without its key and contents."""
    source.seek(len(MAGIC))
    target.write(MAGIC)
    for block in FrameReader(source, len(MAGIC)):
        if block.payload[:1] == b"H":
            target.write(frame(block.payload))
        elif block.payload[:1] == b"E":
            target.write(frame(b"E" + orjson.dumps(_json(block.payload[1:]) | {"erased": when})))


def _json(payload: bytes) -> dict[str, Any]:
    """What a `K` or an `E` says."""
    try:
        fields = orjson.loads(payload)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise GatewayFault("taskgate: a block of the recording is damaged")
    return fields


def _headers(block: bytes) -> Iterator[Header]:
    try:
        for raw in _split(_decompress(block[1:], _MAX_HEADERS), 2):
            yield Header.parse(raw)
    except ValueError:
        raise GatewayFault("taskgate: a header block of the recording is damaged") from None


def _decompress(data: bytes, limit: int) -> bytes:
    """Takes no more memory than `limit`: a few bytes can claim, and be, gigabytes."""
    try:
        if not 0 <= zstandard.frame_content_size(data) <= limit:
            raise GatewayFault("taskgate: a block of the recording claims an impossible size")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
    except zstandard.ZstdError:
        raise GatewayFault("taskgate: a block of the recording is damaged") from None


def _split(data: bytes, width: int) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        start = position + width
        position = start + int.from_bytes(data[position:start], "little")
        if position > len(data):
            raise GatewayFault("taskgate: a block of the recording is damaged")
        yield data[start:position]
