"""Deleting what a session did, while keeping the proof that it did something and when."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from taskgate.errors import GatewayFault
from taskgate.recording.journal_reader import blank_key
from taskgate.recording.recording_file import erase
from taskgate.recording.storage import SUFFIX, RecordingStorage


def erase_content(storage: RecordingStorage, journals: Path, session_id: str) -> None:
    """The recording loses its key and contents; wrapped keys still in journals are overwritten, which turns what is
    left of the session there into noise. Raises GatewayFault where there is no finished recording. Backups are not
    reached."""
    source = storage.open(session_id)
    if source is None:
        raise GatewayFault(f"taskgate: there is no finished recording of session {session_id}")
    draft = storage.draft(session_id).with_suffix(f"{SUFFIX}.erasing")
    with source, draft.open("wb") as target:
        erase(source, target, datetime.now(UTC).isoformat(timespec="seconds"))
        target.flush()
        os.fsync(target.fileno())
    storage.replace(session_id, draft)
    for folder in journals.iterdir():
        blank_key(folder, session_id)
