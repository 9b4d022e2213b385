"""Workers that make their flow runs known to the gateway: each run's process proves itself by what its worker gave it.

    prefect worker start --pool etl --type taskgate-process

with `TASKGATE_URL`, `TASKGATE_SOURCE` and `TASKGATE_WORKER_KEY_FILE` in the worker's environment. Any other worker
class gets the same by its job configuration; the gateway's comes last, next to Prefect's own base:

    class GovernedKubernetesConfiguration(KubernetesWorkerJobConfiguration, RegisteredRuns): ...

    class GovernedKubernetesWorker(KubernetesWorker):
        type = "governed-kubernetes"
        job_configuration = GovernedKubernetesConfiguration

Docker's is the same with `DockerWorkerJobConfiguration` and `DockerWorker`. A container may need another address than
the worker's own: `TASKGATE_RUN_URL` and `TASKGATE_RUN_CA_FILE` in the worker's environment are what its runs get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect.workers.base import BaseJobConfiguration
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from taskgate_prefect.run_environment import RUN_SECRET
from taskgate_prefect.run_registration import registered, registered_now
from taskgate_prefect.run_token_file import forget
from taskgate_prefect.worker_access import without_the_workers, worker_access

if TYPE_CHECKING:
    from typing import Self
    from uuid import UUID

    from anyio.abc import TaskStatus
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_given: ContextVar[Mapping[str, str] | None] = ContextVar("taskgate_given", default=None)
"""What the run whose configuration is being made is given; None: nobody has asked the gateway yet."""


class RegisteredRuns(BaseJobConfiguration):
    """A job configuration whose runs the gateway knows. A run that it does not know is not started: Prefect shows it as
    crashed, with the reason. Each start is registered anew, so a run that is retried or resumed in a new process has a
    new secret, and the old one's processes have nothing."""

    @classmethod
    async def resolve_for_flow_run(
        cls,
        flow_run: FlowRun,
        *,
        client: PrefectClient,
        work_pool: WorkPool,
        worker_name: str,
        worker_id: UUID | None = None,
        deployment: DeploymentResponse | None = None,
    ) -> Self:
        """Also called for a run that is to be cancelled or cleaned up after: that is not registered."""
        with _giving(await registered(str(flow_run.id), _overrides(flow_run)) if _begins(flow_run) else {}):
            return await super().resolve_for_flow_run(
                flow_run,
                client=client,
                work_pool=work_pool,
                worker_name=worker_name,
                worker_id=worker_id,
                deployment=deployment,
            )

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Raises RunNotRegistered, WorkerNotConfigured."""
        given = _given.get()
        if given is None:  # a flow submitted straight to the worker, without `resolve_for_flow_run`
            given = registered_now(str(flow_run.id), _overrides(flow_run))
        self.env = {**without_the_workers(self.env), **given}
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id)


@contextmanager
def _giving(given: Mapping[str, str]) -> Iterator[None]:
    reset = _given.set(given)
    try:
        yield
    finally:
        _given.reset(reset)


def _begins(flow_run: FlowRun) -> bool:
    return flow_run.state is None or flow_run.state.is_scheduled() or flow_run.state.is_pending()


def _overrides(flow_run: FlowRun) -> Sequence[str]:
    return sorted(flow_run.job_variables or {})


class TaskgateProcessJobConfiguration(ProcessJobConfiguration, RegisteredRuns):
    """Prefect's own, for runs that the gateway knows."""


class TaskgateProcessWorker(ProcessWorker):
    """Prefect's process worker, whose runs the gateway knows.

    A run that is resumed while the process that suspended it is still on its way out starts once that has ended:
    Prefect 3.7's own worker takes the one for the other, and the run for crashed."""

    type = "taskgate-process"
    job_configuration = TaskgateProcessJobConfiguration

    _display_name = "Taskgate process"
    _description = "Execute flow runs as subprocesses that Taskgate knows: each proves itself, and holds no key."

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._running: dict[UUID, asyncio.Event] = {}

    async def setup(self) -> None:
        """Raises WorkerNotConfigured: a worker that can register nothing does not start."""
        worker_access().key()
        await super().setup()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        before = self._running.get(flow_run.id)
        ended = self._running[flow_run.id] = asyncio.Event()
        try:
            if before is not None:
                self.get_flow_run_logger(flow_run).info("Waiting for the run's earlier process to end")
                await before.wait()
            return await super().run(flow_run, configuration, task_status)
        finally:
            ended.set()
            if self._running.get(flow_run.id) is ended:
                del self._running[flow_run.id]
            if secret := configuration.env.get(RUN_SECRET):
                forget(secret)
