"""A whole Airflow: API server, scheduler with its executor, triggerer and DAG processor, each a process of its own with
an environment of its own, real users, and tokens signed with a private key that only those who sign are told of.

with RealAirflow(directory, server, dags=folder) as airflow:
    run = airflow.admin.trigger("a_dag", conf={"rows": 3})
    run.wait("a_task", "deferred")
    airflow.restart("triggerer")
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from taskgate.demo.airflow_component import NAMES, Component, Name
from taskgate.demo.airflow_place import AirflowPlace
from taskgate.demo.airflow_settings import airflow_settings
from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.airflow_api import AirflowApi, TaskInstance
from tests.e2e.airflow_forms import own_environment
from tests.e2e.airflow_metadata import AirflowMetadata

# Roles of the simple auth manager: a viewer reads all about DAGs; it takes a user to answer a question for humans.
USERS: Mapping[str, str] = {"admin": "admin", "alice": "user", "bob": "user", "taskgate": "user", "viewer": "viewer"}


class RealAirflow:
    """`environment` is every component's, `components` adds to one component's: `airflow_forms` has both for each form
    of the integration. The metadata database is one of `server`'s, made at the start and dropped at the end."""

    def __init__(
        self,
        directory: Path,
        server: PostgresServer,
        *,
        dags: Path,
        environment: Mapping[str, str] | None = None,
        components: Mapping[str, Mapping[str, str]] | None = None,
        place: AirflowPlace | None = None,
        parallelism: int = 4,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.dags = dags
        place = place or AirflowPlace.at(directory, USERS)
        self.keys = place.keys
        self.port = place.port
        self.url = place.url
        self.logs = directory / "logs"
        self.metadata = AirflowMetadata(server, f"airflow_{self.port}")
        self.passwords = place.passwords
        common = {
            **own_environment(),
            **self._settings(place, parallelism),
            **(environment or {}),
        }
        self.components: dict[Name, Component] = {}
        for name in NAMES:
            signing = self.keys.signing if name in ("api-server", "scheduler") else {}
            own = {**common, **signing, **(components or {}).get(name, {})}
            self.components[name] = Component(name, own, directory / f"{name}.log")
        self._apis: dict[str, AirflowApi] = {}

    def _settings(self, place: AirflowPlace, parallelism: int) -> dict[str, str]:
        """As the demo's, and quick to notice what no longer lives."""
        return {
            **airflow_settings(
                place, home=self.directory, dags=self.dags, metadata_url=self.metadata.url, parallelism=parallelism
            ),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__FERNET_KEY": self.metadata.fernet_key,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        }

    def __enter__(self) -> RealAirflow:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds: float = 240) -> None:
        """Migrate once, start all at once, wait until each has given a sign of life."""
        self.metadata.create()
        self.airflow("db", "migrate")
        for component in self.components.values():
            component.start()
        self.until(lambda: self._alive(NAMES), seconds)

    def stop(self) -> None:
        for api in self._apis.values():
            api.close()
        self._apis.clear()
        for component in self.components.values():
            component.terminate()
        deadline = time.monotonic() + 4
        for component in self.components.values():
            component.stop(seconds=max(0.0, deadline - time.monotonic()))
        self.metadata.drop()

    def stop_one(self, name: Name, *, at_once: bool = False) -> None:
        self.components[name].stop(seconds=0 if at_once else 20)

    def start_one(self, name: Name, environment: Mapping[str, str] | None = None, seconds: float = 90) -> None:
        """`environment` adds to the component's from now on. Waits for a heartbeat newer than the start."""
        self.components[name].environment |= environment or {}
        self.components[name].start()
        self.until(lambda: self._alive([name]), seconds)

    def restart(self, name: Name, environment: Mapping[str, str] | None = None, *, at_once: bool = False) -> None:
        """`at_once` is SIGKILL, with everything it runs: of the scheduler, its tasks."""
        self.stop_one(name, at_once=at_once)
        self.start_one(name, environment)

    def until(self, done: Callable[[], Any], seconds: float, every: float = 0.25) -> Any:
        """The first true answer; AssertionError with what the components wrote when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            for component in self.components.values():
                if component.process is not None:
                    component.check()
            assert time.monotonic() < deadline, "\n".join(
                f"=== {one.name}\n{one.tail()}" for one in self.components.values()
            )
            time.sleep(every)
        return found

    def _alive(self, names: Iterable[Name]) -> bool:
        try:
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return False
        if not answer.is_success:
            return False
        health = answer.json()
        for name in names:
            if name == "api-server":
                continue
            key = name.replace("-", "_")
            beat = (health.get(key) or {}).get(f"latest_{key}_heartbeat")
            if not beat or datetime.fromisoformat(beat) < self.components[name].started:
                return False
        return True

    def api(self, user: str = "admin") -> AirflowApi:
        """Airflow as one of `USERS`; signed in once."""
        if user not in self._apis:
            self._apis[user] = AirflowApi(self.url, user, self.passwords[user])
        return self._apis[user]

    @property
    def admin(self) -> AirflowApi:
        return self.api("admin")

    def airflow(self, *arguments: str, seconds: float = 120, environment: Mapping[str, str] | None = None) -> str:
        """Airflow's command line, with the scheduler's environment: what it writes."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env={**self.components["scheduler"].environment, **(environment or {})},
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for_dags(self, *dag_ids: str, seconds: float = 60) -> None:
        """Until these are known. A file that does not load shows in `admin.import_errors()`."""
        self.until(lambda: set(dag_ids) <= self.admin.dag_ids(), seconds)

    def kill_task(self, instance: TaskInstance, *, with_supervisor: bool = True) -> None:
        """SIGKILL. With its supervisor nobody says how it ended, and the scheduler finds out when heartbeats stay away
        (20 s); without, the supervisor reports a failure at once."""
        assert instance.pid is not None
        mine = {one.pid for one in self.components["scheduler"].processes()}
        task = psutil.Process(instance.pid)
        supervisor = task.parent()
        assert task.pid in mine
        assert supervisor is not None
        assert supervisor.pid in mine
        if with_supervisor:
            assert supervisor.pid != self.components["scheduler"].process.pid  # type: ignore[union-attr]
            supervisor.kill()
        task.kill()

    def files(self) -> list[Path]:
        """What this Airflow has written beside its metadata: logs of tasks and of components."""
        return [*(one for one in self.logs.rglob("*") if one.is_file()), *(one.log for one in self.components.values())]

    def memory_mib(self) -> float:
        """Proportional set size of all processes, shared pages counted once (Linux)."""
        total = 0
        for component in self.components.values():
            for one in component.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += one.memory_full_info().pss
        return total / 2**20
