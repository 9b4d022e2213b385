"""Reading a journal's segments: for compiling, for live sessions, and for taking over what a dead process left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from taskgate.errors import GatewayFault
from taskgate.recording.framing import FrameReader, frame, read_frame
from taskgate.recording.storage import is_safe_id

_SEGMENTS = "[0-9]*.seg"


def segments(folder: Path) -> list[Path]:
    """A journal's, in the order written. None where its process ends just now and takes the folder along."""
    try:
        return sorted(folder.glob(_SEGMENTS))
    except FileNotFoundError:
        return []


def split_record(payload: bytes) -> tuple[bytes, bytes]:
    """Header and sealed content of an `R` frame's payload, as `speed.record_frame` put them together."""
    end = 3 + int.from_bytes(payload[1:3], "little")
    return payload[3:end], payload[end:]


@dataclass(frozen=True, slots=True)
class Found:
    """A frame of a journal: a session's beginning (`key` set, header empty) or a record of it."""

    session: str
    seq: int
    path: Path
    offset: int
    header: bytes = b""
    sealed: bytes = b""
    key: dict[str, Any] | None = None


class JournalReader:
    """All frames of a folder's segments in the order written. Afterwards `torn` says how many bytes of half-written
    frames were passed over, `damaged` how many frames were not what was written, or not what a gateway writes."""

    def __init__(self, folder: Path, session_id: str | None = None) -> None:
        """`session_id`: only this session's."""
        self._folder = folder
        self._wanted = f'{{"session":"{session_id}",'.encode() if session_id else None
        self.torn = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[Found]:
        for path in segments(self._folder):
            try:
                file = path.open("rb")
            except (FileNotFoundError, IsADirectoryError):
                continue  # compiled and removed in the meantime, or no segment
            with file:
                reader = FrameReader(file)
                for piece in reader:
                    try:
                        found = self._found(path, piece.offset, piece.payload)
                    except (ValueError, TypeError, KeyError):
                        self.damaged += 1
                        continue
                    if found is not None:
                        yield found
                self.torn += reader.torn
                self.damaged += reader.damaged

    def _found(self, path: Path, offset: int, payload: bytes) -> Found | None:
        """Raises ValueError, TypeError, KeyError where it is no frame of a gateway's."""
        kind = payload[:1]
        if kind == b"R":
            header, sealed = split_record(payload)
            if self._wanted and not header.startswith(self._wanted):
                return None
            fields = orjson.loads(header)
            session, seq = fields["session"], fields["seq"]
            if type(seq) is not int or seq < 0 or not is_safe_id(session):
                raise ValueError("not a record")
            return Found(session, seq, path, offset, header, sealed)
        if kind == b"S":
            if self._wanted and not payload.startswith(self._wanted, 1):
                return None
            key = orjson.loads(payload[1:])
            if not is_safe_id(key["session"]) or type(key["process"]) is not str or type(key["key_id"]) is not str:
                raise ValueError("not a session's key")
            if not bytes.fromhex(key["wrapped"]) or orjson.dumps(key) != payload[1:]:
                raise ValueError("not a session's key")
            return Found(key["session"], -1, path, offset, key=key)
        return None


def record_at(file: BinaryIO, offset: int, size: int) -> tuple[bytes, bytes]:
    """Header and sealed content of the record whose frame is known to be at `offset`. Raises GatewayFault."""
    found = read_frame(file, offset, size)
    if found is None or not found[1] or found[0][:1] != b"R":
        raise GatewayFault("taskgate: a record in the journal is damaged")
    return split_record(found[0])


def blank_key(folder: Path, session_id: str) -> int:
    """Overwrite the session's wrapped key wherever the folder's segments hold it; returns how often."""
    reader = JournalReader(folder, session_id)
    blanked = 0
    for found in reader:
        if found.key is not None and found.key["wrapped"].strip("0"):
            empty = found.key | {"wrapped": "0" * len(found.key["wrapped"])}
            with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                _overwrite(found.path, found.offset, b"S" + orjson.dumps(empty))
            blanked += 1
    return blanked


def _overwrite(path: Path, offset: int, payload: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, frame(payload), offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
