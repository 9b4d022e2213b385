"""A worker class of somebody else's, made to register its runs as `taskgate_prefect.worker` says: it writes a run's
environment into a manifest before it starts anything, as Kubernetes' does, and passes on nothing of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from taskgate_prefect.worker import RegisteredRuns


class ManifestConfiguration(BaseJobConfiguration):
    manifest: tuple[tuple[str, str], ...] = ()

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:
        super().prepare_for_flow_run(*arguments, **named)
        self.manifest = tuple((name, value) for name, value in self.env.items() if value is not None)


class ManifestWorker(BaseWorker[ManifestConfiguration, BaseVariables, BaseWorkerResult]):
    type = "manifest"
    job_configuration = ManifestConfiguration

    async def run(
        self, flow_run: FlowRun, configuration: ManifestConfiguration, task_status: TaskStatus[int] | None = None
    ) -> BaseWorkerResult:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "prefect.engine", env=dict(configuration.manifest)
        )
        if task_status is not None:
            task_status.started(process.pid)
        return BaseWorkerResult(identifier=str(process.pid), status_code=await process.wait())


class GovernedManifestConfiguration(ManifestConfiguration, RegisteredRuns): ...


class GovernedManifestWorker(ManifestWorker):
    type = "governed-manifest"
    job_configuration = GovernedManifestConfiguration


if __name__ == "__main__":
    asyncio.run(GovernedManifestWorker(work_pool_name=sys.argv[1], name="own-worker").start())
