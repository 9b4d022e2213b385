"""Flow runs of Prefects: how they become known, and for how long what they were issued is theirs.

A worker registers a run before it starts its process and gets a secret that works once. The process exchanges it for
the run's token; whoever uses it a second time has read it somewhere, and nobody can say which of the two was meant to:
then the run can prove nothing any more, and what it was issued ends."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from taskgate.domain import Assurance
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.prefect.runs import FlowRun, TaskRun, run_uuid, running
from taskgate.identity.orchestrators.prefect.source import PrefectSource
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.identity.registered_runs import RegisteredRun, RegisteredRuns, Registration
from taskgate.store.attempts import Attempts

log = structlog.get_logger(__name__)

_DEEPEST = 16  # subflows within subflows


class PrefectFlowRuns:
    """Of every Prefect that the gateway knows, `sources` by name."""

    def __init__(
        self,
        sources: Mapping[str, PrefectSource],
        attempts: Attempts,
        credentials: Credentials,
        registered: RegisteredRuns,
    ) -> None:
        self._sources = sources
        self._attempts = attempts
        self._credentials = credentials
        self._registered = registered

    def knows(self, source: str) -> bool:
        return source in self._sources

    async def asserted(
        self, source_name: str, flow_run_id: str, task_run_id: str | None, run_count: int, by: str
    ) -> ProvenTask:
        """A run that a service key vouches for: it is running, and what Prefect says of it counts. Raises NotProven,
        OrchestratorAway."""
        source = self._source(source_name)
        flow_run = running(await source.rest.flow_run(run_uuid(flow_run_id)))
        return await self._attempt(source, flow_run, task_run_id, run_count, Assurance.ASSERTED, by)

    async def to_register(self, source_name: str, flow_run_id: str) -> ProvenTask:
        """Who a run would be that a worker is about to start. Raises NotProven, OrchestratorAway."""
        source = self._source(source_name)
        flow_run = await source.rest.flow_run(run_uuid(flow_run_id))
        if flow_run is None:
            raise NotProven("flow_run_not_found", "Prefect knows of no such flow run")
        if not flow_run.has_not_begun:
            raise NotProven(
                "flow_run_not_pending",
                f"the flow run is {flow_run.state_name}: a worker registers runs before they begin",
            )
        if flow_run.work_pool is None:
            raise NotProven("flow_run_of_no_pool", "the flow run belongs to no work pool, so no worker starts it")
        return ProvenTask(await source.principal(flow_run, None, Assurance.VERIFIED, _worker(source_name)))

    async def register(self, source_name: str, flow_run_id: str, by: str) -> Registration:
        """The one-time secret of a run that `to_register` has found. Whatever was registered for it before ends."""
        settings = self._source(source_name).settings
        return await self._registered.register(source_name, run_uuid(flow_run_id), by, settings.secret_ttl)

    async def exchange(self, run: RegisteredRun, label: str) -> str:
        """The run's token for its secret, once. Raises NotProven."""
        token = await self._registered.exchange(run.id)
        if token is not None:
            return token
        why = "its one-time secret was used a second time"
        await self._registered.end(run.id, why)
        revoked = await self._credentials.revoke_issued_by(label, "taskgate", why)
        log.warning("run.secret_used_twice", run=run.id, flow_run=run.flow_run_id, source=run.source, revoked=revoked)
        raise NotProven(
            "run_secret_used",
            "the flow run's one-time secret was used before, or is too old",
            hint="Somebody else has read it, or the process was started again without its worker. What the run was "
            "issued is revoked; have the run started anew by its worker.",
        )

    async def proven(
        self, run: RegisteredRun, flow_run_id: str | None, task_run_id: str | None, run_count: int
    ) -> ProvenTask:
        """An attempt of the run that the token proves, or of one of its subflows: `verified` as to the run; which of
        its tasks asks is the process' own word. Raises NotProven, OrchestratorAway."""
        source = self._source(run.source)
        flow_run = await source.rest.flow_run(run_uuid(flow_run_id or run.flow_run_id))
        if flow_run is None or not await self._within(source, flow_run, run.flow_run_id):
            raise NotProven("flow_run_foreign", "this is neither the flow run that the token is of nor a subflow of it")
        if flow_run.id == run.flow_run_id and flow_run.is_over:
            await self._registered.end(run.id, f"the flow run is {flow_run.state_name}")
        flow_run = running(flow_run)
        return await self._attempt(source, flow_run, task_run_id, run_count, Assurance.VERIFIED, _worker(run.source))

    async def _within(self, source: PrefectSource, flow_run: FlowRun, root: str) -> bool:
        """Whether a flow run is `root` or was started by one of its tasks. Subflows of a run that is over are not."""
        for _ in range(_DEEPEST):
            if flow_run.id == root:
                return True
            parent = flow_run.parent_task_run_id and await source.rest.task_run(flow_run.parent_task_run_id)
            above = await source.rest.flow_run(parent.flow_run_id) if parent and parent.flow_run_id else None
            if above is None:
                return False
            flow_run = running(above)
        return False

    async def _attempt(
        self, source: PrefectSource, flow_run: FlowRun, task_run_id: str | None, run_count: int,
        assurance: Assurance, verified_by: str,
    ) -> ProvenTask:  # fmt: skip
        task_run: TaskRun | None = None
        if task_run_id is not None:
            task_run = await source.recorded(run_uuid(task_run_id), run_count)
            if task_run.flow_run_id != flow_run.id:
                raise NotProven("task_run_foreign", "the task run does not belong to the flow run")
        elif not flow_run.started_as(run_count):
            raise NotProven("flow_run_superseded", "the flow run was started again since")
        principal = await source.principal(flow_run, task_run, assurance, verified_by)
        if principal.attempt is not None:  # before anything is issued: whatever is, is looked after
            await self._attempts.seen(
                principal.attempt, generation=flow_run.run_count, check_in=source.settings.check_interval
            )
        return ProvenTask(principal)

    def _source(self, name: str) -> PrefectSource:
        source = self._sources.get(name)
        if source is None:
            raise NotProven("unknown_source", f"no Prefect named {name} is configured")
        return source


def _worker(source: str) -> str:
    return f"prefect:{source}, by its worker"
