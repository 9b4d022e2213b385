"""The demo's Airflow: a home of its own, the DAG run once by Airflow's own task runner (`dag.test`), beside us.

Only two settings of Airflow know of Taskgate: the worker's secrets backend and its arguments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskgate.demo.example import AIRFLOW
from taskgate.demo.forms import Form
from taskgate.demo.orchestrator import TaskEnd
from taskgate.demo.stage import CONNECTION_ID, DAG_ID, SOURCE, TARGET, Stage


class AirflowRun:
    """The quick one: half a minute, and its tasks are `asserted`."""

    def __init__(self, stage: Stage) -> None:
        self.form: Form = stage.form
        self.home = stage.directory / "airflow"
        self.log_file = stage.directory / "airflow.log"
        self._result_file = stage.directory / "result.json"
        self._key_file = stage.directory / "airflow.key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(stage.keys["airflow"])
        self._environment = self._configured(stage)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def keys_on_workers(self) -> Sequence[str]:
        return ["airflow"]

    def prepare(self, say: Callable[[str], None]) -> None:
        """Create Airflow's metadata database (SQLite; about twenty seconds)."""
        say("creating a metadata database for a real Airflow (SQLite)")
        self.home.mkdir(exist_ok=True)
        with self.log_file.open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{self.log_end()}")

    def start(self, say: Callable[[str], None]) -> None:
        say(f"running the DAG [bold]{DAG_ID}[/]: its connection [bold]orders_db[/] is stored nowhere")
        script = AIRFLOW.folder / "run_dag.py"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, str(script), DAG_ID, "--result", str(self._result_file)],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()  # dag.test() does not listen to SIGTERM
            self._process.wait()

    def waiting(self, task_id: str) -> tuple[str | None, int | None]:
        return None, None

    def task_log(self, task_id: str) -> Sequence[str]:
        return ()

    @property
    def look_around(self) -> str:
        return ""

    def tasks(self) -> Mapping[str, TaskEnd]:
        if not self._result_file.exists():
            raise RuntimeError(f"the DAG run left no result:\n{self.log_end()}")
        result: dict[str, Any] = json.loads(self._result_file.read_text())
        return {name: TaskEnd(one["state"], one["value"]) for name, one in result["tasks"].items()}

    def log(self) -> str:
        """Everything the tasks and Airflow printed."""
        return self.log_file.read_text(errors="replace")

    def kept(self) -> Mapping[str, bytes]:
        return {"Airflow printed": self.log_file.read_bytes()}

    def log_end(self) -> str:
        return self.log()[-3000:]

    def _configured(self, stage: Stage) -> dict[str, str]:
        arguments = {
            "url": stage.gateway.url,
            "api_key_file": str(self._key_file),
            "source": SOURCE,
            "connections": {CONNECTION_ID: TARGET},
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}
        return kept | {
            "NO_COLOR": "1",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW.folder / "dags"),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "AIRFLOW__WORKERS__SECRETS_BACKEND": "taskgate_airflow.secrets.TaskgateSecretsBackend",
            "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": json.dumps(arguments),
        }
