"""A real Airflow of its own: home, SQLite metadata, the example's DAGs; runs DAGs with `dag.test()` in a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.e2e.airflow_forms import Form, own_environment

EXAMPLE = Path(__file__).parents[2] / "examples" / "airflow"


@dataclass(frozen=True, slots=True)
class DagResult:
    """How a run went. `log` is everything the process wrote, every task's log included."""

    run_id: str
    state: str
    tasks: dict[str, dict[str, Any]]
    log: str


class AirflowHome:
    """`form` says how it knows of a gateway; without one it has never heard of any. Creating it migrates the metadata
    database (8 s), or copies that of `like`."""

    def __init__(
        self,
        directory: Path,
        *,
        dags: Path,
        form: Form | None = None,
        environment: Mapping[str, str] | None = None,
        like: AirflowHome | None = None,
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.environment: dict[str, str] = {
            **own_environment(),
            "AIRFLOW_HOME": str(directory),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(directory / "no-plugins"),
            "AIRFLOW__CORE__FERNET_KEY": like.environment["AIRFLOW__CORE__FERNET_KEY"] if like else _fernet_key(),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            **(form.environment if form else {}),
            **(environment or {}),
        }
        if like:
            shutil.copy(like.directory / "airflow.db", directory)
        else:
            self._run([sys.executable, "-m", "airflow", "db", "migrate"], timeout=120)

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


def _fernet_key() -> str:
    return Fernet.generate_key().decode()


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
