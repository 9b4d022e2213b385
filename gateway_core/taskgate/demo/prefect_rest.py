"""As much of Prefect's REST API as the demo needs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

_AGAIN = (0.2, 0.5, 1.0, 2.0)  # seconds between tries while its SQLite is locked, as Prefect's own client tries again


@dataclass(frozen=True, slots=True)
class TaskRun:
    """`task` is the name its author gave it, `stored` where its result is kept (None: nowhere)."""

    id: str
    task: str
    state: str
    run_count: int
    stored: str | None


class PrefectRest:
    """`url` is the API's, with `/api` at the end. Raises httpx.HTTPError."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._http.close()

    def healthy(self) -> bool:
        try:
            return self._http.get("/health", timeout=2).is_success
        except httpx.TransportError:
            return False

    def has_worker(self, pool: str) -> bool:
        """Whether the pool is there, and a worker of it."""
        answer = self._http.get(f"/work_pools/{pool}")
        return answer.is_success and bool(self._call("POST", f"/work_pools/{pool}/workers/filter", {}))

    def block_documents(self) -> str:
        """All of them, with what is secret in them."""
        return str(self._call("POST", "/block_documents/filter", {"include_secrets": True}))

    def deploy(self, flow: str, folder: str, deployment: Mapping[str, Any]) -> str:
        """Its id. `deployment` is an entry of a `prefect.yaml` in `folder`."""
        flow_id = self._call("POST", "/flows/", {"name": flow})["id"]
        body = {
            "name": deployment["name"],
            "flow_id": flow_id,
            "entrypoint": deployment["entrypoint"],
            "work_pool_name": deployment["work_pool"]["name"],
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": folder}}],
        }
        found: str = self._call("POST", "/deployments/", body)["id"]
        return found

    def run(self, deployment_id: str) -> str:
        """The new flow run's id."""
        body = {"state": {"type": "SCHEDULED"}}
        found: str = self._call("POST", f"/deployments/{deployment_id}/create_flow_run", body)["id"]
        return found

    def state(self, flow_run_id: str) -> tuple[str, str]:
        """Its type (`PAUSED`) and its name (`Suspended`)."""
        found = self._call("GET", f"/flow_runs/{flow_run_id}")["state"]
        return found["type"], found["name"]

    def task_runs(self, flow_run_id: str) -> list[TaskRun]:
        """Oldest first, as far as the server has them: a moment after they happen."""
        body = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [
            TaskRun(
                one["id"],
                one["task_key"].rpartition(".")[2].rpartition("-")[0],
                one["state_type"],
                one["run_count"],
                ((one["state"] or {}).get("data") or {}).get("storage_key"),
            )
            for one in self._call("POST", "/task_runs/filter", body)
        ]

    def logs(self, flow_run_id: str) -> list[Mapping[str, Any]]:
        """What the run and its tasks logged, oldest first: `message`, `task_run_id`."""
        body = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        found: list[Mapping[str, Any]] = self._call("POST", "/logs/filter", body)
        return found

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        for pause in (*_AGAIN, None):
            answer = self._http.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or pause is None:
                break
            time.sleep(pause)
        answer.raise_for_status()
        return answer.json() if answer.content else None
