"""The demo's whole Airflow in the server form: API server, scheduler, triggerer and DAG processor as real processes,
signing with a key of its own, with real users; its metadata is in a database of the demo's PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from taskgate.demo.airflow_component import NAMES, Component, Name
from taskgate.demo.airflow_place import GATEWAY_USER, AirflowPlace
from taskgate.demo.airflow_rest import AirflowRest
from taskgate.demo.airflow_settings import airflow_settings
from taskgate.demo.example import AIRFLOW
from taskgate.demo.forms import Form
from taskgate.demo.orchestrator import TaskEnd
from taskgate.demo.stage import CONNECTION_ID, DAG_ID, SOURCE, TARGET, Stage

# Roles of the simple auth manager. The gateway only reads; `lee` starts the DAG and is also a DBA at the gateway.
USERS: Mapping[str, str] = {"admin": "admin", "lee": "user", GATEWAY_USER: "viewer"}
STARTED_BY = "lee"

_DATABASE = "airflow"
_ROLE = "airflow"
_SETTLES = 30.0
_START = 300.0  # seconds; about a minute where nothing else runs


def place_in(directory: Path) -> AirflowPlace:
    return AirflowPlace.at(directory / "airflow-place", USERS, "EdDSA")


class WholeAirflow:
    """At `place`, which `stage`'s gateway knows already."""

    def __init__(self, stage: Stage, place: AirflowPlace) -> None:
        self.form: Form = stage.form
        self.place = place
        self.home = stage.directory / "airflow"
        self.components: dict[Name, Component] = {}
        self._stage = stage
        self._database_password = secrets.token_urlsafe(18)
        self._rest: AirflowRest | None = None
        self._run_id = ""
        common = self._common()
        for name in NAMES:
            signing = place.keys.signing if name in ("api-server", "scheduler") else {}
            self.components[name] = Component(
                name, {**common, **signing, **self._key_of(name)}, self.home / f"{name}.log"
            )

    @property
    def keys_on_workers(self) -> Sequence[str]:
        """Read from the processes themselves: the scheduler's, which run tasks, and the DAG processor's."""
        found = set()
        for name in ("scheduler", "dag-processor"):
            environments = self.components[name].environments()
            if not environments:
                raise RuntimeError(f"the environment of Airflow's {name} cannot be read")
            for environment in environments:
                values = "\n".join(environment.values())
                found |= {
                    key
                    for key, value in self._stage.keys.items()
                    if value in values or str(self._key_file(key)) in values
                }
        return sorted(found)

    def prepare(self, say: Callable[[str], None]) -> None:
        self.home.mkdir(exist_ok=True)
        began = time.monotonic()
        say("creating a metadata database for a whole Airflow (PostgreSQL); about a minute until it is up")
        asyncio.run(self._create_database())
        self._migrate()
        say(f"{time.monotonic() - began:.0f} s: the database is there; starting {', '.join(NAMES)}")
        for component in self.components.values():
            component.start()
        alive: set[Name] = set()
        while len(alive) < len(NAMES):
            for name in self._alive() - alive:
                alive.add(name)
                say(f"{time.monotonic() - began:.0f} s: the {name} is up")
            self._wait(began)
        self._rest = AirflowRest(self.place.url, STARTED_BY, self.place.passwords[STARTED_BY])
        while not self._rest.knows(DAG_ID):
            if errors := self._rest.import_errors():
                raise RuntimeError(f"the DAG does not load:\n{errors}")
            self._wait(began)
        say(f"{time.monotonic() - began:.0f} s: Airflow is up at [bold]{self.place.url}[/] and knows the DAG")
        say(f"sign in as {self._accounts()}; its DAGs are in {AIRFLOW.folder / 'dags'}, two tasks run at a time")

    def start(self, say: Callable[[str], None]) -> None:
        self._run_id = self._signed_in.trigger(DAG_ID)
        say(
            f"[bold]{STARTED_BY}[/] starts the DAG [bold]{DAG_ID}[/]: "
            f"its connection [bold]{CONNECTION_ID}[/] is stored nowhere"
        )

    @property
    def running(self) -> bool:
        self._check()
        return self._signed_in.run_state(DAG_ID, self._run_id) not in ("success", "failed")

    def waiting(self, task_id: str) -> tuple[str | None, int | None]:
        return self._waiting_state(task_id), None

    def _waiting_state(self, task_id: str) -> str | None:
        """Once it waits: a governed task asks before it defers. And once the scheduler has heard that its worker is
        through: it fails a task that goes on earlier (apache/airflow#72716), and nobody decides so soon but a demo."""
        deadline = time.monotonic() + _SETTLES
        while time.monotonic() < deadline:
            state = self._state(task_id)
            if state == "running" and any(session.parked for session in self._live_sessions()):
                return state
            if state == "deferred" and self._worker_is_through(task_id):
                return state
            time.sleep(0.3)
        return self._state(task_id)

    def tasks(self) -> Mapping[str, TaskEnd]:
        rest, run_id = self._signed_in, self._run_id
        return {
            one["task_id"]: TaskEnd(one["state"], rest.returned(DAG_ID, run_id, one["task_id"]), (one["id"],))
            for one in rest.tasks(DAG_ID, run_id)
        }

    def task_log(self, task_id: str) -> Sequence[str]:
        events = self._signed_in.log(DAG_ID, self._run_id, task_id, 1)
        return [one for one in events if one.startswith(("Taskgate ", "Refused by the gateway"))]

    def log(self) -> str:
        files = [one for one in (self.home / "logs").rglob("*") if one.is_file()]
        files += [component.log for component in self.components.values()]
        return "\n".join(one.read_text(errors="replace") for one in files if one.exists())

    def kept(self) -> Mapping[str, bytes]:
        return {"Airflow printed": self.log().encode()}

    @property
    def look_around(self) -> str:
        return (
            f"Airflow is at {self.place.url} (sign in as {self._accounts()}); its task instances link to their gateway "
            "session and approval."
        )

    def _accounts(self) -> str:
        return " or ".join(f"{user} with {self.place.passwords[user]}" for user in ("admin", STARTED_BY))

    def stop(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest = None
        for component in self.components.values():
            component.terminate()
        deadline = time.monotonic() + 5
        for component in self.components.values():
            component.stop(seconds=max(0.0, deadline - time.monotonic()))

    @property
    def _signed_in(self) -> AirflowRest:
        if self._rest is None:
            raise RuntimeError("Airflow is not up")
        return self._rest

    def _state(self, task_id: str) -> str | None:
        tasks = self._signed_in.tasks(DAG_ID, self._run_id)
        return next((one["state"] for one in tasks if one["task_id"] == task_id), None)

    def _worker_is_through(self, task_id: str) -> bool:
        lines = self.components["scheduler"].log.read_text(errors="replace").splitlines()
        return any("Received executor event" in line and f"task_id='{task_id}'" in line for line in lines)

    def _live_sessions(self) -> Sequence[Any]:
        with self._stage.client("dana") as dana:
            return dana.live_sessions()

    def _wait(self, began: float) -> None:
        self._check()
        if time.monotonic() - began > _START:
            ends = "\n".join(f"=== {one.name}\n{one.tail(2000)}" for one in self.components.values())
            raise RuntimeError(f"Airflow is not up after {_START:.0f} s:\n{ends}")
        time.sleep(0.3)

    def _check(self) -> None:
        for component in self.components.values():
            component.check()

    def _alive(self) -> set[Name]:
        """Those that have given a sign of life since they were started."""
        try:
            answer = httpx.get(f"{self.place.url}/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return set()
        if not answer.is_success:
            return set()
        health, alive = answer.json(), {NAMES[0]}
        for name in NAMES[1:]:
            key = name.replace("-", "_")
            beat = (health.get(key) or {}).get(f"latest_{key}_heartbeat")
            if beat and datetime.fromisoformat(beat) >= self.components[name].started:
                alive.add(name)
        return alive

    async def _create_database(self) -> None:
        admin = await asyncpg.connect(self._stage.postgres.dsn())
        try:
            await admin.execute(f"create role {_ROLE} login password '{self._database_password}'")
            await admin.execute(f"create database {_DATABASE} owner {_ROLE}")
            # The server's log is the demo's witness of what reached the shop: Airflow's own statements would bury it.
            await admin.execute(f"alter database {_DATABASE} set log_statement = 'none'")
        finally:
            await admin.close()

    def _migrate(self) -> None:
        log_file = self.home / "db-migrate.log"
        with log_file.open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=self.components["scheduler"].environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                check=False,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{log_file.read_text(errors='replace')[-3000:]}")

    def _common(self) -> dict[str, str]:
        """What every component is told: the same secrets backend everywhere, and no key."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}
        url = self._stage.postgres.dsn(_DATABASE, _ROLE, self._database_password)
        arguments = {"url": self._stage.gateway.url, "source": SOURCE, "connections": {CONNECTION_ID: TARGET}}
        return {
            **kept,
            "NO_COLOR": "1",
            **airflow_settings(
                self.place,
                home=self.home,
                dags=AIRFLOW.folder / "dags",
                metadata_url=url.replace("postgresql://", "postgresql+psycopg2://"),
                parallelism=2,
            ),
            "AIRFLOW__SECRETS__BACKEND": "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(arguments),
            "AIRFLOW__TASKGATE__URL": self._stage.gateway.url,
            "AIRFLOW__TASKGATE__SOURCE": SOURCE,
            "AIRFLOW__TASKGATE__DASHBOARD_URL": self._stage.dashboard_url,
        }

    def _key_file(self, key: str) -> Path:
        return self.place.directory / f"{key}.key"

    def _key_of(self, name: Name) -> dict[str, str]:
        key = f"airflow-{name}"
        if key not in self._stage.keys:
            return {}
        file = self._key_file(key)
        file.touch(mode=0o600)
        file.write_text(self._stage.keys[key])
        return {"AIRFLOW__TASKGATE__API_KEY_FILE": str(file)}
