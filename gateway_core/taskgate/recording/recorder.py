"""The recorder of one gateway process: every session's records go through its one journal.

    recording = recorder.open(SessionHeader(...))      # and append(SESSION_OPENED, SessionOpened.of(...)) first
    seq = recording.append(RecordKind.ACTION, content) # buffered
    recorder.write()                                   # all buffered records are in the operating system
    await recorder.sync()                              # … on disk; many waiters share one fsync
    recording.close(reason)

Sealing (hash chain, encryption) happens in `write`; compression, recordings and checkpoints come later, in threads
(`upkeep.py`). `write` and `sync` raise JournalFault as long as the disk does not take records; nothing buffered is lost
and the first call after the disk is well again puts everything down.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from uuid_utils import uuid7

from taskgate.errors import JournalFault
from taskgate.recording.checkpoints import CheckpointLog, CheckpointSink
from taskgate.recording.disk import Disk
from taskgate.recording.framing import frame
from taskgate.recording.header import SALT_BYTES, SessionHeader
from taskgate.recording.journal import SEGMENT_BYTES, Entry, Journal, again
from taskgate.recording.keys import KeyWrapper, LocalKeyWrapper, SigningKey
from taskgate.recording.policy_texts import PolicyTexts
from taskgate.recording.recordings import Recordings
from taskgate.recording.segment import Segment
from taskgate.recording.session_key import SessionKey
from taskgate.recording.session_recording import Intake, SessionRecording
from taskgate.recording.storage import LocalFolder, RecordingStorage, safe_id
from taskgate.recording.upkeep import Upkeep

BUFFER_BYTES = 64 * 1024**2
HIGH_WATER = 4 * 1024**2  # small enough that sealing and writing so much is a matter of milliseconds
RECORDING_KEY = Path("keys") / "recording.key"
SIGNING_KEY = Path("keys") / "checkpoint.key"

__all__ = ["Recorder", "SessionHeader", "SessionRecording"]


class Recorder:
    """Not thread-safe; one event loop. `write` needs no loop, `sync` does."""

    def __init__(
        self,
        data_dir: Path,
        *,
        process_id: str | None = None,
        wrapper: KeyWrapper | None = None,
        storage: RecordingStorage | None = None,
        sinks: Sequence[CheckpointSink] = (),
        sync_interval: float = 0.1,
        checkpoint_interval: float = 5.0,
        segment_bytes: int = SEGMENT_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
        disk: Disk | None = None,
    ) -> None:
        """`sync_interval`: seconds within which every record is on disk even when nobody waits for it. Raises OSError,
        JournalFault, GatewayFault (a key that is not one)."""
        self.data_dir = data_dir
        self.process_id = process_id or f"gwp_{uuid7().hex}"
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.wrapper = wrapper or LocalKeyWrapper(data_dir / RECORDING_KEY)
        self.signing_key = SigningKey.at(data_dir / SIGNING_KEY)
        self.storage = storage or LocalFolder(data_dir / "recordings")
        self.checkpoints = CheckpointLog(data_dir, self.process_id, self.signing_key)
        self.journal = Journal(data_dir / "journal", self.process_id, segment_bytes=segment_bytes, disk=disk)
        self.pins: Counter[Segment] = Counter()  # sessions that have records in a segment and nowhere else
        self.sessions: dict[str, SessionRecording] = {}
        self._intake = Intake(buffer_bytes, self.journal)
        self._high_water = min(HIGH_WATER, buffer_bytes // 4)
        self._policies = PolicyTexts(data_dir)
        self._syncing: asyncio.Task[None] | None = None
        self._syncer = ThreadPoolExecutor(1, "taskgate-sync")
        self._salts = b""
        self._upkeep = Upkeep(self, sinks, sync_interval, checkpoint_interval)

    @property
    def fault(self) -> JournalFault | None:
        """Why records cannot be kept as they must be, now."""
        return self.journal.fault or self._upkeep.fault

    @property
    def healthy(self) -> bool:
        return self.fault is None

    @property
    def backlog(self) -> int:
        """Bytes that wait for the disk; at the buffer's bound `append` refuses."""
        return self._intake.queued_bytes + self.journal.unsettled_bytes

    @property
    def behind(self) -> bool:
        """So much waits for the disk that who records in bulk awaits `sync` before recording more."""
        return self.backlog > self._high_water

    @property
    def recordings(self) -> Recordings:
        return Recordings(self.data_dir, wrapper=self.wrapper, storage=self.storage)

    # --- the way of a record -----------------------------------------------------------------------------------

    def open(self, header: SessionHeader) -> SessionRecording:
        """Begin a session's recording, its first record being `session_opened`; what belongs to no session (a failed
        authentication) goes into a recording that the gateway process opens for itself. Raises JournalFault while
        unhealthy."""
        if self.fault is not None:
            raise again(self.fault)
        if header.session_id in self.sessions:
            raise JournalFault(f"taskgate: session {header.session_id} is being recorded already")
        key = SessionKey.new(safe_id(header.session_id), self.process_id, self.wrapper)
        recording = SessionRecording(header, key, self._intake, self.pins)
        self.sessions[header.session_id] = recording
        self._intake.queue.append((recording, None, 0, b"", b""))
        return recording

    def write(self) -> None:
        """Everything appended so far survives the death of this process. One system call. Raises JournalFault."""
        if self._intake.queue:
            self.seal()
        self.journal.write()

    def seal(self) -> None:
        """Chain and encrypt what was appended. No I/O."""
        intake = self._intake
        queue, intake.queue = intake.queue, []
        entries: list[Entry] = []
        salts, used = self._salts, 0
        if len(salts) < SALT_BYTES * len(queue):
            salts = os.urandom(SALT_BYTES * max(len(queue), 256))
        for recording, kind, time, content, prefix in queue:
            if kind is None:
                entries.append((recording, -1, frame(b"S" + recording.key.describe())))
                continue
            seq = recording.chain.next_seq
            plaintext = salts[used : used + SALT_BYTES] + content
            used += SALT_BYTES
            piece = recording.chain.seal(kind, time, plaintext, prefix, recording.key.aead.encrypt)
            entries.append((recording, seq, piece))
        self._salts = salts[used:]
        intake.queued_bytes = 0
        self.journal.add(entries)

    async def sync(self) -> None:
        """Everything appended so far is on disk. The loop is not blocked; concurrent callers share fsyncs. Raises
        JournalFault. After a fault it tries anew, on a fresh segment where an fsync had failed."""
        self.seal()
        self.journal.write(repair=True)
        wanted = self.journal.written
        while self.journal.synced < wanted:
            # One that is done but not cleared away yet would be waited for without ever letting the loop go on.
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.get_running_loop().create_task(self._sync_once())
                self._syncing.add_done_callback(self._sync_done)
            await asyncio.shield(self._syncing)

    async def _sync_once(self) -> None:
        job = self.journal.start_sync()
        await asyncio.get_running_loop().run_in_executor(self._syncer, job.run)
        self.journal.finish_sync(job)

    def _sync_done(self, task: asyncio.Task[None]) -> None:
        if self._syncing is task:
            self._syncing = None
        if not task.cancelled():
            task.exception()  # whoever waits raises it; with nobody waiting the journal's fault tells

    def policy_text(self, version: str, sources: Mapping[str, str]) -> None:
        """Keep the text of a policy before anything is decided by it. `sources`: path → text. Raises JournalFault."""
        self._policies.keep(version, sources)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what dead processes left (their sessions are closed, compiled and signed for), then begin
        upkeep."""
        await self._upkeep.start()

    async def checkpoint(self) -> None:
        """Sign for everything so far, now. Raises JournalFault."""
        await self._upkeep.checkpoint()

    async def settle(self) -> None:
        """Sign for and compile every closed session, now. Raises JournalFault, OSError."""
        await self._upkeep.settle()

    async def erase(self, session_id: str) -> None:
        """Delete the content of a finished session: its key and its sealed contents go, the chain stays and
        verifies; a checkpoint says so before it happens. Raises GatewayFault where there is no finished recording,
        JournalFault where it cannot be signed for (then nothing is erased), OSError where the rest is left to the next
        start."""
        await self._upkeep.erase(session_id)

    async def stop(self, reason: str = "gateway stopped") -> None:
        """Close every session, sign, compile, and let go. What the disk does not take stays for the next start."""
        for recording in list(self.sessions.values()):
            recording.close(reason)
        await self._upkeep.stop()
        self._syncer.shutdown()
        self.journal.close()
        if self._upkeep.done and not self.journal.pending:
            self.journal.discard()

    def dirty(self) -> bool:
        """Something waits for write or sync."""
        return bool(self._intake.queue) or self.journal.pending
