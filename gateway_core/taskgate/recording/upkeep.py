"""What goes on beside the sessions: syncing, checkpoints, compiling closed sessions, taking over from the dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from taskgate.errors import GatewayFault, JournalFault
from taskgate.recording.checkpoints import CheckpointSink, Recovered, SessionHead, read_checkpoints
from taskgate.recording.compiling import compile_finished
from taskgate.recording.erasure import Erasures
from taskgate.recording.pushing import Pusher
from taskgate.recording.recovery import Recovery

if TYPE_CHECKING:
    from taskgate.recording.recorder import Recorder
    from taskgate.recording.session_recording import SessionRecording

log = structlog.get_logger("taskgate.recording")

SIGNED_WITHIN = 1.0  # seconds until a session's beginning and end are signed for: many share a checkpoint
COMPILE_EVERY = 0.25
COMPILED_TOGETHER = 64
SYNC_RETRY_AFTER = 0.5
RETRY_AFTER = 1.0
TOLD_AFTER = 10.0  # seconds for which recordings cannot be written until the gateway counts as unwell
SEALED_KEPT = 4  # full segments that living sessions may hold; older ones are emptied into recording drafts


class Upkeep:
    def __init__(
        self, recorder: Recorder, sinks: Sequence[CheckpointSink], sync_interval: float, checkpoint_interval: float
    ) -> None:
        self._signing_fault: JournalFault | None = None  # a checkpoint could not be written
        self._compiling_fault: JournalFault | None = None  # recordings could not be written for a while
        self._recorder = recorder
        self._erasures = Erasures(recorder.storage, recorder.data_dir / "journal")
        self._pushers = [Pusher(sink) for sink in sinks]
        self._sync_interval = sync_interval
        self._checkpoint_interval = checkpoint_interval
        self._signing = asyncio.Lock()
        self._compiling = asyncio.Lock()
        self._signer = ThreadPoolExecutor(1, "taskgate-checkpoint")
        self._compiler = ThreadPoolExecutor(1, "taskgate-compile")
        self._finished: list[SessionRecording] = []  # closed and signed for, not compiled yet
        self._stuck: list[SessionRecording] = []  # cannot be compiled: their journal is damaged
        self._unreadable: set[str] = set()  # of these it is known, closed or not
        self._erasing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fault(self) -> JournalFault | None:
        return self._signing_fault or self._compiling_fault

    async def start(self) -> None:
        await self._take_over()
        await self._finish_erasures()
        loops = (self._keep_synced(), self._keep_signed(), self._keep_compiled())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._erasing, return_exceptions=True)
        try:
            await self.settle()
        except (OSError, GatewayFault) as error:
            log.critical("recording_left_for_recovery", error=str(error))
        for pusher in self._pushers:
            await pusher.stop()
        self._signer.shutdown()
        self._compiler.shutdown()

    # --- on disk within the interval ---------------------------------------------------------------------------

    async def _keep_synced(self) -> None:
        recorder, was_healthy, pause = self._recorder, True, 0.0
        while True:
            await asyncio.sleep(max(pause, self._sync_interval / 2))
            pause = 0.0
            if recorder.dirty() or recorder.journal.fault is not None:
                try:
                    await recorder.sync()
                except JournalFault:
                    # After a failed fsync each try writes all that is not durable once more: not too often.
                    pause = SYNC_RETRY_AFTER
            healthy = recorder.journal.fault is None
            if healthy != was_healthy:
                was_healthy = healthy
                if healthy:
                    log.info("journal_recovered")
                else:
                    log.critical("journal_fault", error=str(recorder.journal.fault))

    # --- checkpoints -------------------------------------------------------------------------------------------

    async def _keep_signed(self) -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(SIGNED_WITHIN / 2)
            urgent = any(one.closed or not one.signed for one in self._recorder.sessions.values())
            if urgent or monotonic() - last >= self._checkpoint_interval:
                last = monotonic()
                with contextlib.suppress(JournalFault):
                    await self.checkpoint()

    async def checkpoint(self) -> None:
        """Sign for everything appended so far. Nothing is signed for that is not on disk."""
        async with self._signing:
            recorder = self._recorder
            recorder.seal()
            for void in [one for one in recorder.sessions.values() if one.void]:
                del recorder.sessions[void.id]
                void.let_go()
            heads = [(one, one.head()) for one in recorder.sessions.values() if one.sealed > one.signed]
            if not heads:
                return
            await recorder.sync()
            await self._sign([head for _, head in heads])
            for recording, head in heads:
                recording.signed = head.seq + 1
                if head.state == "closed":
                    del recorder.sessions[recording.id]
                    self._finished.append(recording)

    async def _sign(
        self, heads: Sequence[SessionHead], *, recovered: Sequence[Recovered] = (), erased: Sequence[str] = ()
    ) -> None:
        call = partial(self._recorder.checkpoints.append, heads, recovered=recovered, erased=erased)
        try:
            checkpoint = await asyncio.get_running_loop().run_in_executor(self._signer, call)
        except JournalFault as fault:
            if self._signing_fault is None:
                log.critical("checkpoint_fault", error=str(fault))
            self._signing_fault = fault
            raise
        self._signing_fault = None
        for pusher in self._pushers:
            pusher.add(checkpoint.line)

    # --- recordings --------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Every session is closed, signed for and compiled."""
        return not (self._recorder.sessions or self._finished or self._stuck)

    async def settle(self) -> None:
        await self.checkpoint()
        await self._compile_finished()

    async def _keep_compiled(self) -> None:
        failing: float | None = None  # since when
        while True:
            await asyncio.sleep(COMPILE_EVERY)
            try:
                await self._compile_finished()
                await self._relieve()
            except OSError as error:
                failing = monotonic() if failing is None else failing
                log.critical("recording_cannot_be_written", error=str(error))
                if monotonic() - failing >= TOLD_AFTER:
                    self._compiling_fault = JournalFault(
                        f"taskgate: recordings cannot be written: {error.strerror or error}",
                        detail="What is recorded stays in the journal, which grows; no session is opened.",
                        hint="Free space or repair what holds the recordings; the gateway recovers by itself.",
                    )
                await asyncio.sleep(RETRY_AFTER)
            else:
                failing = self._compiling_fault = None

    async def _compile_finished(self) -> None:
        """Every session that is closed by now. Raises OSError once those that can be compiled are, and tries the others
        again the next time."""
        async with self._compiling:
            left, failure = len(self._finished), None
            while left:
                group = self._finished[: min(left, COMPILED_TOGETHER)]
                left -= len(group)
                jobs = [recording.job(finish=True) for recording in group]
                call = partial(compile_finished, jobs, self._recorder.storage)
                outcomes = await asyncio.get_running_loop().run_in_executor(self._compiler, call)
                del self._finished[: len(group)]
                for recording, job, fault in zip(group, jobs, outcomes, strict=True):
                    if fault is None:
                        recording.compiled(job)
                    elif isinstance(fault, OSError):
                        failure = failure or fault
                        self._finished.append(recording)  # behind the others, so that it holds up none
                    else:
                        self._damaged(recording, fault)
                        self._stuck.append(recording)
                if all(isinstance(fault, OSError) for fault in outcomes):
                    break  # no room, most likely: the others would fare no better
            self._remove_unpinned()
            if failure is not None:
                raise failure

    async def _relieve(self) -> None:
        """Empty the oldest full segments into drafts, so that a session that lives for weeks does not keep all that
        others wrote meanwhile."""
        async with self._compiling:
            for segment in self._recorder.journal.sealed[:-SEALED_KEPT]:
                for recording in list(self._recorder.sessions.values()):
                    if recording.in_segment(segment) and recording.id not in self._unreadable:
                        await self._save(recording)
            self._remove_unpinned()

    async def _save(self, recording: SessionRecording) -> None:
        """Raises OSError: try again later. Where the journal is damaged its segments stay for a human to look at."""
        job = recording.job(finish=False)
        try:
            await asyncio.get_running_loop().run_in_executor(self._compiler, job.run, self._recorder.storage)
        except GatewayFault as fault:
            self._damaged(recording, fault)
        else:
            recording.compiled(job)

    def _damaged(self, recording: SessionRecording, fault: GatewayFault) -> None:
        self._unreadable.add(recording.id)
        log.critical("journal_damaged", session=recording.id, error=str(fault))

    def _remove_unpinned(self) -> None:
        pins = self._recorder.pins
        for segment in self._recorder.journal.sealed:
            if not pins[segment]:
                self._recorder.journal.remove(segment)
                del pins[segment]

    async def erase(self, session_id: str) -> None:
        """What has begun goes on to its end, also where whoever asked for it is cancelled."""
        erasing = asyncio.create_task(self._erase(session_id))
        self._erasing.add(erasing)
        erasing.add_done_callback(self._erased)
        await asyncio.shield(erasing)

    async def _erase(self, session_id: str) -> None:
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self._compiler)
        async with self._compiling:
            held = await in_thread(self._erasures.lock)
            try:
                await in_thread(self._erasures.prepare, session_id)
                try:
                    async with self._signing:
                        await self._sign([], erased=[session_id])
                except JournalFault:
                    await in_thread(self._erasures.abandon, session_id)
                    raise
                await in_thread(self._erasures.finish, session_id)
            finally:
                os.close(held)

    def _erased(self, erasing: asyncio.Task[None]) -> None:
        self._erasing.discard(erasing)
        if not erasing.cancelled():
            erasing.exception()  # whoever waits raises it

    async def _finish_erasures(self) -> None:
        lines = read_checkpoints(self._recorder.checkpoints.path)
        try:
            await asyncio.get_running_loop().run_in_executor(self._compiler, self._erasures.finish_all, lines)
        except GatewayFault as fault:  # another process is erasing for long
            log.warning("erasures_not_looked_at", error=str(fault))

    # --- what dead processes left ------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        """Their sessions are closed and compiled, then signed for, and only then their journals go."""
        recorder, loop = self._recorder, asyncio.get_running_loop()
        journals, checkpoints = recorder.data_dir / "journal", recorder.checkpoints.path
        recovery = Recovery(journals, recorder.process_id, recorder.storage, recorder.wrapper, checkpoints)
        try:
            taken = await loop.run_in_executor(self._compiler, recovery.run)
            told = [one for one in taken if not one.empty]
            if told:
                heads = [head for one in told for head in one.heads]
                await self._sign(heads, recovered=[one.summary for one in told])
            for one in taken:
                if not one.empty:
                    log.warning("journal_taken_over", **asdict(one.summary))
                await loop.run_in_executor(self._compiler, one.discard)
        finally:
            recovery.release()
