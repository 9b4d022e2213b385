"""What the end of an attempt does: to what it was issued, and to what it has asked people for."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import structlog

from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.over import Over
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.store.attempts import Attempts, KnownAttempt

log = structlog.get_logger(__name__)

CALLBACKS = 60.0
"""Seconds that the callbacks of an attempt may go on reading, where the task itself has told how it ended."""
UNTOLD = 10.0
"""Seconds where nobody has told: then it may have been cleared, marked or killed, and its process may still run."""


class Requests(Protocol):
    """Approvals, as far as an attempt's end concerns them."""

    async def withdraw_all(self, owner_key: str, reason: str) -> int: ...


class Endings:
    """Ends attempts. Every call may be repeated."""

    def __init__(
        self, attempts: Attempts, credentials: Credentials, requests: Requests, registered: RegisteredRuns
    ) -> None:
        self._attempts = attempts
        self._credentials = credentials
        self._requests = requests
        self._registered = registered

    async def end(self, attempt: KnownAttempt, over: Over, *, told: bool) -> None:
        """`told`: by the task itself, through its orchestrator. Raises StoreFault."""
        seconds = CALLBACKS if told else UNTOLD
        first, confined = await self._credentials.end_attempt(attempt.id, over.because, seconds)
        if told and not first:
            confined += await self._lengthened(attempt)
        if told and confined:
            await self._credentials.settled()  # whoever tells goes on when this returns, and with it the callbacks
        if not first:
            return
        withdrawn = 0
        if over.withdraws:
            if not await self._again(attempt):
                withdrawn = await self._requests.withdraw_all(attempt.owner_key, over.because)
            if attempt.of_run:
                task, began = attempt.task, attempt.began_at
                await self._registered.over(task.source, task.run_id, over.because, began_by=began)
        log.info(
            "attempt.over", attempt=attempt.id, task=str(attempt.task), because=over.because, credentials=confined,
            withdrawn=withdrawn,
        )  # fmt: skip

    async def _again(self, attempt: KnownAttempt) -> bool:
        """Whether a later try, or a later start of the run, may have asked for the same, and waits."""
        latest = await self._attempts.latest(attempt.owner_key)
        if latest is None or latest.id == attempt.id:
            return False
        return latest.generation > attempt.generation if attempt.of_run else True

    async def _lengthened(self, attempt: KnownAttempt) -> int:
        """It was found over before it was told: its callbacks have what they would have had, counted from then. Being
        told again and again gains nothing."""
        known = await self._attempts.get(attempt.id)
        if known is None or known.over_at is None:
            return 0
        return await self._credentials.lengthen_confinement(attempt.id, known.over_at + timedelta(seconds=CALLBACKS))
