"""What a thief of one of the service keys of the server form can do: the control API with that key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.e2e.airflow_api import Run
from tests.e2e.airflow_forms import SOURCE, Form
from tests.e2e.shop import Shop

Holder = Literal["api-server", "triggerer"]
HOLDERS: tuple[Holder, ...] = ("api-server", "triggerer")


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """`key`: what Airflow's component of this name reads from its file."""

    url: str
    key: str = field(repr=False)

    @classmethod
    def of(cls, name: Holder, form: Form, shop: Shop) -> KeyHolder:
        file = form.components[name]["AIRFLOW__TASKGATE__API_KEY_FILE"]
        return cls(shop.gateway.url, Path(file).read_text())

    def call(self, method: str, path: str, body: Any = None, *, timeout: float = 20) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, f"{self.url}/v1{path}", json=body, headers=headers, timeout=timeout)

    def exchange(self, token: str, at: dict[str, Any], target: str = "orders-db", **options: Any) -> httpx.Response:
        """`at`: where the instance of that token is said to stand (`coordinates`)."""
        principal = {"kind": "airflow_task", **at, "token": token}
        return self.call("POST", "/credentials/exchange", {"target": target, "principal": principal}, **options)

    def delegate(self, attempt: str, at: dict[str, Any], target: str = "orders-db") -> httpx.Response:
        principal = {"kind": "airflow_deferred_task", **at, "attempt_id": attempt}
        return self.call("POST", "/credentials/delegate", {"target": target, "principal": principal})


def coordinates(run: Run, task_id: str, **other: Any) -> dict[str, Any]:
    return {"source": SOURCE, "dag_id": run.dag_id, "run_id": run.run_id, "task_id": task_id, "map_index": -1, **other}
