"""Flow runs that a worker has made known: by a secret that works once, then by the token it was exchanged for.

Only hashes are stored. Times are the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, insert, select, update

from taskgate.domain import AttributeValue
from taskgate.identity.secret_tokens import matches, new_secret, secret_hash, split_token
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.principals import attributes_from_json, attributes_to_json
from taskgate.store.tables import registered_runs


@dataclass(frozen=True, slots=True)
class RegisteredRun:
    """A flow run of `source`. `facts` are what its orchestrator said of it when it was registered. `by_token`: proven
    by its token; else by the one-time secret, used before or not."""

    id: str
    source: str
    flow_run_id: str
    by_token: bool
    facts: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker gets: the secret (`tgr_….<secret>`), which nobody can ask for again, and until when it works.
    `instead_of`: who had registered the run before, for a secret that still worked and nobody had used."""

    id: str
    secret: str = field(repr=False)
    expires_at: datetime
    instead_of: str | None = None


class SecretRefused(StrEnum):
    """Why a one-time secret gives no token."""

    USED = "used"
    EXPIRED = "expired"
    RUN_ENDED = "run ended"  # it was registered again since, or is over


def run_ended(run_id: str, because: str) -> Update:
    """For a transaction; changes a row where the run still proved something."""
    return _ended(registered_runs.c.id == run_id, because)


def why_run_ended(run_id: str) -> Select[Any]:
    """For a transaction: why the run proves nothing any more; None while it does. Until the transaction ends nobody
    ends it."""
    query = select(registered_runs.c.ended_because).where(registered_runs.c.id == run_id)
    return query.with_for_update(read=True)


class RegisteredRuns:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self, source: str, flow_run_id: str, facts: Mapping[str, AttributeValue], by: str, ttl: float
    ) -> Registration:
        """`ttl` in seconds. Of a run only the last registration counts: it is started once at a time."""
        run_id, secret = new_id(IdPrefix.RUN), new_secret()
        row = insert(registered_runs).values(
            id=run_id, source=source, flow_run_id=flow_run_id, facts=attributes_to_json(facts),
            secret_hash=secret_hash(secret), registered_by=by, registered_at=database_time(),
            expires_at=database_time(ttl),
        )  # fmt: skip
        unused = select(registered_runs.c.registered_by).where(
            _of(source, flow_run_id), registered_runs.c.ended_at.is_(None), registered_runs.c.token_hash.is_(None),
            registered_runs.c.expires_at > database_time(),
        )  # fmt: skip
        async with self._database.transaction() as connection:
            before = (await connection.execute(unused)).scalar_one_or_none()
            await connection.execute(_ended(_of(source, flow_run_id), "the run was registered again"))
            expires_at = (await connection.execute(row.returning(registered_runs.c.expires_at))).scalar_one()
        return Registration(run_id, f"{run_id}.{secret}", expires_at, before)

    async def find(self, token: str) -> RegisteredRun | None:
        """Whose token this is, while it counts, or whose one-time secret, whether or not it still works."""
        parts = split_token(token)
        row = await self._row(parts[0]) if parts else None
        if parts is None or row is None:
            return None
        if matches(parts[1], row.secret_hash):
            return _run(row, by_token=False)
        if row.ended_at is None and row.token_hash is not None and matches(parts[1], row.token_hash):
            return _run(row, by_token=True)
        return None

    async def exchange(self, run_id: str) -> str | SecretRefused:
        """The run's token, once."""
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
            if (await connection.execute(change)).rowcount == 1:
                return f"{run_id}.{secret}"
        row = await self._row(run_id)
        if row is None or row.token_hash is not None:
            return SecretRefused.USED
        return SecretRefused.EXPIRED if row.ended_at is None else SecretRefused.RUN_ENDED

    async def end(self, run_id: str, because: str) -> None:
        """From now on it proves nothing."""
        async with self._database.statement(writes=True) as connection:
            await connection.execute(run_ended(run_id, because))

    async def over(self, source: str, flow_run_id: str, because: str, *, began_by: datetime) -> None:
        """The same, whatever was registered for the flow run until then: somebody may have started it again since."""
        which = _of(source, flow_run_id) & (registered_runs.c.registered_at <= began_by)
        async with self._database.statement(writes=True) as connection:
            await connection.execute(_ended(which, because))

    async def live(self, source: str, after: str = "", limit: int = 500) -> Sequence[tuple[str, str]]:
        """Runs that still prove something, or may: their ids here (those after `after`) and their flow runs' ids."""
        query = select(registered_runs.c.id, registered_runs.c.flow_run_id).where(
            registered_runs.c.source == source, registered_runs.c.ended_at.is_(None), registered_runs.c.id > after
        )
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.order_by(registered_runs.c.id).limit(limit))).all()
        return [(row.id, row.flow_run_id) for row in rows]

    async def _row(self, run_id: str) -> Any:
        if not is_id(IdPrefix.RUN, run_id):
            return None
        async with self._database.statement() as connection:
            query = select(registered_runs).where(registered_runs.c.id == run_id)
            return (await connection.execute(query)).one_or_none()


def _of(source: str, flow_run_id: str) -> ColumnElement[bool]:
    return (registered_runs.c.source == source) & (registered_runs.c.flow_run_id == flow_run_id)


def _ended(which: ColumnElement[bool], because: str) -> Update:
    change = update(registered_runs).where(which, registered_runs.c.ended_at.is_(None))
    return change.values(ended_at=database_time(), ended_because=because)


def _run(row: Any, *, by_token: bool) -> RegisteredRun:
    return RegisteredRun(row.id, row.source, row.flow_run_id, by_token, attributes_from_json(row.facts))
