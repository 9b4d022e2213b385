"""Attempts that hold, or held, a credential: looked at again and again until their orchestrator says they are over.

Every gateway process on a store looks; `due` gives each attempt to one of them at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Update, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from taskgate.domain import Attempt, TaskKey
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import attempts


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """A run that has a process, in its `generation`."""

    run_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class KnownAttempt:
    """An attempt as the gateway knows it, first seen at `began_at`. `generation` is what the orchestrator said then:
    another number later means that the task was started over. `process` is the run that it goes on in, its own or, for
    a subflow, another, as it was when it was first seen."""

    id: str
    task: TaskKey
    owner_key: str
    try_number: int
    generation: int
    process: ProcessRun
    began_at: datetime
    over_at: datetime | None = None

    @property
    def alive(self) -> bool:
        return self.over_at is None

    @property
    def of_run(self) -> bool:
        """What it asks people for belongs to its run, not to one task of it."""
        return not self.task.task_id or self.owner_key != f"task:{self.task}"


def now_over(attempt_id: str, because: str) -> Update:
    """For a transaction; changes a row where that was not known already."""
    change = update(attempts).where(attempts.c.id == attempt_id, attempts.c.over_at.is_(None))
    return change.values(over_at=database_time(), over_because=because)


def why_over(attempt_id: str) -> Select[Any]:
    """For a transaction: why the attempt is over; None where it is not. Until the transaction ends nobody ends it."""
    return select(attempts.c.over_because).where(attempts.c.id == attempt_id).with_for_update(read=True)


class Attempts:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(
        self, attempt: Attempt, *, generation: int, check_in: float, process: ProcessRun | None = None
    ) -> bool:
        """It lives, by its orchestrator's own word just now. False where the id is known as another task's: then nobody
        would look after this one. `process`: where that is another run."""
        now, task = database_time(), attempt.task
        change = (
            update(attempts)
            .where(attempts.c.id == attempt.id, attempts.c.owner_key == attempt.owner_key)
            .values(seen_at=now, over_at=None, over_because=None)
        )
        first = insert(attempts).values(
            id=attempt.id, source=task.source, dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id,
            map_index=task.map_index, owner_key=attempt.owner_key, try_number=attempt.try_number, generation=generation,
            process_run_id=process.run_id if process else None,
            process_generation=process.generation if process else None,
            began_at=now, seen_at=now, check_at=database_time(check_in),
        )  # fmt: skip
        if await self._changed(change):
            return True
        with contextlib.suppress(IntegrityError):
            async with self._database.statement(writes=True) as connection:
                await connection.execute(first)
            return True
        return await self._changed(change)  # another process saw it at the same moment

    async def get(self, attempt_id: str) -> KnownAttempt | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(select(attempts).where(attempts.c.id == attempt_id))).one_or_none()
        return _known(row) if row else None

    async def due(self, source: str, *, check_in: float, limit: int = 500) -> list[KnownAttempt]:
        """Those to look at now; nobody else gets them for `check_in` seconds."""
        alive = (attempts.c.source == source) & attempts.c.over_at.is_(None)
        some = select(attempts.c.id).where(alive, attempts.c.check_at <= database_time()).limit(limit)
        async with self._database.statement() as connection:  # mostly there are none, and then nobody has to write
            if (await connection.execute(some.limit(1))).first() is None:
                return []
        batch = some.with_for_update(skip_locked=True).cte("batch")
        taken = update(attempts).where(attempts.c.id.in_(select(batch.c.id)))
        taken = taken.values(check_at=database_time(check_in)).returning(*attempts.c)
        async with self._database.statement(writes=True) as connection:
            rows = (await connection.execute(taken)).all()
        return [_known(row) for row in rows]

    async def alive(self, attempt_ids: Iterable[str]) -> None:
        """They were found alive just now."""
        change = update(attempts).where(attempts.c.id.in_(list(attempt_ids)), attempts.c.over_at.is_(None))
        async with self._database.statement(writes=True) as connection:
            await connection.execute(change.values(seen_at=database_time()))

    async def lost(self, source: str, seconds: float) -> list[KnownAttempt]:
        """Those that nobody has been able to look at for so long."""
        query = select(attempts).where(
            attempts.c.source == source, attempts.c.over_at.is_(None), attempts.c.seen_at < database_time(-seconds)
        )
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.limit(500))).all()
        return [_known(row) for row in rows]

    async def process_of(self, owner_key: str) -> ProcessRun | None:
        """The process in which the first attempt of this owner was seen."""
        query = select(attempts).where(attempts.c.owner_key == owner_key).order_by(attempts.c.began_at).limit(1)
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _known(row).process if row else None

    async def alive_of_run(self, source: str, run_id: str) -> list[KnownAttempt]:
        """Of all tasks of a run, and of what goes on in its process."""
        of_run = (attempts.c.run_id == run_id) | (attempts.c.process_run_id == run_id)
        query = select(attempts).where(attempts.c.source == source, of_run, attempts.c.over_at.is_(None))
        async with self._database.statement() as connection:
            return [_known(row) for row in (await connection.execute(query)).all()]

    async def latest(self, owner_key: str) -> KnownAttempt | None:
        """The last attempt of a task that was seen."""
        query = select(attempts).where(attempts.c.owner_key == owner_key).order_by(attempts.c.began_at.desc()).limit(1)
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _known(row) if row else None

    async def _changed(self, change: Update) -> bool:
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(change)).rowcount == 1

    async def count_alive(self) -> int:
        query = select(func.count()).select_from(attempts).where(attempts.c.over_at.is_(None))
        async with self._database.statement() as connection:
            return int((await connection.execute(query)).scalar_one())


def _known(row: Any) -> KnownAttempt:
    task = TaskKey(row.source, row.dag_id, row.run_id, row.task_id, row.map_index)
    process = ProcessRun(row.run_id, row.generation)
    if row.process_run_id is not None:
        process = ProcessRun(row.process_run_id, row.process_generation)
    return KnownAttempt(
        row.id, task, row.owner_key, row.try_number, row.generation, process, row.began_at, row.over_at
    )  # fmt: skip
