"""One Prefect as the gateway knows it: who its runs are, and whether they still run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from taskgate.domain import Assurance, Attempt, AttributeValue, Principal, PrincipalKind, TaskKey
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.identity.orchestrators.over import Ending, Over
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.recorded import RecordedTaskRuns, heard
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.identity.orchestrators.prefect.runs import (
    AttemptId,
    FlowRun,
    Looked,
    TaskRun,
    over,
    process_over,
    run_over,
    run_uuid,
    running,
)
from taskgate.identity.orchestrators.trust import trusting
from taskgate.settings_prefect import PrefectSettings
from taskgate.store.attempts import KnownAttempt

DEEPEST = 16
"""Flows that call flows that call flows."""


class PrefectSource:
    """`settings.source` is the name that policy knows it by."""

    def __init__(self, settings: PrefectSettings, rest: PrefectRest) -> None:
        self.settings = settings
        self.rest = rest
        self._recorded = RecordedTaskRuns(rest, settings.recorded_within)

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
        """`stack` closes its connections. Raises SettingsError; a Prefect that is away is no fault yet."""
        verify = trusting(settings.source, settings.ca_file)
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=settings.timeout, verify=verify, follow_redirects=False, trust_env=False)
        )
        return cls(settings, PrefectRest(settings.source, PrefectAccount(settings, fetch, client)))

    @asynccontextmanager
    async def looking_for(
        self, task_run_id: str | None, run_count: int
    ) -> AsyncIterator[Awaitable[TaskRun] | None]:  # fmt: skip
        """The task run in its `run_count`-th try, running: waited for until Prefect has recorded it, while whoever
        enters this asks for more; None where there is no task. Awaiting it raises NotProven, OrchestratorAway."""
        if task_run_id is None:
            yield None
            return
        looking = asyncio.create_task(self._recorded.running(run_uuid(task_run_id), run_count))
        looking.add_done_callback(heard)
        try:
            yield looking
        finally:
            looking.cancel()

    async def process_of(self, flow_run: FlowRun) -> FlowRun:
        """The flow run in whose process this one runs: a worker's or somebody else's start, not a call of a flow by
        another. Raises NotProven where one above it does not run, OrchestratorAway."""
        for _ in range(DEEPEST):
            if flow_run.has_own_process or flow_run.parent_task_run_id is None:
                return flow_run
            call = await self.rest.task_run(flow_run.parent_task_run_id)
            above = await self.rest.flow_run(call.flow_run_id) if call and call.flow_run_id else None
            flow_run = running(above)
        raise NotProven("flow_run_too_deep", f"the flow run has more than {DEEPEST} flow runs above it")

    async def platform_facts(self, process: FlowRun) -> Mapping[str, AttributeValue]:
        """What Prefect itself says of a flow run that has a process, and its author cannot choose. Raises NotProven,
        OrchestratorAway."""
        facts: dict[str, AttributeValue] = {
            "run_type": "scheduled" if process.scheduled else "manual",
            "job_variables": process.overrides,
        }
        if process.deployment_id is not None:
            deployment = await self.rest.deployment(process.deployment_id)
            if deployment is not None and deployment.flow_id != process.flow_id:
                raise NotProven("flow_run_contradictory", "the flow run says that it is of another flow's deployment")
            if deployment is not None and deployment.work_pool != process.work_pool:
                raise NotProven(
                    "flow_run_contradictory",
                    "the flow run says that it is of a deployment whose runs another work pool starts",
                    hint="Create the run anew: its deployment was moved, or it was not created by that deployment.",
                )
            if deployment is not None:
                facts["deployment"] = f"{await self.rest.flow_name(deployment.flow_id)}/{deployment.name}"
        for key, value in (("work_pool", process.work_pool), ("triggering_user", process.created_by)):
            if value is not None:
                facts[key] = value
        return facts

    async def principal(
        self,
        flow_run: FlowRun,
        process: FlowRun,
        task_run: TaskRun | None,
        platform_facts: Mapping[str, AttributeValue],
        assurance: Assurance,
        verified_by: str,
    ) -> Principal:
        """The attempt with everything that is known of it; of a subflow the name says in which run, too. Raises
        OrchestratorAway."""
        run_name = flow_run.name if process.id == flow_run.id else f"{flow_run.name} in {process.name}"
        flow = await self.rest.flow_name(flow_run.flow_id)
        task = TaskKey(self.name, flow, flow_run.id, task_run.task if task_run else "")
        run, count = (task_run.id, task_run.run_count) if task_run else (flow_run.id, flow_run.run_count)
        attempt_id = AttemptId(self.name, task_run is not None, run, count)
        return Principal(
            kind=PrincipalKind.TASK,
            name=task.name,
            source=self.name,
            assurance=assurance,
            verified_by=verified_by,
            attributes={
                **platform_facts,
                "flow": flow,
                "tags": flow_run.tags,
                "task_assurance": Assurance.ASSERTED.value,
            },
            attempt=Attempt(str(attempt_id), task, max(count, 1), run_name=run_name, of_run=True),
        )

    async def overs(self, attempts: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        """See `Source`."""
        ids = {one.id: parsed for one in attempts if (parsed := AttemptId.parse(one.id)) is not None}
        looked = await self.rest.look(
            (run_id for one in attempts for run_id in (one.task.run_id, one.process.run_id)),
            (one.run_id for one in ids.values() if one.in_task),
        )
        processes = await self._processes(looked.flow_runs)
        found: dict[str, Over | None] = {}
        for one in attempts:
            attempt, flow_run = ids.get(one.id), looked.flow_runs.get(one.task.run_id)
            if attempt is None:
                found[one.id] = Over(Ending.GONE, "it is no attempt of a Prefect's flow run")
                continue
            task_run = looked.task_runs.get(attempt.run_id)
            ended = over(attempt, one.generation, flow_run, task_run)
            ended = ended or process_over(processes.get(one.task.run_id))
            found[one.id] = ended or self._process_over(one, looked)
        return found

    async def gone(self, waiting: Mapping[TaskKey, KnownAttempt | None]) -> Mapping[TaskKey, str]:
        """See `Source`. A flow run that was started over asks anew where it gets there again."""
        known = [one.process.run_id for one in waiting.values() if one is not None]
        looked = await self.rest.look([*(task.run_id for task in waiting), *known], ())
        processes = await self._processes(looked.flow_runs)
        found = {}
        for task, latest in waiting.items():
            flow_run = looked.flow_runs.get(task.run_id)
            ended = run_over(flow_run, flow_run.run_count if flow_run else 0)
            if ended is None:
                ended = process_over(processes.get(task.run_id))
            if ended is None and latest is not None:
                ended = self._process_over(latest, looked)
            if ended is not None and ended.withdraws:
                found[task] = ended.because
        return found

    @staticmethod
    def _process_over(attempt: KnownAttempt, looked: Looked) -> Over | None:
        """None while the run goes on in whose process the attempt was first seen: who can write to Prefect can make it
        say that another has called the subflow."""
        if attempt.process.run_id == attempt.task.run_id:
            return None
        return process_over(looked.flow_runs.get(attempt.process.run_id), attempt.process.generation)

    async def _processes(self, flow_runs: Mapping[str, FlowRun]) -> Mapping[str, FlowRun | None]:
        """`process_of` for many, as far as it is there: the first above each that is over, or has a process."""
        found: dict[str, FlowRun | None] = dict(flow_runs)
        for _ in range(DEEPEST):
            calls = {
                run_id: one.parent_task_run_id
                for run_id, one in found.items()
                if one is not None and not one.is_over and not one.has_own_process and one.parent_task_run_id
            }
            if not calls:
                return found
            above_of = (await self.rest.look((), calls.values())).task_runs
            callers = {run_id: above_of[call].flow_run_id for run_id, call in calls.items() if call in above_of}
            above = (await self.rest.look((caller for caller in callers.values() if caller), ())).flow_runs
            found |= {run_id: above.get(callers.get(run_id) or "") for run_id in calls}
        return {run_id: one if one is not None and one.has_own_process else None for run_id, one in found.items()}
