"""Airflow's public REST API as its people use it, in the words tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """`id` is new with every try; `pid` the task's process, whose parent is its supervisor."""

    id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    hostname: str
    pid: int | None
    start: str | None
    end: str | None
    duration: float | None
    note: str | None
    trigger: Mapping[str, Any] | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> TaskInstance:
        return cls(
            id=found["id"], task_id=found["task_id"], map_index=found["map_index"], state=found["state"],
            try_number=found["try_number"], hostname=found["hostname"] or "", pid=found["pid"],
            start=found["start_date"], end=found["end_date"], duration=found["duration"],
            note=found["note"], trigger=found["trigger"],
        )  # fmt: skip


class AirflowApi:
    """One person's or account's view. Calls raise `httpx.HTTPStatusError` with what the server said as a note."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.user = user
        self.http = httpx.Client(base_url=url, timeout=30)
        answer = self.http.post("/auth/token", json={"username": user, "password": password})
        answer.raise_for_status()
        self.token: str = answer.json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        answer = self.http.request(method, f"/api/v2{path}", json=body, params=parameters)
        try:
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            error.add_note(answer.text[:2000])
            raise
        return answer.json() if answer.content else None

    def dag_ids(self) -> set[str]:
        return {one["dag_id"] for one in self.call("GET", "/dags", limit=100)["dags"]}

    def import_errors(self) -> dict[str, str]:
        """Of the files that did not load: file name → traceback."""
        return {one["filename"]: one["stack_trace"] for one in self.call("GET", "/importErrors")["import_errors"]}

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, logical_date: datetime | None = None
    ) -> Run:
        """A manual run; without a logical date there is no `{{ ds }}`."""
        body = {"logical_date": logical_date and logical_date.isoformat(), "conf": dict(conf or {})}
        return Run(self, dag_id, self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Run:
        """A run that exists, in this person's view."""
        return Run(self, dag_id, run_id)

    def set_variable(self, key: str, value: str) -> None:
        self.call("POST", "/variables", {"key": key, "value": value})

    def pending_hitl(self) -> list[dict[str, Any]]:
        """Questions that wait for a human, of every DAG."""
        found = self.call("GET", "/dags/~/dagRuns/~/hitlDetails", response_received=False)
        details: list[dict[str, Any]] = found["hitl_details"]
        return details


@dataclass(frozen=True)
class Run:
    """A DAG run. Methods that wait raise AssertionError with the states as they are and the tasks' logs."""

    api: AirflowApi
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    @property
    def state(self) -> str:
        found: str = self.api.call("GET", self.path)["state"]
        return found

    def tasks(self) -> list[TaskInstance]:
        found = self.api.call("GET", f"{self.path}/taskInstances", limit=100)["task_instances"]
        return [TaskInstance.of(one) for one in found]

    def states(self) -> dict[str, str | None]:
        """task id → state; a mapped task's instances are `task[0]`, `task[1]`, …"""
        return {
            one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]": one.state for one in self.tasks()
        }

    def task(self, task_id: str, map_index: int = -1) -> TaskInstance:
        return TaskInstance.of(self.api.call("GET", self._instance(task_id, map_index)))

    def tries(self, task_id: str, map_index: int = -1) -> list[dict[str, Any]]:
        """Every try there was, the current one too."""
        found = self.api.call("GET", f"{self._instance(task_id, map_index)}/tries")["task_instances"]
        return [dict(one) for one in found]

    def wait(
        self,
        task_id: str,
        states: str | Collection[str],
        seconds: float = 60,
        *,
        map_index: int = -1,
        try_number: int | None = None,
    ) -> TaskInstance:
        """Until the task is in one of `states` (at this try, if one is named)."""
        wanted = {states} if isinstance(states, str) else set(states)

        def there() -> TaskInstance | None:
            one = self.task(task_id, map_index)
            return one if one.state in wanted and try_number in (None, one.try_number) else None

        return self._until(there, seconds, f"{task_id} is not {' or '.join(sorted(wanted))}", tuple(wanted))

    def end(self, seconds: float = 120) -> str:
        """Wait until the run is over: its state."""
        return self._until(
            lambda: self.state if self.state in ("success", "failed") else None, seconds, "the run is not over", ()
        )

    def _until(self, found: Callable[[], T | None], seconds: float, what: str, wanted: tuple[str, ...]) -> T:
        deadline = time.monotonic() + seconds
        while (one := found()) is None:
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {task.task_id}\n{self.log(task.task_id, task.try_number, task.map_index)[-2500:]}"
                    for task in self.tasks()
                    if task.try_number and task.state not in ("success", *wanted)
                )
                raise AssertionError(f"{self.dag_id}: {what} after {seconds} s: {self.states()}\n{logs}")
            time.sleep(0.2)
        return one

    def clear(self, *task_ids: str, downstream: bool = False, note: str | None = None) -> None:
        """Run these again, whatever their state."""
        body = {
            "dry_run": False, "only_failed": False, "dag_run_id": self.run_id, "task_ids": list(task_ids),
            "include_downstream": downstream, "note": note,
        }  # fmt: skip
        self.api.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)

    def mark(self, task_id: str, state: str, map_index: int = -1) -> None:
        """Say `failed`, `success` or `skipped` by hand."""
        self.api.call("PATCH", self._instance(task_id, map_index), {"new_state": state})

    def mark_run(self, state: str) -> None:
        self.api.call("PATCH", self.path, {"state": state})

    def note(self, task_id: str, text: str, map_index: int = -1) -> None:
        self.api.call("PATCH", self._instance(task_id, map_index), {"note": text})

    def log(self, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """A try's log as the UI shows it: an event a line, its fields behind it; "" where there is none yet."""
        try:
            found = self.api.call(
                "GET", f"{self.path}/taskInstances/{task_id}/logs/{try_number}", map_index=map_index, full_content=True
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return ""
            raise
        return "\n".join(_line(one) for one in found["content"])

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """The value, or None where nothing was pushed."""
        try:
            return self.api.call(
                "GET", f"{self.path}/taskInstances/{task_id}/xcomEntries/{key}", map_index=map_index, deserialize=False
            )["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def hitl(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.call("GET", f"{self._instance(task_id, -1)}/hitlDetails")
        return found

    def answer(self, task_id: str, options: list[str], params: Mapping[str, Any] | None = None) -> None:
        """Answer the question a task waits for."""
        body = {"chosen_options": options, "params_input": dict(params or {})}
        self.api.call("PATCH", f"{self._instance(task_id, -1)}/hitlDetails", body)

    def _instance(self, task_id: str, map_index: int) -> str:
        return f"{self.path}/taskInstances/{task_id}/{map_index}"


def _line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    fields = {name: value for name, value in entry.items() if name not in ("event", "timestamp")}
    return f"{entry.get('event', '')} {fields}"
