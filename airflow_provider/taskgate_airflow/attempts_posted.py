"""Tells the gateway which task instances have just told Airflow how they ended, so that their credentials end at once.

In the background and in batches: no task waits for it. Where it cannot be told, the gateway finds out by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

_BATCH_EVERY = 0.25
_MOST_AT_ONCE = 500
_MOST_WAITING = 5000

log = structlog.get_logger(__name__)


class AttemptsPostedReporter:
    """Collects attempts for `every` seconds, then has `tell` say them all: in a thread, as it may block. One an event
    loop."""

    def __init__(self, tell: Callable[[list[str]], None], *, every: float = _BATCH_EVERY) -> None:
        self._tell = tell
        self._every = every
        self._waiting: dict[str, None] = {}  # in order, each once
        self._sending: asyncio.Task[None] | None = None

    def posted(self, attempt_id: str) -> None:
        """Never blocks and never raises."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting[attempt_id] = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="taskgate-attempts-posted")

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._every)
            batch = list(self._waiting)[:_MOST_AT_ONCE]
            for attempt_id in batch:
                del self._waiting[attempt_id]
            try:
                await asyncio.to_thread(self._tell, batch)
            except Exception as error:  # noqa: BLE001  the gateway reconciles by itself, and no request may fail for it
                log.warning(
                    "taskgate: the gateway could not be told of attempts that ended, and finds out by itself",
                    attempts=len(batch),
                    error=type(error).__name__,
                )
