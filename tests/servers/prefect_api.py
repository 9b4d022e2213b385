"""Prefect's REST API as its people and programs use it, in the words tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class State:
    """`type` is one of Prefect's nine (`PAUSED`), `name` says which kind of it (`Suspended`)."""

    type: str
    name: str
    message: str

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> State:
        return cls(found["type"], found["name"], found["message"] or "") if found else cls("", "", "")


class PrefectApi:
    """Calls raise `httpx.HTTPStatusError` with what the server said as a note."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        for again in (0.2, 0.5, 1.0, 2.0, None):
            answer = self.http.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or again is None:
                break
            time.sleep(again)  # SQLite is locked: Prefect's own client asks again, too
        try:
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            error.add_note(answer.text[:2000])
            raise
        return answer.json() if answer.content else None

    def healthy(self) -> bool:
        try:
            return self.http.get("/health", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def work_pool(self, name: str, kind: str, template: Mapping[str, Any]) -> None:
        """`template` is the base job template: the worker class' `get_default_base_job_template()`."""
        self.call("POST", "/work_pools/", {"name": name, "type": kind, "base_job_template": dict(template)})

    def deployment(self, name: str, flow: str, *, entrypoint: str, folder: str, work_pool: str, **more: Any) -> str:
        """Its id. `entrypoint` is `file.py:function` within `folder`; `more` are fields of the API's own."""
        flow_id = self.call("POST", "/flows/", {"name": flow})["id"]
        body = {
            "name": name,
            "flow_id": flow_id,
            "entrypoint": entrypoint,
            "work_pool_name": work_pool,
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": folder}}],
            "enforce_parameter_schema": False,
            **more,
        }
        found: str = self.call("POST", "/deployments/", body)["id"]
        return found

    def run(self, deployment_id: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> FlowRun:
        """A run of it, now; `more` are fields of the API's own, such as `job_variables`."""
        body = {"parameters": dict(parameters or {}), "state": {"type": "SCHEDULED"}, **more}
        return FlowRun(self, self.call("POST", f"/deployments/{deployment_id}/create_flow_run", body)["id"])

    def events(self, prefix: str) -> list[dict[str, Any]]:
        """Newest first: name, payload, resource, related."""
        found: list[dict[str, Any]] = self.call("POST", "/events/filter", {"filter": {"event": {"prefix": [prefix]}}})[
            "events"
        ]
        return found

    def automation(self, name: str, trigger: Mapping[str, Any], actions: list[Mapping[str, Any]]) -> str:
        body = {"name": name, "trigger": dict(trigger), "actions": [dict(one) for one in actions]}
        found: str = self.call("POST", "/automations/", body)["id"]
        return found


@dataclass(frozen=True)
class FlowRun:
    """Methods that wait raise AssertionError with the states as they are and what was logged."""

    api: PrefectApi
    id: str

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.call("GET", f"/flow_runs/{self.id}")
        return found

    @property
    def state(self) -> State:
        return State.of(self.read()["state"])

    @property
    def states(self) -> list[str]:
        """The names of all it has been in, in order."""
        found = self.api.call("GET", f"/flow_run_states/?flow_run_id={self.id}")
        return [one["name"] for one in sorted(found, key=lambda one: str(one["timestamp"]))]

    def task_runs(self) -> dict[str, dict[str, Any]]:
        """By name, as they are known to the server: a little later than they happen."""
        body = {"flow_runs": {"id": {"any_": [self.id]}}}
        return {one["name"]: one for one in self.api.call("POST", "/task_runs/filter", body)}

    def wait(self, wanted: str | Collection[str], seconds: float = 60) -> State:
        """Until the state's type or name is one of these."""
        names = {wanted} if isinstance(wanted, str) else set(wanted)

        def there() -> State | None:
            state = self.state
            return state if state.type in names or state.name in names else None

        return self.until(there, seconds, f"it is not {' or '.join(sorted(names))}")

    def end(self, seconds: float = 90) -> State:
        return self.wait(ENDED, seconds)

    def completes(self, seconds: float = 90) -> None:
        """AssertionError where it ends in another way."""
        state = self.end(seconds)
        assert state.type == "COMPLETED", f"{state}\n" + "\n".join(self.logs())

    def until(self, found: Callable[[], T | None], seconds: float, what: str) -> T:
        deadline = time.monotonic() + seconds
        while (one := found()) is None:
            assert time.monotonic() < deadline, f"{what} after {seconds} s: {self.states}\n" + "\n".join(self.logs())
            time.sleep(0.2)
        return one

    def resume(self, run_input: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the server says of it: `status` is ACCEPT or not."""
        found: dict[str, Any] = self.api.call("POST", f"/flow_runs/{self.id}/resume", {"run_input": run_input})
        return found

    def set_state(self, kind: str, name: str | None = None, *, force: bool = False) -> dict[str, Any]:
        body = {"state": {"type": kind, "name": name}, "force": force}
        found: dict[str, Any] = self.api.call("POST", f"/flow_runs/{self.id}/set_state", body)
        return found

    def cancel(self) -> None:
        self.set_state("CANCELLING")

    def retry(self) -> None:
        """As the UI's button does."""
        self.set_state("SCHEDULED", "AwaitingRetry", force=True)

    def logs(self) -> list[str]:
        """What the run and its worker have logged, in order."""
        body = {
            "logs": {"flow_run_id": {"any_": [self.id]}},
            "sort": "TIMESTAMP_ASC",
            "limit": 200,
        }
        return [one["message"] for one in self.api.call("POST", "/logs/filter", body)]

    def logged(self, begins: str, seconds: float = 20) -> str:
        """The last line that begins so, once there is one."""
        return self.until(
            lambda: next((one for one in reversed(self.logs()) if one.startswith(begins)), None),
            seconds,
            f"nothing logged that begins {begins!r}",
        )

    def artifacts(self) -> list[dict[str, Any]]:
        body = {"artifacts": {"flow_run_id": {"any_": [self.id]}}}
        found: list[dict[str, Any]] = self.api.call("POST", "/artifacts/filter", body)
        return found
