"""Whether there is anybody at all who may decide a request: everybody who can is known by a live API key."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.approvals.entitlement import Entitlement, is_among
from taskgate.approvals.rows import terms_from_json
from taskgate.domain import Approval, ApprovalState, ApprovalTerms
from taskgate.identity.api_keys import ApiKey, ApiKeys
from taskgate.identity.scopes import Scope
from taskgate.store.database import Database
from taskgate.store.tables import approvals


class Deciders:
    def __init__(self, database: Database, api_keys: ApiKeys, entitlement: Entitlement) -> None:
        self._database = database
        self._api_keys = api_keys
        self._entitlement = entitlement

    async def nobody_may(self, asked: Sequence[Approval]) -> dict[str, str]:
        """For those of these approvals that are pending and that nobody may decide as things are: why, by approval id.
        Names nobody."""
        pending = [approval.id for approval in asked if approval.state is ApprovalState.PENDING]
        if not pending:
            return {}
        found: dict[str, str] = {}
        async with self._database.statement() as connection:
            people = await self._api_keys.people(connection)
            deciding = [person for person in people if person.permits(Scope.APPROVALS_DECIDE)]
            rows = select(approvals.c.id, approvals.c.terms, approvals.c.parties).where(approvals.c.id.in_(pending))
            for row in (await connection.execute(rows)).all():
                if why := await self._obstacle(connection, deciding, terms_from_json(row.terms), row.parties):
                    found[row.id] = why
        return found

    async def _obstacle(
        self, connection: AsyncConnection, deciding: Sequence[ApiKey], terms: ApprovalTerms, parties: Collection[str]
    ) -> str | None:
        named = [person for person in deciding if is_among(person, terms.approvers)]
        if not named:
            return f"no live key with the scope {Scope.APPROVALS_DECIDE} is of {' or '.join(terms.approvers)}"
        for person in named:
            if await self._entitlement.obstacle(connection, person, terms, parties) is None:
                return None
        return f"everybody of {' or '.join(terms.approvers)} stands behind the request"
