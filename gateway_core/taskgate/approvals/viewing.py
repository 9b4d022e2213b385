"""Who sees what of an approval. Its bound parameters are sealed: until the decision only those who may make it see
them, afterwards also who may read records; every view is recorded before anything is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from taskgate.approvals.entitlement import Entitlement
from taskgate.approvals.rows import terms_from_json
from taskgate.approvals.sealing import ParameterSeal
from taskgate.domain import Approval, ApprovalState, Parameter
from taskgate.errors import ClientFault, PolicyRefusal
from taskgate.identity.scopes import Scope
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import approval_views, approvals


@dataclass(frozen=True, slots=True)
class View:
    """Somebody was shown the parameters. `viewer_id` is their API key's id."""

    viewer_id: str
    viewer: str
    viewed_at: datetime


class Viewing:
    def __init__(self, database: Database, entitlement: Entitlement, seal: ParameterSeal) -> None:
        self._database = database
        self._entitlement = entitlement
        self._seal = seal

    async def obstacles(self, approver_id: str, asked: Sequence[Approval]) -> dict[str, str]:
        """For those of these approvals that this key may not decide: why, by approval id. Being decided already is no
        obstacle of the key's."""
        found: dict[str, str] = {}
        async with self._database.statement() as connection:
            approver = await self._entitlement.approver(connection, approver_id)
            rows = select(approvals.c.id, approvals.c.terms, approvals.c.parties).where(
                approvals.c.id.in_([approval.id for approval in asked])
            )
            for row in (await connection.execute(rows)).all():
                terms = terms_from_json(row.terms)
                if obstacle := await self._entitlement.obstacle(connection, approver, terms, row.parties):
                    found[row.id] = obstacle
        return found

    async def parameters(self, approval_id: str, viewer_id: str) -> tuple[Parameter, ...]:
        """As the client bound them. Raises PolicyRefusal where this viewer may not see them."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(approvals).where(approvals.c.id == approval_id))).one_or_none()
            if row is None:
                raise ClientFault("There is no such approval.")
            viewer = await self._entitlement.approver(connection, viewer_id)
            terms = terms_from_json(row.terms)
            obstacle = await self._entitlement.obstacle(connection, viewer, terms, row.parties)
            reads_records = viewer is not None and viewer.permits(Scope.RECORDS_READ)
            if viewer is None or (obstacle and (row.state == ApprovalState.PENDING.value or not reads_records)):
                raise PolicyRefusal(f"You may not see these parameters: {obstacle}.", approval_id=approval_id)
            parameters = self._seal.open(approval_id, row.digest, row.sealed_parameters)
            view = {"approval_id": approval_id, "viewer_id": viewer.id, "viewer": str(viewer.principal())}
            await connection.execute(insert(approval_views).values(**view, viewed_at=database_time()))
        return parameters

    async def views(self, approval_id: str) -> tuple[View, ...]:
        """Who was shown the parameters, in order."""
        query = select(approval_views).where(approval_views.c.approval_id == approval_id)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.order_by(approval_views.c.id))).all()
        return tuple(View(row.viewer_id, row.viewer, row.viewed_at) for row in rows)
