"""The server form in Airflow's real API server, with real keys and tokens, against a stand-in of the gateway."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskgate_airflow.compat import DENIAL_IS_AN_EXCEPTION
from tests.e2e.control_api_stand_in import ControlApi, ControlApiServer
from tests.integration.airflow.api_server import AirflowDatabase, ApiServer

POOL = 40  # threads of AnyIO's, in which Airflow answers
STORED_PASSWORD = "the-stored-password"


def ti(number: int) -> str:
    return f"0197c0de-0000-7000-8000-{number:012x}"


RUNNING, LEAVING, QUEUED, UNKNOWN = ti(1), ti(2), ti(3), ti(999)
MANY = [ti(number) for number in range(100, 100 + POOL + 10)]


def _private_key(kind: str) -> bytes:
    from airflow.api_fastapi.auth.tokens import generate_private_key, key_to_pem

    return bytes(key_to_pem(generate_private_key(kind)))


@pytest.fixture(scope="module")
def gateway() -> Iterator[ControlApiServer]:
    with ControlApiServer(ControlApi()) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh_gateway(gateway: ControlApiServer) -> Iterator[None]:
    api = gateway.api
    api.asked, api.issued, api.posted, api.most_at_once = [], [], [], 0
    yield
    api.refuses, api.broken = None, []
    if api.hold is not None:
        api.hold.set()
        api.hold = None


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> AirflowDatabase:
    stored = {"login": "app", "password": STORED_PASSWORD, "host": "db.internal"}
    governed = {"conn_type": "governed_postgres", "extra": json.dumps({"target": "orders-db", "host": "lb.internal"})}
    return AirflowDatabase(
        tmp_path_factory.mktemp("airflow"),
        {RUNNING: "running", LEAVING: "running", QUEUED: "queued", **dict.fromkeys(MANY, "running")},
        [
            {"conn_id": "orders_db", "conn_type": "postgres", **stored},
            {"conn_id": "plain_db", "conn_type": "postgres", **stored},
            {"conn_id": "stored_db", **governed, "login": "app", "password": STORED_PASSWORD},
            {"conn_id": "broken_db", "conn_type": "governed_postgres", "extra": '{"resource": "x"}'},
            {"conn_id": "gopher_db", "conn_type": "governed_gopher", "extra": '{"target": "orders-db"}'},
        ],
    )


@pytest.fixture(scope="module")
def backend(gateway: ControlApiServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    key_file = tmp_path_factory.mktemp("secrets") / "service-key"
    key_file.write_text(gateway.api.key("demo-airflow", kind="service", groups=()))
    arguments = {
        "url": gateway.url,
        "source": "demo-airflow",
        "api_key_file": str(key_file),
        "connections": {"orders_db": "orders-db"},
        "timeout": 60,
    }
    return {
        "AIRFLOW__SECRETS__BACKEND": "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(arguments),
    }


@pytest.fixture(scope="module")
def server(database: AirflowDatabase, backend: dict[str, str]) -> Iterator[ApiServer]:
    with ApiServer(database, _private_key("Ed25519"), backend, algorithm="EdDSA") as running:
        yield running


@pytest.fixture(scope="module")
def without_plugins(database: AirflowDatabase, backend: dict[str, str]) -> Iterator[ApiServer]:
    """Airflow loads no plugin where it serves the execution API alone. RSA here, Ed25519 there."""
    with ApiServer(database, _private_key("RSA"), backend, algorithm="RS256", apps="execution") as running:
        yield running


def _asked(gateway: ControlApiServer) -> list[dict[str, Any]]:
    return [body["principal"] for _, path, body in gateway.api.asked if path.startswith("/v1/credentials")]


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)


def test_a_running_tasks_token_becomes_a_credential(server: ApiServer, gateway: ControlApiServer) -> None:
    token = server.token(RUNNING)
    answer = server.connection("orders_db", token)
    assert answer.status_code == 200, answer.text
    issued = gateway.api.issued[0]
    assert answer.json() == {
        "conn_id": "orders_db",
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 6432,
        "schema": "shop",
        "login": issued["user"],
        "password": issued["password"],
        "extra": None,
    }
    assert _asked(gateway) == [
        {
            "kind": "airflow_task",
            "source": "demo-airflow",
            "dag_id": "orders_cleanup",
            "run_id": "manual__1",
            "task_id": "delete_old_orders",
            "map_index": 0,
            "token": token,
        }
    ]
    assert server.connection("orders_db", token).json()["login"] == issued["user"]
    assert len(gateway.api.issued) == 1


def test_what_is_not_mapped_is_as_it_was(server: ApiServer, gateway: ControlApiServer) -> None:
    answer = server.connection("plain_db", server.token(RUNNING))
    assert (answer.json()["host"], answer.json()["password"]) == ("db.internal", STORED_PASSWORD)
    assert server.connection("nothing_db", server.token(RUNNING)).status_code == 404
    assert gateway.api.asked == []


def test_a_stored_connection_may_name_the_target(server: ApiServer, gateway: ControlApiServer) -> None:
    answer = server.connection("stored_db", server.token(RUNNING)).json()
    assert (answer["conn_type"], answer["host"], answer["port"]) == ("postgres", "lb.internal", 6432)
    assert answer["login"] == gateway.api.issued[0]["user"]
    assert "it is ignored: remove it" in server.log


@pytest.mark.parametrize(
    ("conn_id", "says"),
    [("broken_db", "give a target's name"), ("gopher_db", "speaks postgres, and the connection is for gopher")],
)
def test_a_stored_connection_that_cannot_be_used_is_denied(server: ApiServer, conn_id: str, says: str) -> None:
    answer = server.connection(conn_id, server.token(RUNNING))
    assert answer.status_code == 403
    assert says in answer.text


def test_without_a_token_of_airflows_nobody_is_asked(server: ApiServer, gateway: ControlApiServer) -> None:
    forged = server.token(RUNNING, key=_private_key("Ed25519"))
    assert server.connection("orders_db", None).status_code == 401
    assert server.connection("orders_db", forged).status_code == 403
    assert gateway.api.asked == []


def test_a_token_for_the_queue_is_none_for_connections(server: ApiServer, gateway: ControlApiServer) -> None:
    from airflow.api_fastapi.execution_api.datamodels import token

    if not hasattr(token, "TokenScope"):
        pytest.skip("this Airflow's tokens have no scope")
    assert server.connection("orders_db", server.token(RUNNING, scope="workload")).status_code == 403
    assert gateway.api.asked == []


def test_a_task_instance_that_does_not_exist_is_denied(server: ApiServer, gateway: ControlApiServer) -> None:
    answer = server.connection("orders_db", server.token(UNKNOWN))
    assert answer.status_code == 403
    assert "Airflow does not know the task instance" in answer.text
    assert gateway.api.asked == []


def test_a_refusal_is_quick_and_says_why(server: ApiServer, gateway: ControlApiServer) -> None:
    """Asked by the supervisor's own client, which takes 15 seconds over what it holds to be a fault of the server."""
    from airflow.sdk.api.client import Client, ServerResponseError

    gateway.api.refuses = "rule no-night-shift: not at night"
    client = Client(base_url=f"{server.url}/execution/", token=server.token(MANY[0]))
    started = time.monotonic()
    try:
        refused = client.connections.get("orders_db").error.name
    except ServerResponseError as error:  # before task SDK 1.2.2
        refused = HTTPStatus(error.response.status_code).name
    assert refused in ("PERMISSION_DENIED", "FORBIDDEN")
    assert time.monotonic() - started < 3
    reason = client.variables.get("taskgate:refusal:orders_db").value
    assert "did not issue a credential for target orders-db: " in reason
    assert "not at night" in reason
    assert "not at night" in server.log
    others = server.get("/execution/variables/taskgate:refusal:orders_db", server.token(MANY[1]))
    assert others.status_code == 404


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_gateway_that_answers_anything_else_is_a_denial(
    server: ApiServer, gateway: ControlApiServer, status: int
) -> None:
    gateway.api.broken = [status] * 10
    assert server.connection("orders_db", server.token(MANY[2])).status_code == 403


def test_those_who_wait_for_the_gateway_leave_threads_for_others(server: ApiServer, gateway: ControlApiServer) -> None:
    server.connection("plain_db", server.token(RUNNING))  # known to be none of ours from here on
    hold = gateway.api.hold = threading.Event()
    with ThreadPoolExecutor(len(MANY)) as pool:
        waiting = [pool.submit(server.connection, "orders_db", server.token(one)) for one in MANY[3:]]
        try:
            _until(lambda: gateway.api.at_once >= 8)
            time.sleep(1)
            assert gateway.api.at_once == 8
            started = time.monotonic()
            assert server.get("/api/v2/version", None, timeout=10).is_success
            assert server.connection("plain_db", server.token(RUNNING), timeout=10).status_code == 200
            assert time.monotonic() - started < 5
        finally:
            hold.set()
        assert {one.result(60).status_code for one in waiting} == {200}
    assert gateway.api.most_at_once == 8
    assert len({one["user"] for one in gateway.api.issued}) == len(waiting) == len(gateway.api.issued)


def test_the_gateway_is_told_which_attempts_have_ended(server: ApiServer, gateway: ControlApiServer) -> None:
    def post(attempt: str, token: str) -> int:
        now = "2026-11-29T12:00:00Z"
        body = {"state": "up_for_reschedule", "reschedule_date": now, "end_date": now}
        url = f"{server.url}/execution/task-instances/{attempt}/state"
        return httpx.patch(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code

    assert post(QUEUED, server.token(QUEUED)) == 409
    assert post(LEAVING, server.token(RUNNING)) == 403
    assert post(LEAVING, server.token(LEAVING)) == 204
    _until(lambda: gateway.api.posted == [LEAVING])


def test_without_plugins_every_mapped_connection_is_denied(
    without_plugins: ApiServer, gateway: ControlApiServer
) -> None:
    for conn_id in ("orders_db", "stored_db"):
        answer = without_plugins.connection(conn_id, without_plugins.token(RUNNING))
        if DENIAL_IS_AN_EXCEPTION:
            assert answer.status_code == 403
            assert "only handed to a running task" in answer.text
        else:  # Airflow 3.1: nobody is there to make 403 of it
            assert answer.status_code == 500
        assert STORED_PASSWORD not in answer.text
    assert without_plugins.connection("plain_db", without_plugins.token(RUNNING)).status_code == 200
    assert gateway.api.asked == []


@pytest.mark.parametrize("command", [["connections", "get", "plain_db"], ["connections", "get", "stored_db"]])
def test_the_command_line_is_a_server_without_a_task(
    database: AirflowDatabase, backend: dict[str, str], command: list[str]
) -> None:
    script = (
        "from airflow.models import Connection\n"
        f"print('host:', Connection.get_connection_from_secrets({command[-1]!r}).host)"
    )
    other = AirflowDatabase.__new__(AirflowDatabase)
    other.environment = {**database.environment, **backend}
    if command[-1] == "plain_db":
        assert "host: db.internal" in other.python("-c", script)
    else:
        with pytest.raises(AssertionError, match="only handed to a running task"):
            other.python("-c", script)


def test_no_secret_is_in_any_log(server: ApiServer, gateway: ControlApiServer, backend: dict[str, str]) -> None:
    """At level DEBUG, after everything above and one more of each."""
    token = server.token(MANY[1])
    password = server.connection("orders_db", token).json()["password"]
    gateway.api.refuses = "no"
    server.connection("stored_db", token)
    key = Path(json.loads(backend["AIRFLOW__SECRETS__BACKEND_KWARGS"])["api_key_file"]).read_text()
    assert "connection refused" in server.log
    for secret in (token, token.rpartition(".")[2], password, key):
        assert secret not in server.log
