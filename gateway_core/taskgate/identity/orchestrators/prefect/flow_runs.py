"""Flow runs of Prefects: how they become known, and for how long what they were issued is theirs.

A worker registers a run before it starts its process and gets a secret that works once. The process exchanges it for
the run's token; whoever uses it a second time has read it somewhere, and nobody can say which of the two was meant to:
then the run can prove nothing any more, and what it was issued ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from taskgate.domain import Assurance, Attempt, AttributeValue, Principal
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.endings import Endings
from taskgate.identity.orchestrators.faults import NotProven, id_taken
from taskgate.identity.orchestrators.over import Ending, Over
from taskgate.identity.orchestrators.prefect.runs import FlowRun, TaskRun, run_over, run_uuid, running
from taskgate.identity.orchestrators.prefect.source import PrefectSource
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.identity.registered_runs import RegisteredRun, RegisteredRuns, Registration, SecretRefused
from taskgate.store.attempts import Attempts, ProcessRun

log = structlog.get_logger(__name__)

Permitted = Callable[[Mapping[str, AttributeValue]], None]
"""Raises where the caller may not speak for flow runs of which Prefect says this; before anything is kept of them."""
_ANEW = "Have the run started anew by its worker."


class PrefectFlowRuns:
    """Of every Prefect that the gateway knows, `sources` by name."""

    def __init__(
        self,
        sources: Mapping[str, PrefectSource],
        attempts: Attempts,
        credentials: Credentials,
        registered: RegisteredRuns,
        endings: Endings,
    ) -> None:
        self._sources = sources
        self._attempts = attempts
        self._credentials = credentials
        self._registered = registered
        self._endings = endings

    def knows(self, source: str) -> bool:
        return source in self._sources

    async def asserted(
        self, source_name: str, flow_run_id: str, task_run_id: str | None, run_count: int, by: str,
        permitted: Permitted,
    ) -> ProvenTask:  # fmt: skip
        """A run that a service key vouches for: it is running, and what Prefect says of it counts. Raises NotProven,
        OrchestratorAway, and what `permitted` raises."""
        source = self._source(source_name)
        async with source.looking_for(task_run_id, run_count) as task_run:
            flow_run = running(await source.rest.flow_run(run_uuid(flow_run_id)))
            process = await source.process_of(flow_run)
            facts = await source.platform_facts(process)
            permitted(facts)
            principal = await self._attempt(
                source, flow_run, process, task_run, run_count, facts, Assurance.ASSERTED, by
            )  # fmt: skip
        return ProvenTask(principal)

    async def register(
        self, source_name: str, flow_run_id: str, job_variables: Sequence[str], by: str, permitted: Permitted
    ) -> Registration:
        """The one-time secret of a run that a worker is about to start, with these job variables of the run's own: what
        Prefect says of them may have changed since the worker read it. Whatever was registered for the run before ends,
        and what an earlier start of it was issued. Raises NotProven, OrchestratorAway, and what `permitted` raises."""
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
        overrides = tuple(sorted({*flow_run.overrides, *job_variables}))
        facts = await source.platform_facts(replace(flow_run, overrides=overrides))
        permitted(facts)
        registration = await self._registered.register(source_name, flow_run.id, facts, by, source.settings.secret_ttl)
        if registration.instead_of is not None:  # its worker starts it again, or somebody has a worker's key
            log.warning(
                "run.registered_again", flow_run=flow_run.id, source=source_name, by=by,
                instead_of=registration.instead_of,
            )  # fmt: skip
        # After that: until then an earlier start's token could be issued more.
        for earlier in await self._attempts.alive_of_run(source_name, flow_run.id):
            await self._endings.end(earlier, Over(Ending.RETRIED, "the flow run was started again"), told=False)
        return registration

    async def exchange(self, run: RegisteredRun, label: str) -> str:
        """The run's token for its secret, once. `label`: how credentials name the run as their issuer. Raises
        NotProven."""
        match await self._registered.exchange(run.id):
            case SecretRefused.EXPIRED:
                await self._registered.end(run.id, "its one-time secret was used too late")
                raise NotProven("run_secret_expired", "the flow run's one-time secret is too old", hint=_ANEW)
            case SecretRefused.RUN_ENDED:
                raise NotProven("run_ended", "the flow run is over, or was registered again since", hint=_ANEW)
            case SecretRefused.USED:
                why = "its one-time secret was used a second time"
                revoked = await self._credentials.end_run(run.id, label, "taskgate", why)
                log.warning(
                    "run.secret_used_twice", run=run.id, flow_run=run.flow_run_id, source=run.source, revoked=revoked
                )
                raise NotProven(
                    "run_secret_used",
                    "the flow run's one-time secret was used before",
                    hint="Somebody else has read it, or the process was started again without its worker. What the run "
                    f"was issued is revoked. {_ANEW}",
                )
            case token:
                return str(token)

    async def proven(
        self, run: RegisteredRun, flow_run_id: str | None, task_run_id: str | None, run_count: int
    ) -> ProvenTask:
        """An attempt of the run that the token proves, or of a subflow in its process: `verified` as to the run, with
        what Prefect said of it when it was registered; which of its tasks asks is the process' own word. Raises
        NotProven, OrchestratorAway."""
        source = self._source(run.source)
        async with source.looking_for(task_run_id, run_count) as task_run:
            flow_run, process = await self._of_run(source, run, run_uuid(flow_run_id or run.flow_run_id))
            principal = await self._attempt(
                source, flow_run, process, task_run, run_count, run.facts, Assurance.VERIFIED,
                f"prefect:{run.source}, by its worker",
            )  # fmt: skip
        return ProvenTask(principal, registration=run.id)

    async def _of_run(
        self, source: PrefectSource, run: RegisteredRun, asked_for: str
    ) -> tuple[FlowRun, FlowRun]:  # fmt: skip
        """The registered run, or a subflow in its process, running; and the registered run. Raises NotProven,
        OrchestratorAway."""
        flow_run = await source.rest.flow_run(asked_for)
        if asked_for == run.flow_run_id:
            if (ended := run_over(flow_run, flow_run.run_count if flow_run else 0)) is not None and ended.withdraws:
                await self._registered.end(run.id, ended.because)
            return (found := running(flow_run)), found
        process = None if flow_run is None else await source.process_of(flow_run)
        if process is None or process.id != run.flow_run_id:
            raise NotProven(
                "flow_run_foreign", "this is neither the flow run that the token is of nor a subflow in its process"
            )
        return running(flow_run), process

    async def _attempt(
        self, source: PrefectSource, flow_run: FlowRun, process: FlowRun, recorded: Awaitable[TaskRun] | None,
        run_count: int, facts: Mapping[str, AttributeValue], assurance: Assurance, verified_by: str,
    ) -> Principal:  # fmt: skip
        task_run: TaskRun | None = None
        if recorded is not None:
            task_run = await recorded
            if task_run.flow_run_id != flow_run.id:
                raise NotProven("task_run_foreign", "the task run does not belong to the flow run")
        elif not flow_run.started_as(run_count):
            raise NotProven("flow_run_superseded", "the flow run was started again since")
        principal = await source.principal(flow_run, process, task_run, facts, assurance, verified_by)
        if principal.attempt is not None:
            await self._seen(source, principal.attempt, flow_run, process)
        return principal

    async def _seen(self, source: PrefectSource, attempt: Attempt, flow_run: FlowRun, process: FlowRun) -> None:
        """Before anything is issued: whatever is, is looked after. Raises NotProven where the run was known in another
        process: what it asked people for is not for this one."""
        known = await self._attempts.process_of(attempt.owner_key)
        if known is not None and known.run_id != process.id:
            log.warning("run.of_another_process", flow_run=flow_run.id, known=known.run_id, now=process.id)
            raise NotProven("flow_run_foreign", "the flow run was known in another flow run's process before")
        apart = None if process.id == flow_run.id else ProcessRun(process.id, process.run_count)
        check_in = source.settings.check_interval
        if not await self._attempts.seen(attempt, generation=flow_run.run_count, check_in=check_in, process=apart):
            raise id_taken(attempt.id)

    def _source(self, name: str) -> PrefectSource:
        source = self._sources.get(name)
        if source is None:
            raise NotProven(
                "unknown_source",
                f"this gateway knows no Prefect named {name}",
                hint="Name it in the gateway's setting prefect; settings are read when the gateway starts.",
            )
        return source
