"""One Prefect as the gateway knows it: who its runs are, and whether they still run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import httpx

from taskgate.domain import Assurance, Attempt, AttributeValue, Principal, PrincipalKind, TaskKey
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.identity.orchestrators.over import Over
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.identity.orchestrators.prefect.runs import RUNNING, AttemptId, FlowRun, TaskRun, over, run_over
from taskgate.settings_prefect import PrefectSettings
from taskgate.store.attempts import KnownAttempt

_LOOK_AGAIN = 0.05  # seconds between looks for what Prefect has yet to record


class PrefectSource:
    """`settings.source` is the name that policy knows it by."""

    def __init__(self, settings: PrefectSettings, rest: PrefectRest) -> None:
        self.settings = settings
        self.rest = rest

    @property
    def name(self) -> str:
        return self.settings.source

    @property
    def check_interval(self) -> float:
        return self.settings.check_interval

    @property
    def lost_after(self) -> float:
        return self.settings.lost_after

    @classmethod
    async def open(cls, settings: PrefectSettings, fetch: Fetch, stack: AsyncExitStack) -> PrefectSource:
        """`stack` closes its connections. A Prefect that is away is no fault yet."""
        verify: bool | str = str(settings.ca_file) if settings.ca_file else True
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=settings.timeout, verify=verify, follow_redirects=False, trust_env=False)
        )
        return cls(settings, PrefectRest(settings.source, PrefectAccount(settings, fetch, client)))

    async def recorded(self, task_run_id: str, run_count: int) -> TaskRun:
        """The task run in its `run_count`-th try, running. Prefect records task runs a moment after they began: it is
        looked for until `recorded_within`. Raises NotProven, OrchestratorAway."""
        until = time.monotonic() + self.settings.recorded_within
        while True:
            found = await self.rest.task_run(task_run_id)
            if found is not None and found.run_count == run_count and found.state == RUNNING:
                return found
            if found is not None and found.run_count > run_count:
                raise NotProven("task_run_superseded", "another try of this task run has taken the attempt's place")
            if time.monotonic() >= until:
                break
            await asyncio.sleep(_LOOK_AGAIN)
        if found is None:
            raise NotProven("task_run_not_found", "Prefect knows of no such task run")
        raise NotProven(
            "task_run_not_running", f"the task run is {found.state} in its try {found.run_count}, not running"
        )

    async def principal(
        self, flow_run: FlowRun, task_run: TaskRun | None, assurance: Assurance, verified_by: str
    ) -> Principal:
        """The attempt with everything that Prefect says of it. Raises OrchestratorAway."""
        flow = await self.rest.flow_name(flow_run.flow_id)
        attributes: dict[str, AttributeValue] = {
            "flow": flow,
            "run_type": "scheduled" if flow_run.scheduled else "manual",
            "task_assurance": Assurance.ASSERTED.value,
        }
        if flow_run.deployment_id is not None:
            name = await self.rest.deployment_name(flow_run.deployment_id)
            if name is not None:
                attributes["deployment"] = f"{flow}/{name}"
        for key, value in (("work_pool", flow_run.work_pool), ("triggering_user", flow_run.created_by)):
            if value is not None:
                attributes[key] = value
        for key, values in (("tags", flow_run.tags), ("job_variables", flow_run.overrides)):
            if values:
                attributes[key] = values
        task = TaskKey(self.name, flow, flow_run.id, task_run.task if task_run else "")
        run, count = (task_run.id, task_run.run_count) if task_run else (flow_run.id, flow_run.run_count)
        return Principal(
            kind=PrincipalKind.TASK,
            name=task.name,
            source=self.name,
            assurance=assurance,
            verified_by=verified_by,
            attributes=attributes,
            attempt=Attempt(str(AttemptId(run, count)), task, max(count, 1), run_name=flow_run.name, of_run=True),
        )

    async def overs(self, attempts: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        """See `Source`."""
        ids = {attempt.id: AttemptId.parse(attempt.id) for attempt in attempts}
        looked = await self.rest.look(
            (attempt.task.run_id for attempt in attempts),
            (ids[attempt.id].run_id for attempt in attempts if attempt.task.task_id),
        )
        return {
            attempt.id: over(
                ids[attempt.id],
                bool(attempt.task.task_id),
                attempt.generation,
                looked.flow_runs.get(attempt.task.run_id),
                looked.task_runs.get(ids[attempt.id].run_id),
            )
            for attempt in attempts
        }

    async def gone(self, waiting: Mapping[TaskKey, KnownAttempt | None]) -> Mapping[TaskKey, str]:
        """See `Source`. A flow run that was started over asks anew where it gets there again."""
        looked = await self.rest.look((task.run_id for task in waiting), ())
        ended = {
            task: run_over(found := looked.flow_runs.get(task.run_id), found.run_count if found else 0)
            for task in waiting
        }
        return {task: how.because for task, how in ended.items() if how is not None and how.withdraws}
