"""A whole Airflow: API server, scheduler with its executor, triggerer and DAG processor, each a process of its own with
an environment of its own, real users, and tokens signed with a private key that only those who sign are told of.

with RealAirflow(directory, server, dags=folder) as airflow:
    run = airflow.admin.trigger("a_dag", conf={"rows": 3})
    run.wait("a_task", "deferred")
    airflow.restart("triggerer")
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from taskgate.demo.postgres_server import PostgresServer, free_port
from tests.e2e.airflow_api import AirflowApi, TaskInstance
from tests.e2e.airflow_forms import own_environment
from tests.e2e.airflow_metadata import AirflowMetadata
from tests.e2e.airflow_place import USERS, AirflowPlace

Name = Literal["api-server", "scheduler", "triggerer", "dag-processor"]
NAMES: tuple[Name, ...] = ("api-server", "scheduler", "triggerer", "dag-processor")


@dataclass
class Component:
    """One of Airflow's processes, with all it starts: they share its session. Its log is one file for all its lives."""

    name: Name
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def start(self) -> None:
        command = [sys.executable, "-m", "airflow", self.name]
        if self.name == "triggerer":
            command.append("--skip-serve-logs")
        self.started = datetime.now(UTC)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def check(self) -> None:
        assert self.process is not None, f"{self.name} was not started"
        assert self.process.poll() is None, f"{self.name} ended:\n{self.tail()}"

    def terminate(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self, *, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL after so many seconds; then whatever is left of its session, tasks included."""
        if self.process is None:
            return
        if seconds > 0:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        for one in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        self.process.wait(20)
        self.process = None

    def processes(self) -> list[psutil.Process]:
        return [] if self.process is None else list(_of_session(self.process.pid))

    def tail(self, length: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-length:] if self.log.exists() else ""


def _of_session(leader: int) -> Iterator[psutil.Process]:
    """A task leads a process group of its own, but stays in its component's session."""
    for one in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(one.pid) == leader:
                yield one


class RealAirflow:
    """`environment` is every component's, `components` adds to one component's: `airflow_forms` has both for each form
    of the integration. The metadata database is one of `server`'s, made at the start and dropped at the end.

    With PostgreSQL a task takes a third of the time it takes with SQLite, whose writers wait for each other."""

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
        place = place or AirflowPlace.at(directory)
        self.keys = place.keys
        self.port = place.port
        self.url = place.url
        self.logs = directory / "logs"
        self.metadata = AirflowMetadata(server, f"airflow_{self.port}")
        self.passwords = place.passwords
        common = {
            **own_environment(),
            **self._settings(place.password_file, parallelism),
            **self.keys.verifying,
            **(environment or {}),
        }
        self.components: dict[Name, Component] = {}
        for name in NAMES:
            signing = self.keys.signing if name in ("api-server", "scheduler") else {}
            own = {**common, **signing, **(components or {}).get(name, {})}
            self.components[name] = Component(name, own, directory / f"{name}.log")
        self._apis: dict[str, AirflowApi] = {}

    def _settings(self, password_file: Path, parallelism: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.directory),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.metadata.url,
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.directory / "no-plugins"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__FERNET_KEY": self.metadata.fernet_key,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(16),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
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
