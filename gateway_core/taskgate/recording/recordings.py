"""Reading recordings: finished ones from storage, living ones from their draft and the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from taskgate.errors import GatewayFault
from taskgate.recording.header import Header, Record
from taskgate.recording.journal_reader import JournalReader
from taskgate.recording.keys import KeyWrapper, LocalKeyWrapper
from taskgate.recording.recording_file import RecordingReader, progress
from taskgate.recording.session_key import SessionKey
from taskgate.recording.storage import LocalFolder, RecordingStorage, safe_id


class Recordings:
    """Works from another process too, while gateways write; contents need the recording key. Every method blocks."""

    def __init__(
        self,
        data_dir: Path,
        *,
        wrapper: KeyWrapper | None = None,
        storage: RecordingStorage | None = None,
        contents: bool = True,
    ) -> None:
        """`contents=False` reads headers only and needs no key; contents that are there stay sealed."""
        self._data_dir = data_dir
        self._storage = storage or LocalFolder(data_dir / "recordings")
        self._wrapper = wrapper
        if contents and wrapper is None:
            path = data_dir / "keys" / "recording.key"
            if not path.exists():
                raise GatewayFault(f"taskgate: there is no recording key at {path}")
            self._wrapper = LocalKeyWrapper(path)

    def read(self, session_id: str) -> Iterator[Record]:
        """The session's records in order, in bounded memory; a living session's up to now. Raises GatewayFault where
        there is no such session, or at the first damage."""
        safe_id(session_id)
        count = 0
        while True:
            finished = self._storage.open(session_id)
            if finished is not None:
                with finished:
                    yield from _after(count, RecordingReader(finished, self._wrapper, finished=True))
                return
            for record in self._begun(session_id, count):
                count = record.seq + 1
                yield record
            for record in self._journalled(session_id, count):
                count = record.seq + 1
                yield record
            # Records move on from journal to draft to storage; what has passed us is found there.
            if not self.finished(session_id) and self._draft_progress(session_id) <= count:
                break
        if not count:
            raise GatewayFault(f"taskgate: there is no session {session_id}")

    def _begun(self, session_id: str, count: int) -> Iterator[Record]:
        """The records from number `count` on that are in the recording's draft."""
        try:
            file = self._storage.draft(session_id).open("rb")
        except FileNotFoundError:
            return
        with file:
            whole = progress(file).next_seq
            if whole > count:
                # A block that is being written right now is left for the next time.
                for record in _after(count, RecordingReader(file, self._wrapper)):
                    if record.seq >= whole:
                        return
                    yield record

    def _draft_progress(self, session_id: str) -> int:
        try:
            with self._storage.draft(session_id).open("rb") as file:
                return progress(file).next_seq
        except FileNotFoundError:
            return 0

    def _journalled(self, session_id: str, next_seq: int) -> Iterator[Record]:
        for folder in self._journals():
            key: SessionKey | None = None
            for found in JournalReader(folder, session_id):
                if found.key is not None and self._wrapper is not None:
                    key = SessionKey.unwrapped(found.key, self._wrapper)
                elif found.seq == next_seq:
                    if key is None and self._wrapper is not None:
                        key = self._draft_key(session_id)
                    header = Header.parse(found.header)
                    if key is not None:
                        yield Record.of_plaintext(header, key.open_record(found.seq, found.sealed))
                    else:
                        yield Record(header, sealed=self._wrapper is None and bool(found.sealed))
                    next_seq += 1

    def _draft_key(self, session_id: str) -> SessionKey | None:
        """The segment that the session began in may be gone already; then the draft has the key."""
        try:
            with self._storage.draft(session_id).open("rb") as file:
                described = progress(file).key
        except FileNotFoundError:
            return None
        return SessionKey.unwrapped(described, self._wrapper) if described and self._wrapper else None

    def sessions(self) -> list[str]:
        """Every session there is a recording of, finished or not."""
        known: set[str] = set()
        # In the order in which records move on, so that none is passed over.
        for folder in self._journals():
            known.update(found.session for found in JournalReader(folder) if found.key is None)
        known.update(self._storage.drafts())
        known.update(self._storage.sessions())
        return sorted(known)

    def finished(self, session_id: str) -> bool:
        file = self._storage.open(session_id)
        if file is not None:
            file.close()
        return file is not None

    def _journals(self) -> list[Path]:
        journals = self._data_dir / "journal"
        return sorted(path for path in journals.iterdir() if path.is_dir()) if journals.is_dir() else []


def _after(count: int, records: Iterator[Record] | RecordingReader) -> Iterator[Record]:
    for record in records:
        if record.seq >= count:
            yield record
