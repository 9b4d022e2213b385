"""From journal to recording. Runs in a thread beside the event loop."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import BinaryIO

from taskgate.errors import GatewayFault
from taskgate.recording.journal_reader import record_at
from taskgate.recording.recording_file import RecordingWriter
from taskgate.recording.session_key import SessionKey
from taskgate.recording.storage import Finished, RecordingStorage

# Waking threads wait for the interpreter's lock; the event loop must not, so this thread steps aside every so many
# records (about a fifth of a millisecond of work), and leaves most of the time to whatever is in a hurry.
_RECORDS_A_SLICE = 48
_PAUSE = 0.001
_READ_AHEAD = 256 * 1024  # bytes: a session's records lie among those of others


@dataclass(frozen=True, slots=True)
class CompileJob:
    """Records `first_seq` and following of one session, and where in which segments they stand. `finish`: these are
    the last. `opened_at`: nanoseconds since 1970."""

    key: SessionKey
    opened_at: int
    first_seq: int
    pieces: Sequence[tuple[Path, array[int]]]
    finish: bool

    def run(self, storage: RecordingStorage) -> None:
        """Into the recording's draft, on disk. Raises GatewayFault where the journal cannot be read, and OSError; can
        be run again after either."""
        writer = RecordingWriter(storage.draft(self.key.session_id), self.key)
        try:
            self._copy(writer)
            if self.finish:
                writer.finish()
            else:
                writer.save()
        finally:
            writer.close()

    def _copy(self, writer: RecordingWriter) -> None:
        seq, have = self.first_seq, writer.next_seq
        for path, offsets in self.pieces:
            with _segment(path) as file:
                size = file.seek(0, 2)
                for offset in offsets:
                    if seq >= have:
                        header, sealed = record_at(file, offset, size)
                        writer.add(header, self.key.open_record(seq, sealed))
                        if not seq % _RECORDS_A_SLICE:
                            sleep(_PAUSE)
                    seq += 1


def _segment(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=_READ_AHEAD)
    except FileNotFoundError:
        raise GatewayFault(f"taskgate: segment {path.name} of the journal was removed by somebody else") from None


def compile_finished(jobs: Sequence[CompileJob], storage: RecordingStorage) -> list[GatewayFault | OSError | None]:
    """Jobs that finish their sessions; the recordings are stored together. One outcome a job: None, why its journal
    cannot be read (GatewayFault), or what keeps its recording from being written (OSError: run it again). Raises
    OSError where they could not be stored; can be run again then."""
    outcomes: list[GatewayFault | OSError | None] = []
    finished = []
    for job in jobs:
        try:
            job.run(storage)
        except IsADirectoryError as error:
            outcomes.append(GatewayFault(f"taskgate: something else is where the recording belongs: {error}"))
        except (GatewayFault, OSError) as fault:
            outcomes.append(fault)
        else:
            outcomes.append(None)
            finished.append(Finished(job.key.session_id, datetime.fromtimestamp(job.opened_at / 1e9, tz=UTC)))
    storage.store(finished)
    return outcomes
