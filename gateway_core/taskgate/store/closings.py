"""The ends of sessions on their way into the index: many in one transaction, a moment later, again until it succeeds.

A connection's end waits for nobody, so it costs no transaction of its own. Should the process die in between, what is
missing is what `SessionIndex.close_abandoned` puts in: the recording has the session's true end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic

import structlog
from sqlalchemy import Float, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Pair
from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import sessions
from taskgate.store.tallies import SessionCounts, add_pairs, storable

log = structlog.get_logger(__name__)

WRITE_EVERY = 0.15  # seconds
RETRY_AFTER = 1.0
MOST_WAITING = 100_000
_A_TRANSACTION = 500


@dataclass(frozen=True, slots=True)
class Closing:
    """`at`: monotonic seconds."""

    session_id: str
    reason: str
    counts: SessionCounts
    pairs: frozenset[Pair]
    at: float


# The first end stays, and what was counted until then.
_CLOSE = (
    update(sessions)
    .where(sessions.c.id == bindparam("session_id"), sessions.c.closed_at.is_(None))
    .values(
        closed_at=database_time(bindparam("moved", type_=Float())),
        closed_reason=bindparam("reason"),
        **{name: bindparam(f"new_{name}") for name in ("actions", "refused", "rows", "masked")},
    )
)


class Closings:
    """One event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Closing] = deque()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def add(self, session_id: str, reason: str, counts: SessionCounts, pairs: Iterable[Pair]) -> None:
        """Takes no time and never fails. Where the store has been away for so long that too many wait, the session
        stays open in the index until this process is gone."""
        if len(self._waiting) >= MOST_WAITING:
            log.warning("session.not_indexed", session=session_id, reason="too many wait for the store")
            return
        self._waiting.append(Closing(session_id, reason, counts, frozenset(pairs), monotonic()))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep_writing())

    async def _keep_writing(self) -> None:
        pause = WRITE_EVERY
        while self._waiting:
            await asyncio.sleep(pause)
            pause = WRITE_EVERY
            try:
                await self.write()
            except StoreFault as fault:
                log.warning("session.index_behind", waiting=len(self._waiting), reason=fault.message)
                pause = RETRY_AFTER

    async def write(self) -> None:
        """Everything that waits is in the index when this returns. Raises StoreFault, with what it could not write
        waiting on."""
        async with self._writing:
            while self._waiting:
                some = list(islice(self._waiting, _A_TRANSACTION))
                async with self._database.transaction() as connection:
                    await _write(connection, some)
                for _ in some:
                    self._waiting.popleft()

    async def stop(self) -> None:
        """Write what waits, once. Raises StoreFault; what is left is for `close_abandoned`."""
        try:
            await self.write()
        finally:
            if self._task is not None:
                self._task.cancel()


async def _write(connection: AsyncConnection, closings: Sequence[Closing]) -> None:
    now = monotonic()
    ends = [
        {
            "session_id": closing.session_id, "reason": storable(closing.reason), "moved": round(closing.at - now, 3),
            "new_actions": closing.counts.actions, "new_refused": closing.counts.refused,
            "new_rows": closing.counts.rows, "new_masked": closing.counts.masked,
        }
        for closing in closings
    ]  # fmt: skip
    await connection.execute(_CLOSE, ends)
    await add_pairs(connection, [(closing.session_id, closing.pairs) for closing in closings])
