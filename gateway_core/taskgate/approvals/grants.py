"""Using what a human approved: once more checked, and counted down in the same transaction."""

from __future__ import annotations

import structlog
from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.approvals.entitlement import Entitlement
from taskgate.approvals.rows import approval_from_row, terms_from_json
from taskgate.domain import Approval, ApprovalState
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import approvals, grant_uses

log = structlog.get_logger(__name__)


def _usable() -> ColumnElement[bool]:
    return (
        (approvals.c.state == ApprovalState.APPROVED.value)
        & (approvals.c.uses_left > 0)
        & (approvals.c.expires_at > database_time())
    )


class Grants:
    def __init__(self, database: Database, signals: Signals, entitlement: Entitlement) -> None:
        self._database = database
        self._signals = signals
        self._entitlement = entitlement

    async def use(
        self, digest: str, owner_key: str, *, policy_version: str | None = None, session_id: str = ""
    ) -> Approval | None:
        """Take one use of a grant for exactly this digest and owner; None where there is none. With `policy_version`
        only a grant given under it (the digest covers it as well). The approver is judged again as they are now: one
        who lost the key or the group has granted nothing, and the grant is void from then on. Raises StoreFault."""
        wanted = (approvals.c.digest == digest) & (approvals.c.owner_key == owner_key) & _usable()
        if policy_version is not None:
            wanted &= approvals.c.policy_version == policy_version
        async with self._database.statement() as connection:  # mostly there is none: no lock is taken to find out
            if (await connection.execute(select(approvals.c.id).where(wanted).limit(1))).first() is None:
                return None
        used: Approval | None = None
        async with self._database.transaction() as connection:
            candidates = select(approvals).where(wanted).order_by(approvals.c.id).with_for_update()
            voided = []
            for row in (await connection.execute(candidates)).all():
                approver = await self._entitlement.approver(connection, row.decided_by_id)
                terms = terms_from_json(row.terms)
                obstacle = await self._entitlement.obstacle(connection, approver, terms, row.parties)
                if obstacle:
                    voided.append((row.id, obstacle))
                elif used := await self._take(connection, row.id, session_id):
                    break
            for approval_id, obstacle in voided:
                await self._void(connection, approval_id, obstacle)
        if voided:
            self._signals.wake()
        return used

    async def _take(self, connection: AsyncConnection, approval_id: str, session_id: str) -> Approval | None:
        change = update(approvals).where(approvals.c.id == approval_id, _usable())
        change = change.values(uses_left=approvals.c.uses_left - 1)
        row = (await connection.execute(change.returning(*approvals.c))).one_or_none()
        if row is None:
            return None
        use = insert(grant_uses).values(approval_id=approval_id, session_id=session_id, used_at=database_time())
        await connection.execute(use)
        return approval_from_row(row)

    async def _void(self, connection: AsyncConnection, approval_id: str, obstacle: str) -> None:
        log.warning("approval.grant_void", approval=approval_id, reason=obstacle)
        state = ApprovalState.WITHDRAWN.value
        change = update(approvals).where(approvals.c.id == approval_id)
        await connection.execute(change.values(state=state, uses_left=0, comment=f"The grant is void: {obstacle}."))
        await self._signals.append(connection, SignalKind.APPROVAL_DECIDED, approval_id, {"state": state})
