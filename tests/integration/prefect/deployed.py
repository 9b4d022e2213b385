"""Flow runs of a deployment, started as a worker starts them: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

ROOT = Path(__file__).parents[3]


@dataclass
class DeployedRun:
    """A flow run that waits to be started. `home`: where its processes keep results. `starts` counts them."""

    id: UUID
    home: Path
    starts: int = 0

    @property
    def state(self) -> Any:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id).state

    def start(self, *, fails: bool = False) -> str:
        """Runs its process to the end; returns what it wrote. `fails`: the run is expected to, which
        Prefect 3.7 says in the process's exit code and 3.9 only in the run's state."""
        self.starts += 1
        ended = subprocess.run(
            [sys.executable, "-m", "prefect.engine", str(self.id)],
            env={
                **os.environ,
                "PREFECT__FLOW_RUN_ID": str(self.id),
                "PREFECT_API_URL": PREFECT_API_URL.value(),
                "PREFECT_HOME": str(self.home),
                "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(self.home / "storage"),
                "PYTHONPATH": str(ROOT),
            },
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0 or fails, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def resumed(self, within: float = 30.0) -> None:
        """Returns once somebody has resumed it."""
        until = time.monotonic() + within
        while not self.state.is_scheduled():
            assert time.monotonic() < until, f"nobody resumed it: {self.state}"
            time.sleep(0.1)


def deployed_run(flow: Flow[Any, Any], file: Path, home: Path) -> DeployedRun:
    """A run of a new deployment of the flow, which is in that file."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            flow_id=client.create_flow(flow),
            name=f"{flow.name}-{time.time_ns()}",
            entrypoint=f"{file.name}:{flow.fn.__name__}",
            path=str(file.parent),
            parameter_openapi_schema={"type": "object", "properties": {}},
        )
        return DeployedRun(client.create_flow_run_from_deployment(deployment).id, home)
