"""Deleting what a session did, while keeping the proof that it did something and when.

Missing content is evidence of tampering unless a checkpoint says that it was erased. So the checkpoint comes first: the
recording without its content is written beside it and made durable (`prepare`), the erasure is signed for, and only
then does the one take the other's place (`finish`). Whoever is killed in between has either signed nothing, and nothing
has happened, or leaves a file that says what is still to be done (`finish_all`, at the next start). Never the other way
round: a recording that says it was erased, and no checkpoint that does, stays bad for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import structlog

from taskgate.errors import GatewayFault
from taskgate.recording.journal import lock
from taskgate.recording.journal_reader import blank_key
from taskgate.recording.keys import sync_folder
from taskgate.recording.recording_file import erase
from taskgate.recording.storage import RecordingStorage

log = structlog.get_logger("taskgate.recording")

_PATIENCE = 30.0


class Erasures:
    """All methods block. One process at a time erases on a data folder: hold the `lock` around the others."""

    def __init__(self, storage: RecordingStorage, journals: Path) -> None:
        self._storage = storage
        self._journals = journals

    def lock(self) -> int:
        """A descriptor to close. Raises GatewayFault where another process erases and goes on doing so."""
        held = lock(self._storage.erasing_folder(), patience=_PATIENCE)
        if held is None:
            raise GatewayFault("taskgate: another gateway process is erasing; try again")
        return held

    def prepare(self, session_id: str) -> None:
        """Raises GatewayFault where there is no finished recording."""
        source = self._storage.open(session_id)
        if source is None:
            raise GatewayFault(f"taskgate: there is no finished recording of session {session_id}")
        draft = self._storage.erasing(session_id)
        with source, draft.open("wb") as target:
            erase(source, target, datetime.now(UTC).isoformat(timespec="seconds"))
            target.flush()
            os.fsync(target.fileno())
        sync_folder(draft.parent)

    def abandon(self, session_id: str) -> None:
        """Nothing was signed for."""
        self._storage.erasing(session_id).unlink(missing_ok=True)

    def finish(self, session_id: str) -> None:
        """What was prepared takes the recording's place. Wrapped keys still in journals are overwritten first, which
        turns what is left of the session there into noise. Backups are not reached."""
        for folder in self._journals.iterdir():
            blank_key(folder, session_id)
        self._storage.replace(session_id, self._storage.erasing(session_id))

    def finish_all(self, checkpoints: Iterable[bytes]) -> None:
        """What a process that died had begun: done where it was signed for (by the lines of a checkpoint file),
        forgotten where not. Takes the lock itself. Raises OSError and what `lock` raises; what cannot be erased is
        logged."""
        if not any(self._storage.being_erased()):
            return
        held = self.lock()
        try:
            begun = list(self._storage.being_erased())  # again: a living process may have done with its own
            signed = _erased(checkpoints)
            for session_id in begun:
                if session_id in signed:
                    self._finish_late(session_id)
                else:
                    self.abandon(session_id)
        finally:
            os.close(held)

    def _finish_late(self, session_id: str) -> None:
        try:
            self.prepare(session_id)  # anew: the file may be half written, or not be a gateway's
            self.finish(session_id)
        except (GatewayFault, ValueError, TypeError, OSError) as fault:
            log.critical("erasure_not_finished", session=session_id, error=str(fault))
        else:
            log.warning("erasure_finished", session=session_id)


def _erased(checkpoints: Iterable[bytes]) -> frozenset[str]:
    erased: set[str] = set()
    for line in checkpoints:
        try:
            erased.update(orjson.loads(line)["body"]["erased"])
        except (ValueError, TypeError, KeyError):
            continue  # told when the next one is appended
    return frozenset(erased)
