"""Stands in for a Prefect's REST API, as far as the gateway asks it; the real one is in tests/e2e.

Paths, fields and their values are those that servers of Prefect 3.7 and 3.9 answer with."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from taskgate.errors import GatewayFault
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.identity.orchestrators.prefect.source import PrefectSource
from taskgate.secrets.secret import Secret
from taskgate.settings_prefect import PrefectSettings

SOURCE = "prod-prefect"
AUTH = "admin:canary-prefect-auth"
USER = {"id": None, "type": "USER", "display_value": "bob"}
"""Who created a run, as Prefect says it."""
_NAMES = {"COMPLETED": "Completed", "CANCELLING": "Cancelling", "CRASHED": "Crashed", "RUNNING": "Running"}


def _id() -> str:
    return str(uuid4())


@dataclass
class Run:
    """A flow run. `padding`: characters of parameters that it was started with; `odd`: fields that are answered in
    place of its own."""

    flow_id: str
    deployment_id: str | None = None
    work_pool: str | None = None
    parent_task_run_id: str | None = None
    state: str = "RUNNING"
    state_name: str = ""
    reschedules: bool = False
    pause_key: str | None = None
    run_count: int = 1
    name: str = "wakeful-crow"
    tags: list[str] = field(default_factory=list)
    job_variables: dict[str, Any] | None = field(default_factory=dict)
    created_by: dict[str, Any] | None = None
    auto_scheduled: bool = False
    padding: int = 0
    odd: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=_id)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def json(self) -> dict[str, Any]:
        name = self.state_name or _NAMES.get(self.state, self.state.title())
        return {
            "id": self.id, "created": _time(self.since), "updated": _time(self.since), "name": self.name,
            "flow_id": self.flow_id, "state_id": _id(), "deployment_id": self.deployment_id,
            "deployment_version": None, "work_queue_id": None, "work_queue_name": None, "flow_version": "f" * 32,
            "parameters": {"text": "canary-parameter" + "x" * self.padding}, "idempotency_key": None, "context": {},
            "empirical_policy": {"retries": 0, "retry_delay": 0, "pause_keys": [], "resuming": False},
            "tags": self.tags, "labels": {}, "parent_task_run_id": self.parent_task_run_id, "state_type": self.state,
            "state_name": name, "run_count": self.run_count, "start_time": _time(self.since), "end_time": None,
            "total_run_time": 0.0, "auto_scheduled": self.auto_scheduled, "infrastructure_pid": None,
            "created_by": self.created_by, "work_pool_id": None, "work_pool_name": self.work_pool,
            "state": {
                "id": _id(), "type": self.state, "name": name, "timestamp": _time(self.since), "message": None,
                "data": None,
                "state_details": {
                    "flow_run_id": self.id, "task_run_id": self.parent_task_run_id, "child_flow_run_id": None,
                    "pause_timeout": None, "pause_reschedule": self.reschedules, "pause_key": self.pause_key,
                    "run_input_keyset": None,
                },
            },
            "job_variables": self.job_variables,
            **self.odd,
        }  # fmt: skip

    def started_over(self) -> None:
        self.run_count, self.state = self.run_count + 1, "RUNNING"

    def suspended(self, seconds_ago: float = 0.0) -> None:
        self.state, self.reschedules = "PAUSED", True
        self.since = datetime.now(UTC) - timedelta(seconds=seconds_ago)


@dataclass
class TaskRun:
    """A task run. `recorded_after`: so many looks for it find nothing yet."""

    flow_run_id: str | None
    state: str = "RUNNING"
    run_count: int = 1
    task_key: str = "clean-0a1b2c3d"
    recorded_after: int = 0
    odd: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=_id)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id, "name": "clean-5f7", "flow_run_id": self.flow_run_id, "task_key": self.task_key,
            "dynamic_key": _id(), "cache_key": None, "task_version": None, "empirical_policy": {"retries": 1},
            "tags": [], "labels": {}, "task_inputs": {}, "state_type": self.state, "state_name": self.state.title(),
            "run_count": self.run_count, "flow_run_run_count": 1,
            "state": {"id": _id(), "type": self.state, "name": self.state.title(), "timestamp": _time(),
                      "message": "", "data": None, "state_details": {"flow_run_id": self.flow_run_id}},
            **self.odd,
        }  # fmt: skip


class Prefect:
    """What there is, by id. `answer`: what it answers instead of everything else. `slow`: called before each answer."""

    def __init__(self) -> None:
        self.flows: dict[str, str] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, Run] = {}
        self.tasks: dict[str, TaskRun] = {}
        self.answer: httpx.Response | Exception | None = None
        self.asked: list[str] = []
        self.auth = AUTH
        self.secrets: list[str | Exception] = []

    def flow(self, name: str = "orders-cleanup") -> str:
        flow_id = _id()
        self.flows[flow_id] = name
        return flow_id

    def deployment(self, flow_id: str, name: str = "nightly", work_pool: str | None = "etl") -> str:
        deployment_id = _id()
        self.deployments[deployment_id] = {
            "id": deployment_id, "name": name, "flow_id": flow_id, "work_pool_name": work_pool,
        }  # fmt: skip
        return deployment_id

    def run(self, flow: str = "orders-cleanup", **given: Any) -> Run:
        run = Run(**({} if "flow_id" in given else {"flow_id": self.flow(flow)}), **given)
        self.runs[run.id] = run
        return run

    def deployed(self, flow: str = "orders-cleanup", deployment: str = "nightly", **given: Any) -> Run:
        """A run of a deployment in the pool `etl`."""
        flow_id = self.flow(flow)
        pool = given.get("work_pool", "etl")
        made = {"flow_id": flow_id, "deployment_id": self.deployment(flow_id, deployment, pool), "work_pool": pool}
        return self.run(**{**made, **given})

    def task(self, run: Run, **given: Any) -> TaskRun:
        task = TaskRun(run.id, **given)
        self.tasks[task.id] = task
        return task

    def subflow(self, run: Run, flow: str = "inner", **given: Any) -> Run:
        """A flow that a flow calls: the call is a task run."""
        return self.run(flow, parent_task_run_id=self.task(run, task_key=f"{flow}-0a1b2c3d").id, **given)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api")
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(self.auth.encode()).decode()}":
            return httpx.Response(401, json={"exception_message": "Unauthorized"})
        kind, _, rest = path.removeprefix("/").partition("/")
        if rest == "filter":
            return self._filtered(kind, json.loads(request.content))
        found: Any = None
        match kind:
            case "flow_runs":
                found = self.runs[rest].json() if rest in self.runs else None
            case "task_runs":
                found = next(iter(self._task(rest)), None)
            case "flows":
                found = {"id": rest, "name": self.flows[rest], "tags": []} if rest in self.flows else None
            case "deployments":
                found = self.deployments.get(rest)
        return httpx.Response(200, json=found) if found else httpx.Response(404, json={"detail": f"{kind} not found"})

    def _filtered(self, kind: str, body: dict[str, Any]) -> httpx.Response:
        chosen = body[kind]
        if "id" not in chosen:
            (state,) = chosen["state"]["type"]["any_"]
            paused = [run.json() for run in self.runs.values() if run.state == state]
            return httpx.Response(200, json=paused[body["offset"] : body["offset"] + body["limit"]])
        ids = chosen["id"]["any_"]
        assert len(ids) <= body["limit"] <= 200
        if any(len(one) != 36 for one in ids):
            return httpx.Response(422, json={"exception_message": "Invalid request received."})
        if kind == "flow_runs":
            return httpx.Response(200, json=[self.runs[one].json() for one in ids if one in self.runs])
        return httpx.Response(200, json=[found for one in ids for found in self._task(one)])

    def _task(self, task_id: str) -> list[dict[str, Any]]:
        task = self.tasks.get(task_id)
        if task is None or task.recorded_after > 0:
            if task is not None:
                task.recorded_after -= 1
            return []
        return [task.json()]

    def source(self, **settings: Any) -> PrefectSource:
        """The gateway's side of it."""
        given = {"url": "https://prefect.example/api/", "auth_string": "env:P", "recorded_within": 0.3, **settings}
        made = PrefectSettings(source=SOURCE, **given)
        client = httpx.AsyncClient(transport=httpx.MockTransport(self), timeout=5)
        return PrefectSource(made, PrefectRest(SOURCE, PrefectAccount(made, self._secret, client)))

    async def _secret(self, reference: str) -> Secret:
        assert reference in ("env:P", "env:K")
        secret = self.secrets.pop(0) if self.secrets else AUTH
        if isinstance(secret, GatewayFault):
            raise secret
        return Secret(str(secret))


def _time(when: datetime | None = None) -> str:
    return (when or datetime.now(UTC)).isoformat().replace("+00:00", "Z")
