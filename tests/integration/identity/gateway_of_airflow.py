"""A gateway that knows one Airflow, as far as identities go."""

from __future__ import annotations

import pytest

from taskgate.domain import TaskKey
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.identity.orchestrators.reconciling import Reconciling
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.store.attempts import Attempts
from taskgate.store.database import Database
from taskgate.store.signals import Signals
from tests.integration.identity.airflow_stand_in import Airflow, Instance, token_of

TARGET = "orders-db"


class Requests:
    """Stands in for approvals: which tasks ask, and what was withdrawn."""

    def __init__(self) -> None:
        self.pending: list[TaskKey] = []
        self.withdrawn: dict[str, str] = {}

    async def pending_tasks(self, source: str):  # type: ignore[no-untyped-def]
        for task in self.pending:
            if f"task:{task}" not in self.withdrawn:
                yield task, f"task:{task}"

    async def withdraw_all(self, owner_key: str, reason: str) -> int:
        self.withdrawn[owner_key] = reason
        return 1


class Setting:
    """A gateway that knows one Airflow."""

    def __init__(self, database: Database, **settings: object) -> None:
        self.airflow = Airflow()
        self.requests = Requests()
        self.credentials = Credentials(database, Signals(database))
        self.attempts = Attempts(database)
        self.source = self.airflow.source(**settings)  # type: ignore[arg-type]
        self.orchestrators = Orchestrators(
            self.attempts, self.credentials, self.requests, RegisteredRuns(database), airflows=[self.source]
        )
        self.tasks = self.orchestrators.airflow
        self.reconciling = Reconciling(self.source, self.attempts, self.orchestrators.endings, self.requests)

    async def issued(self, instance: Instance, target: str = TARGET) -> str:
        """A credential for a verified instance, as the API issues it."""
        proven = await self.orchestrators.airflow.exchange(token_of(instance), instance.key, target)
        return await self.issue(proven, target)

    async def issue(self, proven: ProvenTask, target: str = TARGET) -> str:
        credential, _ = await self.credentials.issue(
            proven.principal, target, 600, "test", confined_until=proven.confined_until
        )
        return credential.id

    async def check(self) -> int:
        await self._all_due()
        return await self.reconciling.check()

    async def _all_due(self) -> None:
        from sqlalchemy import update

        from taskgate.store.clock import database_time
        from taskgate.store.tables import attempts

        async with self.attempts._database.statement(writes=True) as connection:
            await connection.execute(update(attempts).values(check_at=database_time(-1)))


async def refused(awaitable: object) -> str:
    with pytest.raises(NotProven) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value.code
