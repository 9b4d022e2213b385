"""Flow runs that a worker has made known: by a secret that works once, then by the token it was exchanged for.

Only hashes are stored. Times are the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from taskgate.identity.secret_tokens import matches, new_secret, secret_hash, split_token
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.tables import registered_runs


@dataclass(frozen=True, slots=True)
class RegisteredRun:
    """A flow run of `source`. `by_token`: proven by its token; else by the one-time secret, used before or not."""

    id: str
    source: str
    flow_run_id: str
    by_token: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker gets: the secret (`tgr_….<secret>`), which nobody can ask for again, and until when it works."""

    id: str
    secret: str
    expires_at: datetime


class RegisteredRuns:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, source: str, flow_run_id: str, by: str, ttl: float) -> Registration:
        """`ttl` in seconds. Of a run only the last registration counts: it is started once at a time."""
        run_id, secret = new_id(IdPrefix.RUN), new_secret()
        earlier = update(registered_runs).where(
            registered_runs.c.source == source,
            registered_runs.c.flow_run_id == flow_run_id,
            registered_runs.c.ended_at.is_(None),
        )
        row = insert(registered_runs).values(
            id=run_id, source=source, flow_run_id=flow_run_id, secret_hash=secret_hash(secret), registered_by=by,
            registered_at=database_time(), expires_at=database_time(ttl),
        )  # fmt: skip
        async with self._database.transaction() as connection:
            await connection.execute(
                earlier.values(ended_at=database_time(), ended_because="the run was started again")
            )
            expires_at = (await connection.execute(row.returning(registered_runs.c.expires_at))).scalar_one()
        return Registration(run_id, f"{run_id}.{secret}", expires_at)

    async def find(self, token: str) -> RegisteredRun | None:
        """Whose token this is, while it counts, or whose one-time secret, whether or not it still works."""
        parts = split_token(token)
        if parts is None or not is_id(IdPrefix.RUN, parts[0]):
            return None
        async with self._database.statement() as connection:
            query = select(registered_runs).where(registered_runs.c.id == parts[0])
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if matches(parts[1], row.secret_hash):
            return _run(row, by_token=False)
        if row.ended_at is None and row.token_hash is not None and matches(parts[1], row.token_hash):
            return _run(row, by_token=True)
        return None

    async def exchange(self, run_id: str) -> str | None:
        """The run's token, once; None where its secret was used before, is too old, or the run has ended."""
        secret = new_secret()
        change = (
            update(registered_runs)
            .where(
                registered_runs.c.id == run_id,
                registered_runs.c.token_hash.is_(None),
                registered_runs.c.ended_at.is_(None),
                registered_runs.c.expires_at > database_time(),
            )
            .values(token_hash=secret_hash(secret), exchanged_at=database_time())
        )
        async with self._database.transaction() as connection:
            first = (await connection.execute(change)).rowcount == 1
        return f"{run_id}.{secret}" if first else None

    async def end(self, run_id: str, because: str) -> None:
        """From now on it proves nothing."""
        await self._end(registered_runs.c.id == run_id, because)

    async def over(self, source: str, flow_run_id: str, because: str) -> None:
        """The same, whatever was registered for the flow run."""
        run = (registered_runs.c.source == source) & (registered_runs.c.flow_run_id == flow_run_id)
        await self._end(run, because)

    async def _end(self, which: Any, because: str) -> None:
        change = update(registered_runs).where(which, registered_runs.c.ended_at.is_(None))
        async with self._database.statement(writes=True) as connection:
            await connection.execute(change.values(ended_at=database_time(), ended_because=because))


def _run(row: Any, *, by_token: bool) -> RegisteredRun:
    return RegisteredRun(row.id, row.source, row.flow_run_id, by_token)
