"""A real Airflow of its own: home, SQLite metadata, the example's DAGs; runs DAGs with `dag.test()` in a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.airflow_forms import own_environment, worker_form

EXAMPLE = Path(__file__).parents[2] / "examples" / "airflow"


@dataclass(frozen=True, slots=True)
class DagResult:
    """How a run went. `log` is everything the process wrote, every task's log included."""

    state: str
    tasks: dict[str, dict[str, Any]]
    log: str


class AirflowHome:
    """`connections`: connection id → target. Creating it migrates the metadata database (8 s)."""

    def __init__(
        self,
        directory: Path,
        *,
        url: str,
        service_key: str,
        connections: Mapping[str, str],
        dags: Path = EXAMPLE / "dags",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **own_environment(),
            "AIRFLOW_HOME": str(directory),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            **worker_form(directory, url=url, service_key=service_key, connections=connections).environment,
            **(environment or {}),
        }
        self._run([sys.executable, "-m", "airflow", "db", "migrate"], timeout=120)

    def start(self, dag_id: str) -> RunningDag:
        result = self.directory / f"{dag_id}.json"
        result.unlink(missing_ok=True)
        log = self.directory / f"{dag_id}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(EXAMPLE / "run_dag.py"), dag_id, "--result", str(result)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return RunningDag(process, result, log)

    def _run(self, command: list[str], timeout: float) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass(slots=True)
class RunningDag:
    process: subprocess.Popen[bytes]
    result: Path
    log: Path

    def wait(self, timeout: float = 110) -> DagResult:
        try:
            self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        log = self.log.read_text(errors="replace")
        assert self.result.exists(), log[-5000:]
        found = json.loads(self.result.read_text())
        return DagResult(found["state"], found["tasks"], log)
