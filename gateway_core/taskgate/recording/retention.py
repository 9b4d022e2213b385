"""Where the settings say so, a recording's content goes when it is old enough: its chain stays, and verifies."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING

import structlog

from taskgate.errors import GatewayFault, JournalFault
from taskgate.recording.journal import lock
from taskgate.recording.recording_file import begun
from taskgate.recording.storage import RecordingStorage

if TYPE_CHECKING:
    from taskgate.recording.recorder import Recorder

log = structlog.get_logger("taskgate.recording")

EVERY = 6 * 3600.0
PAUSE = 0.1
_LOOKED_AT_TOGETHER = 200


class RecordingRetention:
    """One a process. `kept`: seconds from a session's beginning until its content is erased."""

    def __init__(self, recorder: Recorder, kept: float, *, every: float = EVERY, pause: float = PAUSE) -> None:
        self._recorder = recorder
        self._kept = kept
        self._every = every
        self._pause = pause

    async def run(self) -> None:
        """Apply it now and then, until cancelled. Not right at the start."""
        while True:
            await asyncio.sleep(self._every * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                await self.apply()
            except (JournalFault, OSError) as fault:
                log.warning("retention.not_applied", reason=str(fault))

    async def apply(self) -> int:
        """Erase all that is due; returns how many recordings. One process does it at a time on a data folder. Raises
        JournalFault, OSError."""
        folder = self._recorder.data_dir / "recordings"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = await asyncio.to_thread(lock, folder)
        if held is None:
            return 0
        try:
            return await self._apply()
        finally:
            os.close(held)

    async def _apply(self) -> int:
        storage, before = self._recorder.storage, time_ns() - int(self._kept * 1e9)
        sessions = await asyncio.to_thread(lambda: iter(list(storage.sessions())))
        erased = 0
        while some := tuple(islice(sessions, _LOOKED_AT_TOGETHER)):
            for session_id in await asyncio.to_thread(_due, storage, some, before):
                try:
                    await self._recorder.erase(session_id)
                except JournalFault:
                    raise
                except GatewayFault as fault:
                    log.warning("retention.not_erased", session=session_id, reason=fault.message)
                    continue
                erased += 1
                await asyncio.sleep(self._pause)
        if erased:
            log.info("retention.contents_erased", recordings=erased)
        return erased


def _due(storage: RecordingStorage, sessions: Sequence[str], before: int) -> list[str]:
    return list(_old(storage, sessions, before))


def _old(storage: RecordingStorage, sessions: Sequence[str], before: int) -> Iterator[str]:
    for session_id in sessions:
        file = storage.open(session_id)
        if file is None:
            continue
        with file:
            try:
                at = begun(file)
            except GatewayFault as fault:
                log.warning("retention.not_erased", session=session_id, reason=fault.message)
                continue
        if at is not None and at < before:
            yield session_id
