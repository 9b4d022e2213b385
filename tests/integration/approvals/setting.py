"""A small company: people with keys, one who asks, and the service in its own process or two."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import update

from taskgate.approvals.keys import ApprovalKeys
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.parties import People
from taskgate.approvals.requests import ApprovalDraft, Approvals
from taskgate.approvals.sealing import ParameterSeal
from taskgate.domain import (
    ApprovalTerms,
    Assurance,
    Attempt,
    AttributeValue,
    Environment,
    Parameter,
    Principal,
    PrincipalKind,
    TaskKey,
)
from taskgate.identity.api_keys import ApiKey, ApiKeys
from taskgate.identity.scopes import Scope
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.signals import Signals
from taskgate.store.tables import approvals as approvals_table

TERMS = ApprovalTerms(approvers=("group:dba",), expires=600)
PARAMETERS = (Parameter(25, 0, b"canary-parameter"), Parameter(23, 1, b"\x00\x00\x00\x07"), Parameter(25, 0, None))


def task(attempt: str = "ti-1", **attributes: AttributeValue) -> Principal:
    key = TaskKey("prod", "etl", "run-1", "clean")
    return Principal(
        PrincipalKind.TASK, "etl.clean", "prod", Assurance.VERIFIED, "airflow", attributes, Attempt(attempt, key)
    )


def draft(digest: str = "d" * 64, principal: Principal | None = None, **changes: object) -> ApprovalDraft:
    made = ApprovalDraft(
        digest=digest,
        principal=principal or task(),
        target="orders-db",
        session_id="ses_1",
        text="DELETE FROM public.orders WHERE note = $1 AND id > $2",
        parameters=PARAMETERS,
        pairs=("sql.delete public.orders", "sql.select public.orders"),
        rules=("deletes-need-a-human",),
        terms=TERMS,
        policy_version="p1",
        environment=Environment(role="etl", search_path="public", settings=(("jit", "off"),), catalog_version=7),
        estimate={"rows": 12},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class Gateway:
    """One gateway process: its own database handle, signals and approvals over a store that others may share."""

    database: Database
    master: bytes = field(default_factory=lambda: os.urandom(32))
    outbox: Outbox | None = None
    people: People | None = None
    signals: Signals = field(init=False)
    keys: ApiKeys = field(init=False)
    approvals: Approvals = field(init=False)

    def __post_init__(self) -> None:
        self.signals = Signals(self.database)
        self.keys = ApiKeys(self.database, self.signals)
        seal = ParameterSeal(ApprovalKeys.derive(self.master).sealing)
        self.approvals = Approvals(self.database, self.signals, self.keys, seal, self.outbox, self.people)

    async def person(
        self,
        name: str,
        groups: Iterable[str] = ("dba",),
        scopes: Iterable[Scope] = (Scope.APPROVALS_READ, Scope.APPROVALS_DECIDE),
        aliases: Iterable[str] = (),
    ) -> ApiKey:
        key, _ = await self.keys.create(PrincipalKind.USER, name, scopes, groups, created_by="test", aliases=aliases)
        return key

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.signals.run()), asyncio.create_task(self.approvals.run(0.05))]
        await self.signals.started()
        try:
            yield
        finally:
            for running in tasks:
                running.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def let_time_pass(self, approval_id: str, seconds: float) -> None:
        """Move an approval into the past: its request and its expiry, by the database's clock."""
        async with self.database.statement(writes=True) as connection:
            await connection.execute(
                update(approvals_table)
                .where(approvals_table.c.id == approval_id)
                .values(requested_at=database_time(-seconds), expires_at=database_time(TERMS.expires - seconds))
            )
