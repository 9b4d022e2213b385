"""The journal of one process: what must be in the operating system before an action goes on.

Frames wait in memory until `write` puts all of them down with one system call, and stay there until a sync has made
them durable. So nothing is lost to a full disk (`write` fails, the frames wait for the next try), nor to a failed
fsync. After that the kernel may have dropped the dirty pages while the next fsync says all is well, hence such a
segment is never trusted again: all that was not durable is written once more, to a new segment, and the journal
stays unhealthy until that one has been synced. Readers drop the doubles. A segment that somebody has removed counts as
one whose fsync failed.

Layout: `<data_dir>/journal/<process id>/{lock, 00000001.seg, …}`. The first frame of a segment is `P` (who writes),
then `S` (a session begins; its wrapped key) and `R` (a record). Not thread-safe; `SyncJob.run` alone is for a
thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

import orjson
import structlog

from taskgate.errors import JournalFault
from taskgate.recording.disk import Disk
from taskgate.recording.framing import frame
from taskgate.recording.journal_reader import segments
from taskgate.recording.keys import sync_folder
from taskgate.recording.segment import Segment

log = structlog.get_logger("taskgate.recording")

FORMAT = 1
SEGMENT_BYTES = 64 * 1024**2


class FrameOwner(Protocol):
    def durable(self, segment: Segment, offset: int, seq: int) -> None:
        """A record's frame is on disk, there. `seq` is -1 for the frame that starts the session."""


# A frame with its owner and its record's number. A tuple, since one is made for every record on an action's way.
Entry = tuple[FrameOwner, int, bytes]


@dataclass(slots=True)
class _Batch:
    segment: Segment
    offset: int
    entries: Sequence[Entry]
    size: int


@dataclass(slots=True)
class SyncJob:
    """What one fsync is to make durable; `run` in a thread, then hand it to `Journal.synced` or `sync_failed`."""

    segments: list[Segment]
    batches: int
    failure: OSError | None = field(default=None)

    def run(self) -> None:
        try:
            for segment in self.segments:
                segment.sync()
        except OSError as error:
            self.failure = error


class Journal:
    def __init__(self, root: Path, process_id: str, *, segment_bytes: int = SEGMENT_BYTES, disk: Disk | None = None):
        self.folder = root / process_id
        self.process_id = process_id
        self.written = 0  # frames put down so far, and of these …
        self.synced = 0  # … durable
        self.unsettled_bytes = 0  # held in memory: not written, or not durable yet
        self._disk = disk or Disk()
        self._segment_bytes = segment_bytes
        self._number = 0
        self._current: Segment | None = None
        self.segments: list[Segment] = []
        self._unwritten: list[Entry] = []
        self._unsynced: list[_Batch] = []
        self._write_fault: JournalFault | None = None
        self._sync_fault: JournalFault | None = None
        self.folder.mkdir(parents=True, mode=0o700)
        self._lock = lock(self.folder, patience=1.0)
        if self._lock is None:
            raise JournalFault(f"taskgate: journal {self.folder} belongs to a living process")

    @property
    def fault(self) -> JournalFault | None:
        return self._sync_fault or self._write_fault

    @property
    def pending(self) -> bool:
        """There is something that is not durable yet."""
        return bool(self._unwritten or self._unsynced)

    @property
    def sealed(self) -> list[Segment]:
        """Segments that nothing will be written to any more and that are not needed for it, oldest first. None while a
        sync has failed: until one succeeds, they hold the only copy that a crash would leave of what is not durable."""
        if self._sync_fault or self._write_fault:
            return []
        return [segment for segment in self.segments if not segment.open]

    def remove(self, segment: Segment) -> None:
        """All its records are durable elsewhere. Should the unlinking itself not survive a crash, recovery finds
        doubles."""
        segment.path.unlink(missing_ok=True)
        self.segments.remove(segment)

    def add(self, entries: Sequence[Entry]) -> None:
        self._unwritten += entries
        self.unsettled_bytes += sum([len(entry[2]) for entry in entries])

    def write(self, *, repair: bool = False) -> None:
        """Everything added so far is in the operating system when this returns. Raises JournalFault, and keeps it all.
        With `repair` it also writes while the last sync has failed (to be followed by a sync)."""
        if self._sync_fault and not repair:
            raise again(self._sync_fault)
        if not self._unwritten:
            return
        entries = self._unwritten
        try:
            segment, start = self._writable()
            data = start + b"".join([entry[2] for entry in entries])
            offset = segment.append(data) + len(start)
        except OSError as error:
            self._write_fault = _fault("written", error)
            raise again(self._write_fault) from error
        self._write_fault = None
        self._unwritten = []
        self._unsynced.append(_Batch(segment, offset, entries, len(data) - len(start)))
        self.written += len(entries)

    def _writable(self) -> tuple[Segment, bytes]:
        """The segment to append to, and what has to stand before the next frame in it."""
        current = self._current
        if current is None or not current.trusted or current.size >= self._segment_bytes:
            number = self._number + 1
            path = self.folder / f"{number:08}.seg"
            path.unlink(missing_ok=True)  # nothing but an empty one from a failed attempt can be there
            current = Segment(number, path, self._disk)
            self._number = number
            self.segments.append(current)
            self._retire(self._current)
            self._current = current
        if current.size:
            return current, b""
        about = {"format": FORMAT, "process": self.process_id, "segment": current.number}
        return current, frame(b"P" + orjson.dumps(about))

    def _retire(self, segment: Segment | None) -> None:
        if segment is not None and not any(batch.segment is segment for batch in self._unsynced):
            segment.close()

    def start_sync(self) -> SyncJob:
        segments = list(dict.fromkeys(batch.segment for batch in self._unsynced))
        return SyncJob(segments, len(self._unsynced))

    def finish_sync(self, job: SyncJob) -> None:
        """Raises JournalFault where the job failed."""
        if job.failure is not None:
            self._distrust()
            self._sync_fault = _fault("synced to disk", job.failure)
            raise again(self._sync_fault) from job.failure
        done, self._unsynced = self._unsynced[: job.batches], self._unsynced[job.batches :]
        for batch in done:
            offset = batch.offset
            for owner, seq, piece in batch.entries:
                owner.durable(batch.segment, offset, seq)
                offset += len(piece)
            self.synced += len(batch.entries)
            self.unsettled_bytes -= batch.size
        for segment in job.segments:
            if segment is not self._current:
                self._retire(segment)
        if not self._unwritten:
            self._sync_fault = None

    def _distrust(self) -> None:
        again: list[Entry] = []
        for batch in self._unsynced:
            batch.segment.trusted = False
            again += batch.entries
            if batch.segment is not self._current:
                batch.segment.close()
        self._unsynced = []
        self._unwritten = again + self._unwritten
        self.written -= len(again)

    def discard(self) -> None:
        """Remove the folder of a closed journal: everything in it is durable elsewhere."""
        discard(self.folder)

    def close(self) -> None:
        """Let go of files and lock. What is not durable by now stays as it is for recovery to find."""
        for segment in self.segments:
            segment.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _fault(what: str, error: OSError) -> JournalFault:
    return JournalFault(
        f"taskgate: the journal cannot be {what}: {error.strerror or error}",
        detail="Nothing is let through that cannot be recorded.",
        hint="Free space or repair the disk that holds data_dir; the gateway recovers by itself.",
    )


def again(fault: JournalFault) -> JournalFault:
    """The same to raise once more: one object raised for hours would gather every traceback."""
    return JournalFault(fault.message, detail=fault.detail, hint=fault.hint)


def lock(folder: Path, *, patience: float = 0.0) -> int | None:
    """Take the folder's lock: a descriptor that holds it until closed (or until the process dies); None where a living
    process has it. `patience`: seconds to try for, since recovery may look into a folder that was just made."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if monotonic() >= until:
                os.close(descriptor)
                return None
            sleep(0.01)
        except BaseException:
            os.close(descriptor)
            raise


def discard(folder: Path) -> None:
    """Remove a journal's folder, its lock last. What is not the journal's stays, and keeps the folder."""
    for path in segments(folder):
        if not path.is_dir():
            path.unlink(missing_ok=True)
    (folder / "lock").unlink(missing_ok=True)
    try:
        folder.rmdir()
    except FileNotFoundError:
        return  # another process came first
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        with contextlib.suppress(FileNotFoundError):  # the other process that looks into it has removed it
            names = sorted(path.name for path in folder.iterdir())
            log.warning("journal_folder_kept", folder=str(folder), holds=names[:10])
            sync_folder(folder.parent)
        return
    sync_folder(folder.parent)
