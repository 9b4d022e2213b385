"""Tells the gateway which task instances have just told Airflow how they ended, so that their credentials end at once.

Airflow's answer to the task waits for it, a moment: its callbacks run once it has that answer, and may only read from
then on. In batches; a gateway that does not answer holds nobody up for long, and then nobody at all for a while. It
finds out by itself what it was not told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

_BATCH_EVERY = 0.02
_MOST_AT_ONCE = 500
_MOST_WAITING = 5000
_PATIENCE = 2.0  # of five seconds that a task's supervisor waits for Airflow's answer
_LEFT_ALONE_FOR = 30.0

log = structlog.get_logger(__name__)


class AttemptsPostedReporter:
    """Collects attempts for `every` seconds, then has `tell` say them all: in a thread, as it may block. One an event
    loop."""

    def __init__(self, tell: Callable[[list[str]], None], *, every: float = _BATCH_EVERY) -> None:
        self._tell = tell
        self._every = every
        self._waiting: dict[str, asyncio.Event] = {}  # in order, each once
        self._sending: asyncio.Task[None] | None = None
        self._away_until = float("-inf")

    async def posted(self, attempt_id: str) -> None:
        """Returns once the gateway knows, or does not answer. Never raises."""
        if len(self._waiting) >= _MOST_WAITING:
            return
        told = self._waiting.setdefault(attempt_id, asyncio.Event())
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="taskgate-attempts-posted")
        if time.monotonic() < self._away_until:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await told.wait()
        except TimeoutError:
            self._away_until = time.monotonic() + _LEFT_ALONE_FOR

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._every)
            batch = list(self._waiting)[:_MOST_AT_ONCE]
            told = [self._waiting.pop(attempt_id) for attempt_id in batch]
            try:
                await asyncio.to_thread(self._tell, batch)
                self._away_until = float("-inf")
            except Exception as error:  # noqa: BLE001  the gateway reconciles by itself, and no request may fail for it
                self._away_until = time.monotonic() + _LEFT_ALONE_FOR
                log.warning(
                    "taskgate: the gateway could not be told of attempts that ended, and finds out by itself",
                    attempts=len(batch),
                    error=type(error).__name__,
                )
            finally:
                for one in told:
                    one.set()
