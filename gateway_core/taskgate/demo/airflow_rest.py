"""As much of Airflow's public REST API as the demo needs, as one of its users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx


class AirflowRest:
    """Signs in at once. Raises httpx.HTTPError."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        answer = self._http.post("/auth/token", json={"username": user, "password": password})
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def close(self) -> None:
        self._http.close()

    def knows(self, dag_id: str) -> bool:
        return any(one["dag_id"] == dag_id for one in self._call("GET", "/dags")["dags"])

    def import_errors(self) -> str:
        """The tracebacks of DAG files that did not load."""
        return "\n".join(one["stack_trace"] for one in self._call("GET", "/importErrors")["import_errors"])

    def trigger(self, dag_id: str) -> str:
        """A manual run's id."""
        run_id: str = self._call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        state: str = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def tasks(self, dag_id: str, run_id: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What the task returned, as it is stored; None where that is nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=false"
        try:
            return self._call("GET", path)["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[str]:
        """The events of a try's log."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return [str(one if isinstance(one, str) else one.get("event", "")) for one in content]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, f"/api/v2{path}", json=body)
        answer.raise_for_status()
        return answer.json()
