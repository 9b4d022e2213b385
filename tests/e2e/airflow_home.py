"""A real Airflow of its own: home, SQLite metadata, the example's DAGs; runs DAGs with `dag.test()` in a process."""

from __future__ import annotations

import copy
import json
import shutil
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

    run_id: str
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

    def ungoverned(self, directory: Path, *, dags: Path, environment: Mapping[str, str]) -> AirflowHome:
        """The same Airflow that has never heard of a gateway. Its metadata is a copy, made in no time."""
        twin = copy.copy(self)
        twin.directory = directory
        directory.mkdir(parents=True)
        shutil.copy(self.directory / "airflow.db", directory)
        kept = {
            name: value
            for name, value in self.environment.items()
            if not name.startswith("AIRFLOW__WORKERS__SECRETS_BACKEND")
        }
        twin.environment = {
            **kept,
            "AIRFLOW_HOME": str(directory),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(directory / "no-plugins"),
            **environment,
        }
        return twin

    def start(self, *dag_ids: str) -> RunningDags:
        """Run them one after the other, in one process."""
        for dag_id in dag_ids:
            (self.directory / f"{dag_id}.json").unlink(missing_ok=True)
        log = self.directory / f"{dag_ids[0]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("run_dags.py")), str(self.directory), *dag_ids],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return RunningDags(process, self.directory, dag_ids, log)

    def run(self, dag_id: str) -> DagResult:
        return self.start(dag_id).wait()[dag_id]

    def _run(self, command: list[str], timeout: float) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass(slots=True)
class RunningDags:
    process: subprocess.Popen[bytes]
    directory: Path
    dag_ids: tuple[str, ...]
    log: Path

    def wait(self, timeout: float = 110) -> dict[str, DagResult]:
        try:
            self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        log = self.log.read_text(errors="replace")
        results = {}
        for dag_id in self.dag_ids:
            result = self.directory / f"{dag_id}.json"
            assert result.exists(), log[-5000:]
            found = json.loads(result.read_text())
            results[dag_id] = DagResult(found["run_id"], found["state"], found["tasks"], log)
        return results
