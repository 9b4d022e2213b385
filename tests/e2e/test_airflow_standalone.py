"""The governed operator in Airflow's real processes: scheduler, executor, API server and a triggerer of its own.

`dag.test()` runs a trigger in the task's process and drops what the operator keeps for itself; this does not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskgate.demo.postgres_server import PostgresServer, free_port
from tests.e2e.airflow_home import AirflowHome
from tests.e2e.shop import EXAMPLE, Shop, shop

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


SHORT_HOLD = """\
  - id: tests-short-hold
    match:
      targets: [orders-db]
      principals: {kind: task, source: demo-airflow, assurance: asserted}
      effects: [sql.delete]
      objects: [public.customers]
    verdict: approve
    approval: {from: ["group:dba"], hold: 3s, expires: 1h}
"""


class Standalone:
    """`airflow standalone` in a process group of its own, and its public API."""

    def __init__(self, home: AirflowHome) -> None:
        self.port = free_port()
        passwords = home.directory / "passwords.json"
        passwords.write_text(json.dumps({"admin": "admin"}))
        self.environment = {
            **home.environment,
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        }
        self.log = home.directory / "standalone.log"
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def __enter__(self) -> Standalone:
        # Standalone starts its parts as `airflow …` from the PATH.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env={**self.environment, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.until(self._sign_in, 240)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, kind)
                self.process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def _sign_in(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        try:
            answer = self.http.post("/auth/token", json={"username": "admin", "password": "admin"})
        except httpx.TransportError:
            return False
        if not answer.is_success:
            return False
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def until(self, done: Callable[[], Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := done()):
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-5000:]
            time.sleep(1)
        return found

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/api/v2{path}")
        return answer.json() if answer.is_success else {}

    def start(self, dag_id: str) -> str:
        """A new run, as the API's path of it."""
        self.until(lambda: self.get(f"/dags/{dag_id}").get("dag_id"), 120)
        started = self.http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}})
        assert started.is_success, started.text
        return f"/dags/{dag_id}/dagRuns/{started.json()['dag_run_id']}"

    def log_of(self, run: str, task_id: str, try_number: int = 1) -> str:
        return json.dumps(self.get(f"{run}/taskInstances/{task_id}/logs/{try_number}?full_content=true"))

    def states(self, run: str) -> dict[str, tuple[str | None, int]]:
        found = self.get(f"{run}/taskInstances").get("task_instances", [])
        return {one["task_id"]: (one["state"], one["try_number"]) for one in found}


@pytest.fixture(scope="module")
def running_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), postgres18, SHORT_HOLD) as running:
        yield running


@pytest.fixture(scope="module")
def standalone(running_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    directory = tmp_path_factory.mktemp("airflow")
    shutil.copytree(EXAMPLE / "dags", directory / "dags")
    shutil.copy(Path(__file__).with_name("dags") / "patient.py", directory / "dags")
    home = AirflowHome(
        directory / "home",
        url=running_shop.gateway.url,
        service_key=running_shop.service_key,
        connections={"orders_db": "orders-db"},
        dags=directory / "dags",
    )
    with Standalone(home) as running:
        yield running


def _pending(running_shop: Shop, task_id: str) -> str | None:
    with running_shop.client() as client:
        return next((one.id for one in client.approvals(state=["pending"], task_id=task_id)), None)


def _live_credentials(running_shop: Shop, task_id: str) -> list[str]:
    with running_shop.client() as client:
        return [one.id for one in client.credentials(live=True) if task_id in one.principal.name]


def _approve(running_shop: Shop, approval_id: str) -> None:
    with running_shop.client() as client:
        client.approve(approval_id)


def test_a_deferred_task_holds_no_worker_and_resumes_once_approved(standalone: Standalone, running_shop: Shop) -> None:
    stock, governed = "delete_old_orders_stock", "delete_old_orders_governed"
    run = standalone.start("orders_cleanup")
    _approve(running_shop, standalone.until(lambda: _pending(running_shop, stock), 180))
    standalone.until(lambda: standalone.states(run)[governed][0] == "deferred", 90)
    waiting_for = _pending(running_shop, governed)
    assert waiting_for is not None
    trigger = standalone.get(f"{run}/taskInstances/{governed}")["trigger"]  # its kwargs are not shown to anybody
    assert trigger["classpath"] == "taskgate_airflow.triggers.ApprovalTrigger"
    assert running_shop.service_key not in json.dumps(trigger)
    standalone.until(lambda: not _live_credentials(running_shop, governed), 20)

    running_shop.gateway.kill()  # in the middle of the wait
    time.sleep(8)
    running_shop.gateway.start()
    assert standalone.states(run)[governed][0] == "deferred"
    _approve(running_shop, waiting_for)
    approved = time.monotonic()
    standalone.until(lambda: standalone.states(run)[governed][0] != "deferred", 10)
    print(f"the triggerer heard of it after {time.monotonic() - approved:.1f} s")
    standalone.until(lambda: standalone.states(run)[governed][0] == "success", 90)
    assert "Approved by user:taskgate:dana; executing again" in standalone.log_of(run, governed)
    assert standalone.states(run) == {
        "read_customers": ("success", 1),
        "drop_orders": ("failed", 1),
        stock: ("success", 1),
        governed: ("success", 1),
    }


def test_a_stock_task_that_nobody_answered_in_time_runs_once_it_is_approved(
    standalone: Standalone, running_shop: Shop
) -> None:
    """Its retries find the request that its first try left open, and then the grant: nobody is asked twice."""
    run = standalone.start("patient")
    asked = standalone.until(lambda: _pending(running_shop, "delete_slowly"), 120)
    standalone.until(lambda: standalone.states(run)["delete_slowly"][1] >= 3, 120)
    assert "a retry of the same task finds the grant" in standalone.log_of(run, "delete_slowly")
    assert asked in standalone.log_of(run, "delete_slowly", 2)
    _approve(running_shop, asked)
    standalone.until(lambda: standalone.states(run)["delete_slowly"][0] == "success", 120)
    with running_shop.client() as client:
        assert [one.id for one in client.approvals(task_id="delete_slowly")] == [asked]
