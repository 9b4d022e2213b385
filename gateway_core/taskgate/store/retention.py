"""What is over does not stay in the store for ever, where the settings say so.

Rows go a few at a time, each few in a transaction of its own with a pause after it: on SQLite nobody else writes
meanwhile, and a session that opens must not wait for a year's worth of rows. Several processes may do it at once: on
PostgreSQL each passes over the rows that another one has. Ages are judged by the database's clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Table, and_, delete, or_, select

from taskgate.domain import ApprovalState
from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import approvals, attempts, credentials, processes, registered_runs, sessions

log = structlog.get_logger(__name__)

EVERY = 3600.0
BATCH = 100  # a session has up to 256 pairs, which go with it
PAUSE = 0.2
_PROCESSES_KEPT = 30 * 86_400.0
_ATTEMPTS_KEPT = 30 * 86_400.0
_OVER = tuple(state.value for state in ApprovalState if state is not ApprovalState.PENDING)


@dataclass(frozen=True, slots=True)
class KeptFor:
    """Seconds after their end: a session's close, the later of an approval's decision and expiry, a credential's
    expiry. None: for ever."""

    sessions: float | None = None
    approvals: float | None = None
    credentials: float | None = None


class Retention:
    """One a process. `run` beside everything else."""

    def __init__(self, database: Database, kept: KeptFor, *, every: float = EVERY, pause: float = PAUSE) -> None:
        self._database = database
        self._kept = kept
        self._every = every
        self._pause = pause

    async def run(self) -> None:
        """Apply it now and then, until cancelled; an unreachable store is logged and tried again. Not right at the
        start, and not at the same time as processes that started together with this one."""
        while True:
            await asyncio.sleep(self._every * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                await self.apply()
            except StoreFault as fault:
                log.warning("retention.store_unreachable", reason=fault.detail)

    async def apply(self) -> dict[str, int]:
        """Forget all that is due; returns how many rows of which table. Raises StoreFault."""
        forgotten = {table.name: await self._forget(table, due) for table, due in self._due()}
        if any(forgotten.values()):
            log.info("retention.applied", **forgotten)
        return forgotten

    def _due(self) -> Iterator[tuple[Table, ColumnElement[bool]]]:
        """Each condition begins with what an index finds."""
        kept = self._kept
        if kept.sessions is not None:
            before = database_time(-kept.sessions)
            yield sessions, and_(sessions.c.opened_at < before, sessions.c.closed_at < before)
        if kept.approvals is not None:
            before = database_time(-kept.approvals)
            decided = or_(approvals.c.decided_at.is_(None), approvals.c.decided_at < before)
            yield approvals, and_(approvals.c.state.in_(_OVER), approvals.c.expires_at < before, decided)
        if kept.credentials is not None:
            yield credentials, credentials.c.expires_at < database_time(-kept.credentials)
        # What an attempt held has ended with it; a request that outlives it by so long has expired.
        yield attempts, attempts.c.over_at < database_time(-_ATTEMPTS_KEPT)
        # A run that goes on for longer keeps its token: none of these has one, or it has ended.
        idle = or_(registered_runs.c.ended_at.is_not(None), registered_runs.c.token_hash.is_(None))
        yield registered_runs, and_(registered_runs.c.registered_at < database_time(-_ATTEMPTS_KEPT), idle)
        # Whoever has been silent for so long has no session left, and its sessions have been closed.
        yield processes, processes.c.heartbeat_at < database_time(-_PROCESSES_KEPT)

    async def _forget(self, table: Table, due: ColumnElement[bool]) -> int:
        # A CTE that locks is read once; PostgreSQL may run a subquery again and again, and each time find others.
        batch = select(table.c.id).where(due).limit(BATCH).with_for_update(skip_locked=True).cte("batch")
        some = delete(table).where(table.c.id.in_(select(batch.c.id))).returning(table.c.id)
        forgotten = 0
        while True:
            async with self._database.statement(writes=True) as connection:
                gone = len((await connection.execute(some)).all())  # SQLite's driver counts no rows behind a CTE
            forgotten += gone
            if gone < BATCH:
                return forgotten
            await asyncio.sleep(self._pause)
