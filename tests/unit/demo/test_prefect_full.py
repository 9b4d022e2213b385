"""Who is told what in the demo's Prefect, and how what it says is read. That it runs is shown in tests/e2e."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.demo import prefect_full
from taskgate.demo.forms import PREFECT_POOL, prefect_form
from taskgate.demo.orchestrator import TaskEnd
from taskgate.demo.prefect_full import WholePrefect
from taskgate.demo.prefect_rest import TaskRun
from taskgate.demo.prefect_server import PrefectServer
from taskgate.identity.scopes import Scope
from taskgate.settings_prefect import PrefectSettings


class Prefect:
    """Its API, as the demo asks: one answer after the other, the last one again and again."""

    def __init__(self) -> None:
        self.states = [("COMPLETED", "Completed")]
        self.runs: list[list[TaskRun]] = [[]]

    def state(self, flow_run_id: str) -> tuple[str, str]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def task_runs(self, flow_run_id: str) -> list[TaskRun]:
        return self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]

    def logs(self, flow_run_id: str) -> list[dict[str, str]]:
        return [
            {"message": "Taskgate session ses_1", "task_run_id": "1"},
            {"message": "Executed one operation", "task_run_id": "1"},
            {"message": "Taskgate session ses_2", "task_run_id": "2"},
        ]

    def close(self) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectServer]:
    monkeypatch.setenv("PREFECT_API_KEY", "somebody's")
    monkeypatch.setenv("TASKGATE_API_KEY", "somebody's")
    monkeypatch.setattr("time.sleep", lambda _: None)
    one = PrefectServer(tmp_path / "prefect")
    yield one
    one.stop()


@pytest.fixture
def api(server: PrefectServer) -> Prefect:
    server.rest.close()
    found: Any = Prefect()
    server.rest = found
    return found  # type: ignore[no-any-return]


@pytest.fixture
def stage(tmp_path: Path, server: PrefectServer) -> Any:
    form = prefect_form(server.url)
    return SimpleNamespace(
        directory=tmp_path,
        form=form,
        keys={name: f"secret of {name}" for name in (*form.keys, "dana")},
        gateway=SimpleNamespace(url="http://127.0.0.1:1"),
        dashboard_url="http://127.0.0.1:2",
    )


@pytest.fixture
def prefect(stage: Any, server: PrefectServer) -> WholePrefect:
    return WholePrefect(stage, server)


def seen(prefect: WholePrefect, *environments: dict[str, str], living: int = 0) -> None:
    """As if these processes of the flow run had been seen."""
    watched: Any = SimpleNamespace(environments=environments, living=lambda: living, stop=lambda: None)
    prefect._processes = watched


def test_the_gateway_takes_what_it_is_told(server: PrefectServer) -> None:
    form = prefect_form(server.url)
    (known,) = form.settings["prefect"]
    assert PrefectSettings.model_validate(known).url == server.url
    (key,) = form.keys.values()
    assert key.scopes == [Scope.RUNS_REGISTER]
    assert key.groups == ["source:demo-prefect", f"work-pool:{PREFECT_POOL}"]


def test_only_the_worker_is_told_of_a_key(prefect: WholePrefect, server: PrefectServer) -> None:
    worker = prefect._worker.environment
    file = Path(worker["TASKGATE_WORKER_KEY_FILE"])
    assert file.read_text() == "secret of prefect-worker"
    assert file.stat().st_mode & 0o077 == 0
    assert not [name for name in server.environment if name.startswith("TASKGATE")]
    for environment in (worker, server.environment):
        assert "PREFECT_API_KEY" not in environment
        assert not [value for value in environment.values() if "secret of" in value or value == "somebody's"]


def test_everything_of_prefects_is_in_its_home(server: PrefectServer) -> None:
    paths = (
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH",
        "PREFECT_SERVER_MEMO_STORE_PATH",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY",
    )
    for name in paths:
        assert Path(server.environment[name]).is_relative_to(server.environment["PREFECT_HOME"])


def test_keys_are_looked_for_where_flows_run(prefect: WholePrefect) -> None:
    with pytest.raises(RuntimeError, match="the flow was not run"):
        _ = prefect.keys_on_workers
    seen(prefect)
    with pytest.raises(RuntimeError, match="no process of the flow run was seen"):
        _ = prefect.keys_on_workers
    seen(prefect, {"TASKGATE_RUN_SECRET": "tgr_1.secret"})
    assert prefect.keys_on_workers == []
    seen(prefect, {}, {"A": "secret of dana"}, {"B": str(prefect._key_file)})
    assert prefect.keys_on_workers == ["dana", "prefect-worker"]


def test_a_suspended_run_has_settled_once_its_process_is_gone(prefect: WholePrefect, api: Prefect) -> None:
    api.states = [("RUNNING", "Running"), ("PAUSED", "Suspended")]
    living = iter([1, 1, 0])
    watched: Any = SimpleNamespace(living=lambda: next(living), stop=lambda: None)
    prefect._processes = watched
    assert prefect.waiting("any") == ("Suspended", 0)
    api.states = [("RUNNING", "Running"), ("PAUSED", "Paused")]
    seen(prefect, living=1)
    assert prefect.waiting("any") == ("Paused", 1)


def test_one_that_does_not_settle_is_shown_as_it_is(
    prefect: WholePrefect, api: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_full, "_SETTLES", 0.0)
    api.states = [("PAUSED", "Suspended")]
    seen(prefect, living=1)
    assert prefect.waiting("any") == ("Suspended", 1)


def test_the_last_run_of_a_task_counts_and_all_its_attempts(
    prefect: WholePrefect, api: Prefect, server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = server.home / "storage" / "a-key"
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps({"metadata": {}, "result": json.dumps([[1, "masked"]])}))
    left = TaskRun("1", "delete_cancelled_orders", "RUNNING", 1, None)  # of the run before it was suspended
    again = TaskRun("2", "delete_cancelled_orders", "FAILED", 2, None)
    reads = TaskRun("3", "read_customers", "COMPLETED", 1, "a-key")
    api.runs = [[], [left], [left, again, reads]]
    assert prefect.tasks() == {
        "read_customers": TaskEnd("COMPLETED", [[1, "masked"]], ("demo-prefect:task-run:3:1",)),
        "delete_cancelled_orders": TaskEnd(
            "FAILED", None, tuple(f"demo-prefect:task-run:{one}" for one in ("1:1", "2:1", "2:2"))
        ),
        "delete_shipped_orders": TaskEnd("never started", started=False),
        "drop_orders": TaskEnd("never started", started=False),
    }
    monkeypatch.setattr(prefect_full, "_SETTLES", 0.0)
    api.runs = [[left]]
    with pytest.raises(RuntimeError, match="tasks of it are not: delete_cancelled_orders"):
        prefect.tasks()
    api.runs = [[]]
    prefect._worker.log.write_text("the gateway does not know this worker's key")
    with pytest.raises(RuntimeError, match="has started no task:\nthe gateway does not know"):
        prefect.tasks()


def test_a_tasks_log_is_its_own_and_taskgates(prefect: WholePrefect, api: Prefect) -> None:
    api.runs = [[TaskRun("1", "reads", "COMPLETED", 1, None), TaskRun("2", "deletes", "COMPLETED", 1, None)]]
    assert prefect.task_log("reads") == ["Taskgate session ses_1"]
