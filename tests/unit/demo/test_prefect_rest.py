"""What Prefect's API answers, in the words of the demo."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from taskgate.demo import prefect_rest
from taskgate.demo.prefect_rest import PrefectRest, TaskRun

RUNS = [
    {
        "id": "1", "task_key": "read_customers-11d3a472", "state_type": "COMPLETED", "run_count": 1,
        "state": {"data": {"type": "reference", "storage_key": "a-key"}},
    },
    {"id": "2", "task_key": "a.delete-old-9fae8e13", "state_type": "RUNNING", "run_count": 2, "state": {"data": None}},
]  # fmt: skip


class Answers:
    """Answers each request with the next."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answers.pop(0)

    def rest(self) -> PrefectRest:
        rest = PrefectRest("http://prefect.example/api")
        rest._http = httpx.Client(base_url="http://prefect.example/api", transport=httpx.MockTransport(self))
        return rest


def ok(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_task_runs_have_their_tasks_names() -> None:
    answers = Answers(ok(RUNS))
    assert answers.rest().task_runs("run") == [
        TaskRun("1", "read_customers", "COMPLETED", 1, "a-key"),
        TaskRun("2", "delete-old", "RUNNING", 2, None),
    ]
    assert json.loads(answers.asked[0].content)["flow_runs"] == {"id": {"any_": ["run"]}}


def test_a_deployment_is_what_prefect_yaml_says() -> None:
    answers = Answers(ok({"id": "flow"}), ok({"id": "deployment"}))
    described = {"name": "demo", "entrypoint": "a.py:b", "work_pool": {"name": "governed"}}
    assert answers.rest().deploy("a-flow", "/flows", described) == "deployment"
    sent = json.loads(answers.asked[1].content)
    assert (sent["name"], sent["flow_id"], sent["entrypoint"]) == ("demo", "flow", "a.py:b")
    assert sent["work_pool_name"] == "governed"
    assert "/flows" in json.dumps(sent["pull_steps"])


def test_a_pool_without_a_worker_has_none() -> None:
    assert not Answers(httpx.Response(404)).rest().has_worker("governed")
    assert not Answers(ok({}), ok([])).rest().has_worker("governed")
    assert Answers(ok({}), ok([{"name": "demo-worker"}])).rest().has_worker("governed")


def test_a_locked_database_is_asked_again_and_no_other_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    busy = httpx.Response(503)
    found = {"state": {"type": "PAUSED", "name": "Suspended"}}
    assert Answers(busy, busy, ok(found)).rest().state("run") == ("PAUSED", "Suspended")
    assert pauses == list(prefect_rest._AGAIN[:2])
    with pytest.raises(httpx.HTTPStatusError):
        Answers(httpx.Response(500)).rest().state("run")
