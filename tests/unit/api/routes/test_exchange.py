"""Task tokens for credentials: what the routes add to `identity/orchestrators` (tested by itself)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.identity.scopes import Scope
from taskgate.store.attempts import Attempts
from tests.integration.identity.airflow_stand_in import PASSWORD, Airflow, Instance, token_of
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane


@pytest.fixture
async def airflow(plane: Plane) -> Airflow:
    airflow = Airflow()
    plane.orchestrators = Orchestrators(
        Attempts(plane.database), plane.credentials, plane.approvals, RegisteredRuns(plane.database),
        airflows=[airflow.source()],
    )  # fmt: skip
    return airflow


@pytest.fixture
async def api_server(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("api-server", Scope.CREDENTIALS_EXCHANGE, groups=["source:prod"]))


def where(instance: Instance, **other: Any) -> dict[str, Any]:
    key = instance.key
    return {
        "source": key.source, "dag_id": key.dag_id, "run_id": key.run_id, "task_id": key.task_id,
        "map_index": key.map_index, **other,
    }  # fmt: skip


def exchange(instance: Instance, **other: Any) -> dict[str, Any]:
    return {"target": "orders-db", "principal": where(instance, **{"token": token_of(instance), **other})}


async def test_a_token_is_exchanged_for_a_verified_credential(
    airflow: Airflow, api_server: httpx.AsyncClient, plane: Plane
) -> None:
    answer = await api_server.post("/v1/credentials/exchange", json=exchange(airflow.add()))
    assert answer.status_code == 201
    issued = answer.json()
    assert issued["principal"]["assurance"] == "verified"
    assert issued["principal"]["attempt"]["logical_date"] == "2024-07-01T00:00:00Z"
    lives = datetime.fromisoformat(issued["expires_at"]) - datetime.fromisoformat(issued["issued_at"])
    assert lives.total_seconds() == pytest.approx(plane.attempt_ttl, abs=1)  # it ends with the attempt
    found = await plane.credentials.verify_bearer(f"{issued['user']}.{issued['password']}")
    assert found is not None


async def test_al_04_what_is_not_proven_is_refused_with_a_code_and_without_the_token(
    airflow: Airflow, api_server: httpx.AsyncClient
) -> None:
    instance, other = airflow.add(), airflow.add(task_id="other")
    for body, code in (
        (exchange(instance, token=token_of(other)), "instance_superseded"),
        (exchange(instance, token="e30.e30.e30"), "task_token_invalid"),
        (exchange(instance, token=token_of(instance, aud="apache-airflow")), "task_token_invalid"),
        (exchange(instance, token=token_of(instance, exp=1)), "task_token_expired"),
        (exchange(Instance(task_id="nowhere")), "instance_not_found"),
    ):
        with capture_logs() as logs:
            answer = await api_server.post("/v1/credentials/exchange", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert body["principal"]["token"] not in answer.text
        assert [log["code"] for log in logs if log["event"] == "identity.not_proven"] == [code]
        assert body["principal"]["token"] not in str(logs)
    too_long = exchange(instance, token="x" * 9000)
    answer = await api_server.post("/v1/credentials/exchange", json=too_long)
    assert answer.status_code == 422
    assert "xxxx" not in answer.text


async def test_the_key_alone_asserts_nothing(
    airflow: Airflow, api_server: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    instance = airflow.add()
    claim = where(instance, attempt_id=instance.id)
    answer = await api_server.post("/v1/credentials", json={"target": "orders-db", "principal": claim})
    assert answer.json()["code"] == "scope_missing"
    worker = client_for(await plane.key("worker", Scope.CREDENTIALS_ISSUE))
    answer = await worker.post("/v1/credentials/exchange", json=exchange(instance))
    assert answer.json()["code"] == "scope_missing"
    issued = (await worker.post("/v1/credentials", json={"target": "orders-db", "principal": claim})).json()
    assert issued["principal"]["assurance"] == "asserted"
    forged = where(instance, attempt_id="another")
    answer = await worker.post("/v1/credentials", json={"target": "orders-db", "principal": forged})
    assert answer.json()["code"] == "instance_superseded"


async def test_a_key_of_another_source_exchanges_nothing(airflow: Airflow, client_for: ClientFor, plane: Plane) -> None:
    scopes = (Scope.CREDENTIALS_EXCHANGE, Scope.CREDENTIALS_DELEGATE)
    stranger = client_for(await plane.key("stranger", *scopes, groups=["source:other"]))
    instance = airflow.add(state="deferred")
    deferred = {"target": "orders-db", "principal": where(instance, attempt_id=instance.id)}
    posted = {"source": "prod", "attempts": [instance.id]}
    for path, body in (
        ("credentials/exchange", exchange(instance)),
        ("credentials/delegate", deferred),
        ("attempts/posted", posted),
    ):
        answer = await stranger.post(f"/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "source_not_permitted")


async def test_a_triggerer_gets_what_the_worker_held(
    airflow: Airflow, api_server: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    instance = airflow.add()
    triggerer = client_for(await plane.key("triggerer", Scope.CREDENTIALS_DELEGATE, groups=["source:prod"]))
    body = {"target": "orders-db", "principal": where(instance, attempt_id=instance.id)}
    assert (await triggerer.post("/v1/credentials/delegate", json=body)).json()["code"] == "instance_not_deferred"
    await api_server.post("/v1/credentials/exchange", json=exchange(instance))
    instance.state = "deferred"
    issued = (await triggerer.post("/v1/credentials/delegate", json=body)).json()
    assert (issued["principal"]["assurance"], issued["principal"]["verified_by"]) == ("delegated", "api-key:triggerer")
    assert (await triggerer.post("/v1/credentials/exchange", json=exchange(instance))).json()["code"] == "scope_missing"


async def test_the_end_is_told_and_callbacks_get_what_still_reads(
    airflow: Airflow, api_server: httpx.AsyncClient
) -> None:
    instance = airflow.add()
    first = (await api_server.post("/v1/credentials/exchange", json=exchange(instance))).json()
    assert first.get("confined_until") is None
    instance.state = "success"
    told = await api_server.post("/v1/attempts/posted", json={"source": "prod", "attempts": [instance.id, "unknown"]})
    assert told.json() == {"known": 1}
    again = (await api_server.post("/v1/credentials/exchange", json=exchange(instance))).json()
    assert again["confined_until"] is not None
    assert (await api_server.get(f"/v1/credentials/{first['id']}")).json()["confined_until"] is not None


async def test_an_airflow_that_is_away_is_a_503_that_says_so(airflow: Airflow, api_server: httpx.AsyncClient) -> None:
    airflow.away = 502
    answer = await api_server.post("/v1/credentials/exchange", json=exchange(airflow.add()))
    assert (answer.status_code, answer.json()["code"]) == (503, "orchestrator_away")
    assert PASSWORD not in answer.text
