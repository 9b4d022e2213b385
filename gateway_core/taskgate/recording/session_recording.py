"""One session's side of the recorder: where its records go in, and where they are found again."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import time_ns

from taskgate.errors import JournalFault
from taskgate.recording.chain import Chain, prefix_of
from taskgate.recording.checkpoints import SessionHead
from taskgate.recording.compiling import CompileJob
from taskgate.recording.header import SessionHeader
from taskgate.recording.journal import Journal
from taskgate.recording.records import Content, RecordKind, SessionClosed, encode
from taskgate.recording.segment import Segment
from taskgate.recording.session_key import SessionKey

_KINDS = frozenset(RecordKind)

# whose, kind (None: the session begins), time, content, header prefix
Queued = tuple["SessionRecording", RecordKind | str | None, int, bytes, bytes]


class Intake:
    """The recorder's buffer: what was appended and is not sealed yet. `limit` bounds the memory that records may take
    while the disk does not accept them."""

    __slots__ = ("journal", "limit", "queue", "queued_bytes")

    def __init__(self, limit: int, journal: Journal) -> None:
        self.queue: list[Queued] = []
        self.queued_bytes = 0
        self.limit = limit
        self.journal = journal


class SessionRecording:
    """Not thread-safe; one event loop. Made by `Recorder.open`."""

    __slots__ = (
        "_closed",
        "_header",
        "_index",
        "_intake",
        "_next",
        "_opened",
        "_pins",
        "_prefix",
        "_saved",
        "chain",
        "key",
        "signed",
    )

    def __init__(self, header: SessionHeader, key: SessionKey, intake: Intake, pins: Counter[Segment]) -> None:
        self.key = key
        self.chain = Chain(header)
        self.signed = 0  # records covered by a checkpoint
        self._header = header
        self._prefix = prefix_of(header)
        self._intake = intake
        self._next = 0
        self._opened = time_ns()
        self._closed: str | None = None
        self._saved = 0  # records in the recording's draft; the index holds those after
        self._index: dict[Segment, array[int]] = {}
        self._pins = pins

    @property
    def id(self) -> str:
        return self._header.session_id

    @property
    def policy_version(self) -> str:
        return self._header.policy_version

    @policy_version.setter
    def policy_version(self, version: str) -> None:
        """Another policy is in force: headers from the next record on name it."""
        if version != self._header.policy_version:
            header = SessionHeader(self._header.session_id, version, self._header.target_digest)
            self._prefix = prefix_of(header)
            self._header = header

    @property
    def closed(self) -> bool:
        return self._closed is not None

    @property
    def sealed(self) -> int:
        """Records that are part of the chain."""
        return self.chain.next_seq

    def head(self) -> SessionHead:
        """Of the chain as sealed so far."""
        state = "closed" if self._closed is not None else "open"
        return SessionHead(self.id, self.chain.next_seq - 1, self.chain.head, state)

    def append(self, kind: RecordKind | str, content: Content | Mapping[str, object] | bytes) -> int:
        """Buffer a record and return its sequence number; no I/O. `content` as bytes must come from `encode` or an
        `ActionTemplate`. Raises JournalFault where it cannot be written as JSON, or where the disk has refused so much
        that the buffer is full: then nothing has been appended."""
        if self._closed is not None:
            raise JournalFault(f"taskgate: the recording of session {self.id} is closed")
        if self._next and kind == RecordKind.SESSION_OPENED:
            raise JournalFault(f"taskgate: session {self.id} has begun already")
        if kind not in _KINDS:
            raise JournalFault(f"taskgate: there is no kind of record named {kind!r}")
        data = content if isinstance(content, bytes) else encode(content)
        intake = self._intake
        queued = intake.queued_bytes + len(data)
        if queued + intake.journal.unsettled_bytes > intake.limit:
            raise JournalFault("taskgate: too much waits for the disk; nothing more can be recorded now")
        intake.queued_bytes = queued
        intake.queue.append((self, kind, time_ns(), data, self._prefix))
        seq = self._next
        self._next = seq + 1
        return seq

    def close(self, reason: str) -> None:
        """The session's last record. Idempotent; never refused, however full the buffer is. A session of which nothing
        was recorded leaves no recording."""
        if self._closed is None and self._next == 0:
            self._closed = reason
        elif self._closed is None:
            data = encode(SessionClosed(reason))
            self._intake.queued_bytes += len(data)
            self._intake.queue.append((self, RecordKind.SESSION_CLOSED, time_ns(), data, self._prefix))
            self._next += 1
            self._closed = reason

    # --- where the records are ---------------------------------------------------------------------------------

    def durable(self, segment: Segment, offset: int, seq: int) -> None:
        if not self._next and self.void:
            return
        offsets = self._index.get(segment)
        if offsets is None:
            offsets = self._index[segment] = array("Q")
            self._pins[segment] += 1
        if seq >= 0:
            offsets.append(offset)

    def job(self, *, finish: bool) -> CompileJob:
        """Everything durable that is not in the recording yet."""
        pieces: list[tuple[Path, array[int]]] = [(segment.path, offsets[:]) for segment, offsets in self._index.items()]
        return CompileJob(self.key, self._opened, self._saved, pieces, finish)

    def compiled(self, job: CompileJob) -> None:
        """The job's records are durable in the recording: let go of the segments they were in."""
        for path, offsets in job.pieces:
            segment = next(one for one in self._index if one.path == path)
            rest = self._index[segment][len(offsets) :]
            self._saved += len(offsets)
            if rest:
                self._index[segment] = rest
            else:
                del self._index[segment]
                self._pins[segment] -= 1

    @property
    def void(self) -> bool:
        """Closed before anything was recorded."""
        return self._closed is not None and self._next == 0

    def let_go(self) -> None:
        """Of the segments: nothing in them is needed."""
        for segment in self._index:
            self._pins[segment] -= 1
        self._index = {}

    def in_segment(self, segment: Segment) -> bool:
        return segment in self._index
