"""A gateway that knows one Prefect, as far as identities go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update

from taskgate.domain import AttributeValue, Principal
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.orchestrators.prefect.reconciling_registrations import ReconcilingRegistrations
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.identity.orchestrators.reconciling import Reconciling
from taskgate.identity.registered_runs import RegisteredRun, RegisteredRuns
from taskgate.store.attempts import Attempts
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.signals import Signals
from taskgate.store.tables import attempts
from tests.integration.identity.gateway_of_airflow import TARGET, Requests, refused
from tests.integration.identity.prefect_stand_in import SOURCE, Prefect, Run, TaskRun

__all__ = ["LABEL", "SOURCE", "TARGET", "FlowRunRequests", "Gateway", "anything", "refused"]

LABEL = "task:a flow run (tgr_1)"


def anything(_: Mapping[str, AttributeValue]) -> None:
    """A key that may speak for any flow run."""


class FlowRunRequests(Requests):
    """Approvals that flow runs wait for: what owns them is the run, not the task."""

    async def pending_tasks(self, source: str):  # type: ignore[no-untyped-def]
        for task in self.pending:
            owner = f"task:{task.source}/{task.dag_id}/{task.run_id}"
            if owner not in self.withdrawn:
                yield task, owner


class Gateway:
    def __init__(self, database: Database, **settings: Any) -> None:
        self.prefect = Prefect()
        self.requests = FlowRunRequests()
        self.credentials = Credentials(database, Signals(database))
        self.attempts = Attempts(database)
        self.registered = RegisteredRuns(database)
        self.source = self.prefect.source(**settings)
        self.orchestrators = Orchestrators(
            self.attempts, self.credentials, self.requests, self.registered, prefects=[self.source]
        )
        self.runs = self.orchestrators.prefect
        self.reconciling = Reconciling(self.source, self.attempts, self.orchestrators.endings, self.requests)
        self.registrations = ReconcilingRegistrations(self.source, self.registered)

    async def asserted(self, run: Run, task: TaskRun | None = None, run_count: int = 1, by: str = "k") -> Principal:
        task_id = task.id if task else None
        return (await self.runs.asserted(SOURCE, run.id, task_id, run_count, by, anything)).principal

    async def secret(self, run: Run) -> str:
        """Registered as a worker does, right before it starts the run's process; then the run begins."""
        run.state = "PENDING"
        registration = await self.runs.register(SOURCE, run.id, (), "service:worker (tgk_1)", anything)
        run.state = "RUNNING"
        return registration.secret

    async def token(self, run: Run) -> RegisteredRun:
        """The run by its token, as the API's authentication finds it."""
        return await self.found(await self.runs.exchange(await self.found(await self.secret(run)), LABEL))

    async def found(self, token: str) -> RegisteredRun:
        run = await self.registered.find(token)
        assert run is not None
        return run

    async def proven(self, token: RegisteredRun, task: TaskRun | None = None, **asked: Any) -> ProvenTask:
        given = {"flow_run_id": None, "task_run_id": task.id if task else None, "run_count": 1, **asked}
        return await self.runs.proven(token, **given)

    async def issue(self, proven: ProvenTask, target: str = TARGET) -> str:
        credential, _ = await self.credentials.issue(
            proven.principal, target, 600, LABEL, registration=proven.registration
        )
        return credential.id

    async def issued(self, token: RegisteredRun, task: TaskRun | None = None, **asked: Any) -> str:
        return await self.issue(await self.proven(token, task, **asked))

    async def live(self, credential_id: str) -> bool:
        """Whether it may still do everything."""
        found = await self.credentials.find(credential_id)
        return found is not None and found.confined_until is None

    async def check(self) -> int:
        async with self.attempts._database.statement(writes=True) as connection:
            await connection.execute(update(attempts).values(check_at=database_time(-1)))
        return await self.reconciling.check()
