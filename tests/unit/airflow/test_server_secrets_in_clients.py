"""The server form's backend where a task runs, where DAGs are parsed, and where triggers run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowSecretsBackendAccessDenied, Process
from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.test_server_secrets import denied
from tests.unit.airflow.test_task_token import ATTEMPT


class ApiServer:
    """What a client process gets from its supervisor."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.variables: dict[str, str] = {}

    def get_connection(self, conn_id: str) -> Any:
        found = self.connections.get(conn_id)
        if isinstance(found, BaseException):
            raise found
        return found

    def get_variable(self, key: str) -> str | None:
        return self.variables.get(key)

    async def aget_connection(self, conn_id: str) -> Any:
        return self.get_connection(conn_id)

    async def aget_variable(self, key: str) -> str | None:
        return self.get_variable(key)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    api_server = ApiServer()
    monkeypatch.setattr(compat, "process", lambda: Process.CLIENT)
    monkeypatch.setattr("taskgate_airflow.compat.connections._execution_api", lambda: api_server)
    return api_server


@pytest.fixture
def triggerer(client: ApiServer, api_key_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The triggerer's process, with a key of its own, in a trigger's context."""
    import structlog

    monkeypatch.setattr(compat, "process", lambda: Process.TRIGGER_RUNNER)
    monkeypatch.setenv("AIRFLOW__TASKGATE__API_KEY_FILE", str(api_key_file))
    bound = {"ti_id": ATTEMPT, "dag_id": "orders_cleanup", "run_id": "manual__1", "task_id": "wait", "map_index": -1}
    with structlog.contextvars.bound_contextvars(**bound):
        yield client


# --- a task's process, and those that parse ---------------------------------------------------------------------------


async def test_a_client_has_the_api_server_asked_before_its_environment_could_answer(
    backend_kwargs: dict[str, Any], client: ApiServer
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    client.connections["orders_db"] = SimpleNamespace(login="tg_1")
    assert backend.get_connection("orders_db").login == "tg_1"
    assert (await backend.aget_connection("orders_db")).login == "tg_1"


async def test_a_client_leaves_everything_else_to_airflow(backend_kwargs: dict[str, Any], client: ApiServer) -> None:
    client.connections["plain_db"] = SimpleNamespace(login="app")
    for backend in (TaskgateServerSecretsBackend(**backend_kwargs), TaskgateServerSecretsBackend()):
        assert backend.get_connection("plain_db") is None
        assert await backend.aget_connection("plain_db") is None
        assert backend.get_conn_value("plain_db") is None
        assert backend.get_variable("taskgate:refusal:orders_db") is None


@pytest.mark.parametrize("answer", [None, AirflowSecretsBackendAccessDenied("Access denied")])
async def test_a_refusal_reaches_the_tasks_log_with_its_reason(
    backend_kwargs: dict[str, Any], client: ApiServer, answer: object
) -> None:
    client.connections["orders_db"] = answer
    client.variables["taskgate:refusal:orders_db"] = "rule no-night-shift: not at night"
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    assert denied(backend) == "Connection 'orders_db' refused: rule no-night-shift: not at night"
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="not at night"):
        await backend.aget_connection("orders_db")


def test_an_api_server_that_says_nothing_denies(
    backend_kwargs: dict[str, Any], client: ApiServer, running_task: SimpleNamespace
) -> None:
    assert "does not hand it out; its log says why" in denied(TaskgateServerSecretsBackend(**backend_kwargs))


def test_code_that_is_only_parsed_is_told_so(backend_kwargs: dict[str, Any], client: ApiServer) -> None:
    assert "only handed to a running task" in denied(TaskgateServerSecretsBackend(**backend_kwargs))


def test_a_stored_password_from_a_server_that_is_configured_otherwise_is_not_used(
    backend_kwargs: dict[str, Any], client: ApiServer
) -> None:
    client.connections["orders_db"] = SimpleNamespace(login="app", password="s3cret")
    says = denied(TaskgateServerSecretsBackend(**backend_kwargs))
    assert "another connection than the gateway's" in says
    assert "s3cret" not in says


# --- the triggerer ----------------------------------------------------------------------------------------------------


def test_a_trigger_gets_what_its_task_held(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], triggerer: ApiServer
) -> None:
    backend_kwargs["api_key_file"] = "/nowhere/the-api-servers"
    connection = TaskgateServerSecretsBackend(**backend_kwargs).get_connection("orders_db")
    assert connection.login == control_api.api.issued[0]["user"]
    assert control_api.api.asked[0][2]["principal"] == {
        "kind": "airflow_deferred_task",
        "source": "demo-airflow",
        "dag_id": "orders_cleanup",
        "run_id": "manual__1",
        "task_id": "wait",
        "map_index": -1,
        "attempt_id": ATTEMPT,
    }


def test_a_triggerer_without_a_key_of_its_own_denies(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    triggerer: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW__TASKGATE__API_KEY_FILE")
    assert "[taskgate] api_key_file" in denied(TaskgateServerSecretsBackend(**backend_kwargs))
    assert control_api.api.asked == []


def test_a_trigger_that_no_task_waits_for_isdenied(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], triggerer: ApiServer
) -> None:
    import structlog

    with structlog.contextvars.bound_contextvars(ti_id=None):
        assert "a trigger that a task waits for" in denied(TaskgateServerSecretsBackend(**backend_kwargs))
    assert control_api.api.asked == []


def test_a_trigger_asks_the_server_what_is_stored(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    triggerer: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its process has no database. What the server says of a mapping holds no secret."""
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    stored = SimpleNamespace(
        conn_type="governed_postgres", login="app", password="s3cret", extra='{"target": "orders-db"}'
    )
    with monkeypatch.context() as on_the_server:
        on_the_server.setattr(compat, "process", lambda: Process.SERVER)
        on_the_server.setattr(compat, "next_connection", lambda *_: stored)
        said = backend.get_variable("taskgate:mapping:stored_db")
    assert said is not None
    assert "s3cret" not in said
    triggerer.variables["taskgate:mapping:stored_db"] = said
    assert backend.get_connection("stored_db").login == control_api.api.issued[0]["user"]
    assert backend.get_connection("plain_db") is None
