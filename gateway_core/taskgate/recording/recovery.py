"""Taking over what a dead process left: its journal, and the recordings it had begun.

Who is alive holds its folder's lock (the kernel gives it back however a process dies). Every session found is
closed with a record that says `gateway died`, compiled, and handed to the caller to be signed for; only then is the
journal removed. Doing it twice, or dying in the middle, leads to the same recordings.

Where less is found of a session than was signed for before (a journal that was shortened, or restored from an older
copy than the checkpoints) what there is becomes its recording, without an end, and nothing is signed for it: that costs
this session's proof and no other's. Nor is anything signed for that cannot be this gateway's own (`read_back.py`): it
is logged, and the journal that named it is kept.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import time, time_ns
from typing import Any

import structlog

from taskgate.errors import GatewayFault
from taskgate.recording.chain import Chain
from taskgate.recording.checkpoints import Recovered, SessionHead, Shortened, read_checkpoints
from taskgate.recording.header import SALT_BYTES, Header, SessionHeader
from taskgate.recording.journal import discard, lock
from taskgate.recording.journal_reader import Found, JournalReader, record_at, segments
from taskgate.recording.keys import KeyWrapper
from taskgate.recording.read_back import head_to_sign
from taskgate.recording.recording_file import Progress, RecordingWriter, progress
from taskgate.recording.records import RecordKind, SessionClosed, encode
from taskgate.recording.session_key import SessionKey
from taskgate.recording.signed_heads import SignedHeads, signed_heads
from taskgate.recording.storage import Finished, RecordingStorage

log = structlog.get_logger("taskgate.recording")

REASON = "gateway died"
# What comes of reading what no gateway has written: it costs the session that it claims to be, and no other.
_NO_RECORDING = (GatewayFault, ValueError, TypeError, KeyError, IsADirectoryError)
_BEING_MADE = 60.0  # seconds for which an empty folder is left alone: a process may be starting


@dataclass
class _Left:
    """What is known of one session: `done` in its recording's draft, the rest where in which segments."""

    done: Progress
    key: dict[str, Any] | None
    next_seq: int
    pieces: list[tuple[Path, array[int]]] = field(default_factory=list)
    beyond: dict[int, tuple[Path, int]] = field(default_factory=dict)  # after a gap that may be filled further on

    def add(self, found: Found) -> None:
        if found.key is not None:
            self.key = self.key or found.key
        elif found.seq == self.next_seq:
            self._take(found.path, found.offset)
            while self.next_seq in self.beyond:
                self._take(*self.beyond.pop(self.next_seq))
        elif found.seq > self.next_seq:
            self.beyond[found.seq] = (found.path, found.offset)

    def _take(self, path: Path, offset: int) -> None:
        self._place(path, offset)
        self.next_seq += 1

    def _place(self, path: Path, offset: int) -> None:
        if not self.pieces or self.pieces[-1][0] != path:
            self.pieces.append((path, array("Q")))
        self.pieces[-1][1].append(offset)

    def all_pieces(self) -> Sequence[tuple[Path, array[int]]]:
        """With what stands behind a gap that nothing filled: kept, and the broken chain will tell."""
        for seq in sorted(self.beyond):
            self._place(*self.beyond[seq])
        self.beyond = {}
        return self.pieces


@dataclass
class _Dead:
    """A dead process's journal, as read."""

    folder: Path
    sessions: dict[str, _Left]
    torn: int
    empty: bool


@dataclass
class TakenOver:
    folder: Path
    summary: Recovered
    heads: list[SessionHead]
    complete: bool
    empty: bool  # there was nothing to take over but the folder

    def discard(self) -> None:
        if self.complete:
            discard(self.folder)


class Recovery:
    """All methods block: call them from a thread. `release` at the end, whatever happened."""

    def __init__(
        self, journals: Path, own: str, storage: RecordingStorage, wrapper: KeyWrapper, checkpoints: Path
    ) -> None:
        """`checkpoints`: the file of all that were signed so far."""
        self._checkpoints = checkpoints
        self._journals = journals
        self._own = own
        self._storage = storage
        self._wrapper = wrapper
        self._locks: list[int] = []
        self._finished: list[Finished] = []  # of one journal; stored together

    def run(self) -> list[TakenOver]:
        """Raises OSError; a session that cannot be recovered is logged and its journal kept."""
        begun = {process for process, _, _ in self._drafts()}
        folders = [one for one in sorted(self._journals.iterdir()) if one.name != self._own and one.is_dir()]
        dead = [folder for folder in folders if self._is_dead(folder, folder.name in begun)]
        if not dead:
            return []
        left: dict[str, list[tuple[str, Progress]]] = {}
        for process, session, done in self._drafts():  # again: what the dead wrote changes no more from here on
            left.setdefault(process, []).append((session, done))
        found = [self._read(folder, left.get(folder.name, [])) for folder in dead]
        named = {session for one in found for session in one.sessions}
        signed = signed_heads(read_checkpoints(self._checkpoints), named)
        return [self._take_over(one, signed) for one in found]

    def _drafts(self) -> Iterator[tuple[str, str, Progress]]:
        """What recordings are begun: process, session, how far. Those of the living may go on, and be finished."""
        for session in self._storage.drafts():
            try:
                with self._storage.draft(session).open("rb") as file:
                    done = progress(file)
                    process = None if done.key is None else done.key["process"]
            except FileNotFoundError:
                continue  # finished since it was listed
            except _NO_RECORDING as error:
                log.critical("draft_not_readable", session=session, error=str(error))
                continue
            if isinstance(process, str):
                yield process, session, done

    def _is_dead(self, folder: Path, has_drafts: bool) -> bool:
        empty = not has_drafts and not segments(folder)
        try:
            if empty and time() - folder.stat().st_mtime < _BEING_MADE:
                return False
            held = lock(folder)
        except FileNotFoundError:
            return False  # it ended in order since it was listed, and took its folder along
        except IsADirectoryError:
            log.warning("journal_folder_strange", folder=str(folder))
            return False
        if held is None:
            return False
        self._locks.append(held)
        return folder.is_dir()

    def release(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _read(self, folder: Path, drafts: Sequence[tuple[str, Progress]]) -> _Dead:
        empty = not drafts and not segments(folder)
        sessions = {session: _Left(done, done.key, done.next_seq) for session, done in drafts}
        reader = JournalReader(folder)
        for found in reader:
            left = sessions.get(found.session)
            if left is None:
                left = sessions[found.session] = _Left(Progress(), None, 0)
            left.add(found)
        return _Dead(folder, sessions, reader.torn, empty)

    def _take_over(self, dead: _Dead, signed: Mapping[str, SignedHeads]) -> TakenOver:
        heads, short, complete = [], [], True
        for session, left in dead.sessions.items():
            try:
                result = self._finish(session, left, dead.torn, signed[session])
            except _NO_RECORDING as fault:
                log.critical("session_not_recovered", session=session, process=dead.folder.name, error=str(fault))
                complete = False
                continue
            if isinstance(result, Shortened):
                log.critical("session_shortened", process=dead.folder.name, **asdict(result))
                short.append(result)
            elif result is not None:
                heads.append(result)
        self._storage.store(self._finished)
        self._finished = []
        summary = Recovered(dead.folder.name, len(heads), dead.torn, tuple(short))
        return TakenOver(dead.folder, summary, heads, complete, dead.empty)

    def _finish(self, session: str, left: _Left, torn: int, signed: SignedHeads) -> SessionHead | Shortened | None:
        finished = self._storage.open(session)
        if finished is not None:  # compiled before it died; perhaps not signed for
            with finished:
                done = progress(finished)
                if signed.ended(done.next_seq - 1, done.head):
                    return None  # it was; its journal is kept for another session's sake
                return head_to_sign(finished, session, self._wrapper, signed)
        if not left.pieces and not left.beyond and left.done.last is None:
            # Opened, but not one record was written: nothing happened, unless something was signed for.
            return Shortened(session, 0, signed.records) if signed.records else None
        if left.key is None:
            raise GatewayFault("taskgate: the session's key is missing from the journal")
        key = SessionKey.unwrapped(left.key, self._wrapper)
        writer = RecordingWriter(self._storage.draft(session), key)
        try:
            last, opened = left.done.last, 0
            for header, plaintext in _records(left, key):
                last = Header.parse(header)
                opened = opened or last.time
                writer.add(header, plaintext)
            if last is None:
                raise GatewayFault("taskgate: the session has no readable record")
            if last.kind is not RecordKind.SESSION_CLOSED and last.seq + 1 >= signed.records:
                last = _close(writer, last, torn)
            writer.finish()
        finally:
            writer.close()
        self._finished.append(Finished(session, datetime.fromtimestamp((opened or last.time) / 1e9, tz=UTC)))
        with writer.path.open("rb") as file:
            return head_to_sign(file, session, self._wrapper, signed)


def _records(left: _Left, key: SessionKey) -> Iterator[tuple[bytes, bytes]]:
    for path, offsets in left.all_pieces():
        with path.open("rb") as file:
            size = file.seek(0, 2)
            for offset in offsets:
                header, sealed = record_at(file, offset, size)
                yield header, key.open_record(Header.parse(header).seq, sealed)


def _close(writer: RecordingWriter, last: Header, torn: int) -> Header:
    """The record its own gateway could not write any more."""
    chain = Chain(SessionHeader(last.session, last.policy, last.target), next_seq=last.seq + 1, head=last.hash())
    plaintext = os.urandom(SALT_BYTES) + encode(SessionClosed(REASON, torn))
    header = chain.forge(RecordKind.SESSION_CLOSED, time_ns(), plaintext)
    writer.add(header, plaintext)
    return Header.parse(header)
