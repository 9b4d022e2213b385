"""Checkpoints on their way to an outside sink: in order, again until they arrive, never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import structlog

from taskgate.recording.checkpoints import CheckpointSink

log = structlog.get_logger("taskgate.recording")

WAITING = 10_000  # lines kept for a sink that is away; the checkpoint file has them all
RETRY_AFTER = 2.0
STOP_WITHIN = 5.0


class Pusher:
    def __init__(self, sink: CheckpointSink) -> None:
        self._sink = sink
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._thread = ThreadPoolExecutor(1, "taskgate-push")
        self._task: asyncio.Task[None] | None = None

    def add(self, line: bytes) -> None:
        if len(self._waiting) == WAITING:
            log.critical("checkpoint_not_pushed", sink=type(self._sink).__name__, reason="too many wait")
        self._waiting.append(line)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._sink.push, line)
            except Exception as error:  # noqa: BLE001  a sink is foreign code: whatever it raises means "again later"
                log.warning("checkpoint_push_failed", sink=type(self._sink).__name__, error=type(error).__name__)
                await asyncio.sleep(RETRY_AFTER)
                continue
            if self._waiting and self._waiting[0] is line:
                self._waiting.popleft()

    async def stop(self) -> None:
        """Give what waits a moment to arrive."""
        if self._task is not None and not self._task.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), STOP_WITHIN)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False)
