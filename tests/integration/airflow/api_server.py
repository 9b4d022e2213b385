"""Airflow's real API server in a process of its own, with task instances in its database and tokens of its own making.

The gateway's control API is stood in for (tests/e2e/control_api_stand_in.py): it verifies no token and issues what it
is asked for. Here it matters who is asked, with what, and what Airflow does with the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from taskgate.demo.postgres_server import free_port

AUDIENCE = "urn:airflow.apache.org:task"
ISSUER = "https://airflow.example"

# Runs within Airflow: rows that a scheduler would have made.
_ROWS = """
import json, sys
from datetime import datetime, timezone
from uuid import UUID
from airflow.models import Connection, DagModel, DagRun, TaskInstance
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
wanted = json.load(sys.stdin)
now = datetime.now(timezone.utc)
def row(session, model, **values):
    for column in model.__table__.columns:  # what this version of Airflow wants besides
        default = column.nullable or column.primary_key or column.default or column.server_default
        if column.name not in values and not default:
            values[column.name] = column.type.python_type()
    session.execute(model.__table__.insert().values(**values))
with create_session() as session:
    row(session, DagBundleModel, name="etl")
    row(session, DagModel, dag_id="orders_cleanup", bundle_name="etl", owners="data-team", is_paused=False)
    row(session, DagRun, dag_id="orders_cleanup", run_id="manual__1", run_type="manual", state="running",
        run_after=now, logical_date=now, queued_at=now, start_date=now, log_template_id=1)
    for map_index, (ti_id, state) in enumerate(wanted["instances"].items()):
        ti = UUID(ti_id) if TaskInstance.id.type.python_type is UUID else ti_id
        row(session, TaskInstance, id=ti, dag_id="orders_cleanup", run_id="manual__1", task_id="delete_old_orders",
            map_index=map_index, state=state, try_number=1, max_tries=0, start_date=now, pool="default_pool",
            pool_slots=1, executor_config={})
    for connection in wanted["connections"]:
        session.add(Connection(**connection))
"""


class AirflowDatabase:
    """A metadata database (SQLite), migrated and filled. `environment` is Airflow's, without the backend's."""

    def __init__(self, home: Path, instances: Mapping[str, str], connections: list[dict[str, Any]]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        plugins = home / "plugins"
        plugins.mkdir()
        (plugins / "ours.py").write_text("from taskgate_airflow.plugin import TaskgatePlugin\n")
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}
        self.environment = {
            **own,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(home),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            "AIRFLOW__API_AUTH__JWT_ISSUER": ISSUER,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        }
        self.python("-m", "airflow", "db", "migrate")
        rows = {"instances": dict(instances), "connections": connections}
        self.python("-c", _ROWS, text=json.dumps(rows))

    def python(self, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"{arguments} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout


class ApiServer:
    """`airflow api-server` on a free port. A context manager; `log` is all it wrote."""

    def __init__(
        self,
        database: AirflowDatabase,
        private_key: bytes,
        environment: Mapping[str, str],
        *,
        algorithm: str,
        apps: str = "all",
    ) -> None:
        self.private_key, self.algorithm = private_key, algorithm
        home = Path(database.environment["AIRFLOW_HOME"])
        key_file = home / f"jwt-{apps}.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(private_key)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = home / f"api-server-{apps}.log"
        self._output = self._log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server", "--port", str(self.port), "--apps", apps],
            env={
                **database.environment,
                "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH": str(key_file),
                "AIRFLOW__API_AUTH__JWT_ALGORITHM": algorithm,
                "AIRFLOW__API__BASE_URL": self.url,
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )

    def __enter__(self) -> ApiServer:
        until = time.monotonic() + 110
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/execution/health", timeout=5).is_success:
                    return self
            except httpx.HTTPError:
                time.sleep(0.3)
        self.__exit__()
        raise AssertionError(f"the API server did not come up:\n{self.log[-5000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._output.close()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def token(self, ti_id: str, *, key: bytes | None = None, **claims: Any) -> str:
        """As the scheduler makes them."""
        from airflow.api_fastapi.auth.tokens import JWTGenerator

        generator = JWTGenerator(
            private_key=key or self.private_key,
            valid_for=600,
            audience=AUDIENCE,
            issuer=ISSUER,
            algorithm=self.algorithm,
        )
        return str(generator.generate({"sub": ti_id, **claims}))

    def get(self, path: str, token: str | None, timeout: float = 60) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=timeout)

    def connection(self, conn_id: str, token: str | None, timeout: float = 60) -> httpx.Response:
        return self.get(f"/execution/connections/{conn_id}", token, timeout)
