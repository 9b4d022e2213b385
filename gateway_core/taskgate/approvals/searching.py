"""Finding approvals: by id, by many ids, by what they are about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from taskgate.approvals.rows import approval_from_row
from taskgate.domain import Approval, ApprovalState, PrincipalKind
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix
from taskgate.store.pages import Page, page
from taskgate.store.tables import approvals, grant_uses


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """What `search` returns; every given field must match, of `states` any one. `source`: asked for by tasks of this
    orchestrator (with `state` pending that reads the few that are pending, however many there have been)."""

    state: ApprovalState | None = None
    states: tuple[ApprovalState, ...] = ()
    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    target: str | None = None
    owner_key: str | None = None
    session_id: str | None = None
    digest: str | None = None


class Searching:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, approval_id: str) -> Approval | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(select(approvals).where(approvals.c.id == approval_id))).one_or_none()
        return approval_from_row(row) if row else None

    async def states(self, approval_ids: Collection[str]) -> dict[str, ApprovalState]:
        """How these stand now, by id; without those that there are not."""
        query = select(approvals.c.id, approvals.c.state).where(approvals.c.id.in_(approval_ids))
        async with self._database.statement() as connection:
            return {row.id: ApprovalState(row.state) for row in (await connection.execute(query)).all()}

    async def used_in(self, approval_ids: Collection[str], each: int = 20) -> dict[str, list[str]]:
        """The sessions in which their grants were used, by id; of one the last `each`."""
        place = func.row_number().over(partition_by=grant_uses.c.approval_id, order_by=grant_uses.c.id.desc())
        found = select(grant_uses, place.label("place")).where(grant_uses.c.approval_id.in_(approval_ids)).subquery()
        query = select(found.c.approval_id, found.c.session_id).where(found.c.place <= each).order_by(found.c.id)
        used: dict[str, list[str]] = {}
        async with self._database.statement() as connection:
            for row in (await connection.execute(query)).all():
                used.setdefault(row.approval_id, []).append(row.session_id)
        return used

    async def search(
        self, filters: ApprovalFilter = ApprovalFilter(), cursor: str | None = None, limit: int = 50
    ) -> Page[Approval]:
        """Newest first. Raises InvalidCursor."""
        query = select(approvals)
        for column, wanted in (
            (approvals.c.state, filters.state.value if filters.state else None),
            (approvals.c.dag_id, filters.dag_id),
            (approvals.c.run_id, filters.run_id),
            (approvals.c.task_id, filters.task_id),
            (approvals.c.target, filters.target),
            (approvals.c.owner_key, filters.owner_key),
            (approvals.c.session_id, filters.session_id),
            (approvals.c.digest, filters.digest),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if filters.states:
            query = query.where(approvals.c.state.in_([state.value for state in filters.states]))
        if filters.source is not None:
            asker = approvals.c.principal
            query = query.where(
                asker["kind"].as_string() == PrincipalKind.TASK.value, asker["source"].as_string() == filters.source
            )
        async with self._database.statement() as connection:
            return await page(connection, query, approvals.c.id, IdPrefix.APPROVAL, approval_from_row, cursor, limit)
