"""Flow runs over the API: what the routes add to `identity/orchestrators/prefect` (tested by itself)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import update
from structlog.testing import capture_logs

from taskgate.api.app import is_for
from taskgate.api.authentication import own_run
from taskgate.client import AsyncClient, Client, NotPermitted, PrefectRun
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.scopes import Scope
from taskgate.store.attempts import Attempts
from taskgate.store.clock import database_time
from taskgate.store.tables import registered_runs
from tests.integration.identity.prefect_stand_in import AUTH, SOURCE, Prefect, Run
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane

TOKEN, CREDENTIALS, RUNS = "/v1/prefect/run/token", "/v1/prefect/run/credentials", "/v1/prefect/runs"
TARGET = {"target": "orders-db"}


@pytest.fixture
async def prefect(plane: Plane, app: FastAPI) -> Prefect:
    prefect = Prefect()
    registered = plane.orchestrators.registered  # the app's own: it authenticates by it
    plane.orchestrators = Orchestrators(
        Attempts(plane.database), plane.credentials, plane.approvals, registered, prefects=[prefect.source()]
    )
    return prefect


@pytest.fixture
async def worker(plane: Plane) -> str:
    return await plane.key("worker", Scope.RUNS_REGISTER, groups=[f"source:{SOURCE}", "work-pool:etl"])


@pytest.fixture
async def secret(prefect: Prefect, client_for: ClientFor, worker: str) -> tuple[Run, str]:
    """A flow run that a worker has registered and started."""
    run = prefect.deployed()
    return run, await registered(client_for, worker, run)


async def registered(client_for: ClientFor, worker: str, run: Run) -> str:
    run.state = "PENDING"
    answer = await client_for(worker).post(RUNS, json={"source": SOURCE, "flow_run_id": run.id})
    assert answer.status_code == 201, answer.text
    run.state = "RUNNING"
    return str(answer.json()["secret"])


async def exchanged(client_for: ClientFor, secret: str) -> str:
    answer = await client_for(secret).post(TOKEN)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


async def refused(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, str]:
    answer = await client.post(path, json=body) if body else await client.post(path)
    return answer.status_code, answer.json()["code"]


# --- registering ----------------------------------------------------------------------------------------------------


async def test_a_worker_registers_the_runs_of_its_pool(
    prefect: Prefect, client_for: ClientFor, worker: str, plane: Plane
) -> None:
    run = prefect.deployed(state="PENDING")
    answer = await client_for(worker).post(RUNS, json={"source": SOURCE, "flow_run_id": run.id})
    assert answer.status_code == 201
    made = answer.json()
    assert made["secret"].startswith(f"{made['id']}.")
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert lives.total_seconds() == pytest.approx(3600, abs=5)
    other = prefect.deployed(state="PENDING", work_pool="payments")
    assert await refused(client_for(worker), RUNS, source=SOURCE, flow_run_id=other.id) == (
        403,
        "work_pool_not_permitted",
    )
    assert await refused(client_for(worker), RUNS, source="other", flow_run_id=run.id) == (403, "source_not_permitted")
    assert len(await plane.orchestrators.registered.live(SOURCE)) == 1


async def test_a_key_for_a_deployment_speaks_for_its_runs_only(
    prefect: Prefect, client_for: ClientFor, plane: Plane
) -> None:
    groups = ["deployment:orders-cleanup/nightly"]
    key = await plane.key("w", Scope.RUNS_REGISTER, Scope.CREDENTIALS_ISSUE, groups=groups)
    mine, other = prefect.deployed(), prefect.deployed(deployment="hourly")
    bare = prefect.run(work_pool="etl")
    for run, status in ((mine, 201), (other, 403), (bare, 403)):
        run.state = "PENDING"
        answer = await client_for(key).post(RUNS, json={"source": SOURCE, "flow_run_id": run.id})
        assert answer.status_code == status
        run.state = "RUNNING"
        asked = {**TARGET, "principal": claim(run)}
        answer = await client_for(key).post("/v1/credentials", json=asked)
        assert answer.status_code == status
        if status == 403:
            assert answer.json()["code"] == "deployment_not_permitted"


@pytest.mark.parametrize("scope", [Scope.CREDENTIALS_ISSUE, Scope.CREDENTIALS_EXCHANGE, Scope.TARGETS_READ])
async def test_another_scope_registers_nothing(
    prefect: Prefect, client_for: ClientFor, plane: Plane, scope: Scope
) -> None:
    run = prefect.deployed(state="PENDING")
    key = client_for(await plane.key("k", scope))
    assert await refused(key, RUNS, source=SOURCE, flow_run_id=run.id) == (403, "scope_missing")


async def test_a_persons_key_registers_nothing(prefect: Prefect, client_for: ClientFor, plane: Plane) -> None:
    run = prefect.deployed(state="PENDING")
    key = client_for(await plane.key("alice", Scope.RUNS_REGISTER, user=True))
    assert await refused(key, RUNS, source=SOURCE, flow_run_id=run.id) == (403, "not_a_worker")


async def test_a_workers_key_gets_no_credential(prefect: Prefect, client_for: ClientFor, worker: str) -> None:
    run = prefect.deployed()
    asked = {**TARGET, "principal": claim(run)}
    assert await refused(client_for(worker), "/v1/credentials", **asked) == (403, "scope_missing")
    for path in (TOKEN, CREDENTIALS):
        assert await refused(client_for(worker), path, **TARGET) == (403, "not_a_flow_run")


# --- the secret and the token ---------------------------------------------------------------------------------------


async def test_a_run_has_a_token_for_its_secret_and_credentials_for_that(
    prefect: Prefect, secret: tuple[Run, str], client_for: ClientFor, plane: Plane
) -> None:
    run, once = secret
    answer = await client_for(once).post(TOKEN)
    assert {**answer.json(), "token": ""} == {"token": "", "source": SOURCE, "flow_run_id": run.id}
    process = client_for(answer.json()["token"])
    task = prefect.task(run)
    issued = (await process.post(CREDENTIALS, json={**TARGET, "task_run_id": task.id})).json()
    assert issued["principal"]["assurance"] == "verified"
    assert issued["principal"]["attributes"]["task_assurance"] == "asserted"
    lives = datetime.fromisoformat(issued["expires_at"]) - datetime.fromisoformat(issued["issued_at"])
    assert lives.total_seconds() == pytest.approx(plane.attempt_ttl, abs=1)  # it ends with the attempt
    found = await plane.credentials.verify_bearer(f"{issued['user']}.{issued['password']}")
    assert found is not None
    assert found.principal.attempt is not None
    assert found.principal.attempt.id == f"{SOURCE}:task-run:{task.id}:1"
    of_flow = await process.post(CREDENTIALS, json=TARGET)
    assert of_flow.status_code == 201
    assert await refused(process, CREDENTIALS, target="nowhere") == (422, "unknown_target")
    run.state = "COMPLETED"
    assert await refused(process, CREDENTIALS, **TARGET) == (403, "flow_run_not_running")
    run.state = "RUNNING"
    assert (await process.post(CREDENTIALS, json=TARGET)).status_code == 401  # it has ended, whatever Prefect says now


async def test_a_secret_used_twice_ends_all_that_the_run_has(
    secret: tuple[Run, str], client_for: ClientFor, plane: Plane
) -> None:
    _, once = secret
    token = await exchanged(client_for, once)
    issued = (await client_for(token).post(CREDENTIALS, json=TARGET)).json()
    with capture_logs() as logs:
        answer = await client_for(once).post(TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (403, "run_secret_used")
    assert (await client_for(token).post(CREDENTIALS, json=TARGET)).status_code == 401
    assert (await plane.credentials.find(issued["id"])) is None
    for hidden in (once, token):
        assert hidden.partition(".")[2] not in f"{answer.text} {logs}"


async def test_an_expired_secret_gives_nothing(secret: tuple[Run, str], client_for: ClientFor, plane: Plane) -> None:
    async with plane.database.statement(writes=True) as connection:
        await connection.execute(update(registered_runs).values(expires_at=database_time(-1)))
    assert await refused(client_for(secret[1]), TOKEN) == (403, "run_secret_expired")


async def test_an_older_registrations_secret_and_token_are_worth_nothing(
    prefect: Prefect, client_for: ClientFor, worker: str
) -> None:
    run = prefect.deployed()
    unused = await registered(client_for, worker, run)
    used = await registered(client_for, worker, run)
    token = await exchanged(client_for, used)
    newest = await registered(client_for, worker, run)
    assert (await client_for(token).post(CREDENTIALS, json=TARGET)).status_code == 401
    assert await refused(client_for(unused), TOKEN) == (403, "run_ended")
    assert await refused(client_for(used), TOKEN) == (403, "run_secret_used")
    process = client_for(await exchanged(client_for, newest))
    assert (await process.post(CREDENTIALS, json=TARGET)).status_code == 201


async def test_each_proof_works_for_what_it_is_made_for(secret: tuple[Run, str], client_for: ClientFor) -> None:
    _, once = secret
    assert await refused(client_for(once), CREDENTIALS, **TARGET) == (403, "not_a_run_token")
    token = await exchanged(client_for, once)
    assert await refused(client_for(token), TOKEN) == (403, "not_a_run_secret")
    issued = (await client_for(token).post(CREDENTIALS, json=TARGET)).json()
    of_task = client_for(f"{issued['user']}.{issued['password']}")
    for path in (TOKEN, CREDENTIALS):
        assert await refused(of_task, path, **TARGET) == (403, "not_a_flow_run")
    assert (await client_for(token[:-1]).post(CREDENTIALS, json=TARGET)).status_code == 401
    assert (await client_for(None).post(TOKEN)).status_code == 401


async def test_a_run_reaches_nothing_that_is_not_made_for_runs(
    app: FastAPI, secret: tuple[Run, str], client_for: ClientFor
) -> None:
    _, once = secret
    token = await exchanged(client_for, once)
    refusals = 0
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.path.startswith("/v1/") or is_for(own_run, route.dependant):
            continue
        for method in route.methods:
            for proof in (once, token):
                answer = await client_for(proof).request(method, route.path.replace("{", "").replace("}", ""), json={})
                assert answer.status_code == 403, (method, route.path, answer.text)
                assert answer.json()["code"] in ("flow_run", "not_a_task"), route.path
                refusals += 1
    assert refusals > 40


async def test_a_persons_key_gets_no_run_s_credentials(prefect: Prefect, client_for: ClientFor, plane: Plane) -> None:
    key = client_for(await plane.key("alice", Scope.CREDENTIALS_ISSUE, Scope.RUNS_REGISTER, user=True))
    assert await refused(key, "/v1/credentials", **TARGET, principal=claim(prefect.deployed())) == (403, "not_oneself")
    for path in (TOKEN, CREDENTIALS):
        assert await refused(key, path, **TARGET) == (403, "not_a_flow_run")


# --- asserted -------------------------------------------------------------------------------------------------------


def claim(run: Run, **other: Any) -> dict[str, Any]:
    return {"kind": "prefect_run", "source": SOURCE, "flow_run_id": run.id, **other}


async def test_a_service_keys_word_is_asserted_and_looked_up(
    prefect: Prefect, client_for: ClientFor, plane: Plane
) -> None:
    key = client_for(await plane.key("block", Scope.CREDENTIALS_ISSUE, groups=[f"source:{SOURCE}"]))
    run = prefect.deployed()
    issued = await key.post("/v1/credentials", json={**TARGET, "principal": claim(run)})
    assert issued.status_code == 201
    assert issued.json()["principal"]["assurance"] == "asserted"
    run.state = "COMPLETED"
    assert await refused(key, "/v1/credentials", **TARGET, principal=claim(run)) == (403, "flow_run_not_running")
    assert await refused(key, "/v1/credentials", **TARGET, principal={**claim(run), "source": "other"}) == (
        403,
        "source_not_permitted",
    )
    stated = {
        "kind": "task", "source": SOURCE, "dag_id": "orders-cleanup", "run_id": run.id, "task_id": "clean",
        "attempt_id": "a", "attributes": {"deployment": "orders-cleanup/nightly"},
    }  # fmt: skip
    assert await refused(key, "/v1/credentials", **TARGET, principal=stated) == (422, "not_an_airflow")


@pytest.mark.parametrize("count", [-1, 2**31, 10**4000, 1.5, "many"], ids=lambda count: str(count)[:12])
async def test_a_run_count_is_a_count(
    prefect: Prefect, secret: tuple[Run, str], client_for: ClientFor, plane: Plane, count: object
) -> None:
    key = client_for(await plane.key("block", Scope.CREDENTIALS_ISSUE))
    body = {**TARGET, "principal": claim(secret[0], run_count=count)}
    answer = await key.post("/v1/credentials", json=body)
    assert answer.status_code == 422
    process = client_for(await exchanged(client_for, secret[1]))
    answer = await process.post(CREDENTIALS, json={**TARGET, "run_count": count})
    assert answer.status_code == 422


async def test_long_names_are_refused_before_anybody_is_asked(
    prefect: Prefect, secret: tuple[Run, str], client_for: ClientFor
) -> None:
    process = client_for(await exchanged(client_for, secret[1]))
    asked = len(prefect.asked)
    for name in ("task_run_id", "flow_run_id", "target"):
        answer = await process.post(CREDENTIALS, json={**TARGET, name: "x" * 100_000})
        assert answer.status_code in (413, 422)
        assert "xxxx" not in answer.text
    assert len(prefect.asked) == asked


async def test_a_prefect_that_is_away_is_said_so_without_its_secret(
    prefect: Prefect, secret: tuple[Run, str], client_for: ClientFor
) -> None:
    process = client_for(await exchanged(client_for, secret[1]))
    prefect.answer = httpx.Response(500, text=f"boom {AUTH}")
    with capture_logs() as logs:
        answer = await process.post(CREDENTIALS, json=TARGET)
    assert (answer.status_code, answer.json()["code"]) == (503, "orchestrator_away")
    assert "canary" not in f"{answer.text} {logs}"


async def test_one_run_does_not_ask_for_everybody(
    app: FastAPI, prefect: Prefect, secret: tuple[Run, str], client_for: ClientFor
) -> None:
    process = client_for(await exchanged(client_for, secret[1]))
    inquiries = app.state.inquiries
    inquiries._of_run = 0
    answer = await process.post(CREDENTIALS, json=TARGET)
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
    inquiries._of_run = 1
    assert (await process.post(CREDENTIALS, json=TARGET)).status_code == 201


# --- the clients ----------------------------------------------------------------------------------------------------


async def test_the_async_client_goes_all_the_way(prefect: Prefect, app: FastAPI, plane: Plane, worker: str) -> None:
    run = prefect.deployed(state="PENDING")
    task = prefect.task(run)

    def client(key: str) -> AsyncClient:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return AsyncClient("https://gateway.example", key, transport=transport)

    async with client(worker) as gateway:
        made = await gateway.register_run(SOURCE, run.id)
    run.state = "RUNNING"
    async with client(made.secret.get_secret_value()) as gateway:
        token = await gateway.exchange_run_secret()
        assert (token.source, token.flow_run_id) == (SOURCE, run.id)
    for shown in (repr(made), repr(token), str(made), str(token)):
        assert made.secret.get_secret_value() not in shown
        assert token.token.get_secret_value() not in shown
    async with client(token.token.get_secret_value()) as gateway:
        issued = await gateway.issue_run_credential("orders-db", task_run_id=task.id)
    assert issued.principal.assurance == "verified"
    async with client(f"{issued.user}.{issued.password.get_secret_value()}") as gateway:
        report = await gateway.attempt()
    assert report.principal.attempt is not None
    assert report.principal.attempt.id == f"{SOURCE}:task-run:{task.id}:1"
    async with client(await plane.key("block", Scope.CREDENTIALS_ISSUE)) as gateway:
        principal = PrefectRun(source=SOURCE, flow_run_id=run.id, task_run_id=task.id)
        asserted = await gateway.issue_credential("orders-db", principal=principal)
    assert asserted.principal.assurance == "asserted"
    async with client(made.secret.get_secret_value()) as gateway:
        with pytest.raises(NotPermitted) as caught:
            await gateway.exchange_run_secret()
    assert caught.value.problem is not None
    assert caught.value.problem.code == "run_secret_used"


def test_the_sync_client_asks_for_the_same() -> None:
    asked: list[tuple[str, str, bytes, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, request.content, request.headers["Authorization"]))
        return httpx.Response(403, json={"type": "t", "title": "t", "status": 403, "detail": "no", "code": "run_ended"},
                              headers={"content-type": "application/problem+json"})  # fmt: skip

    with Client("http://127.0.0.1:1", "tgr_1.x", transport=httpx.MockTransport(answer)) as gateway:
        for ask in (
            lambda: gateway.register_run("s", "f", job_variables=["env"]),
            gateway.exchange_run_secret,
            lambda: gateway.issue_run_credential("t", task_run_id="r", run_count=2),
        ):
            with pytest.raises(NotPermitted):
                ask()
    assert [path for _, path, _, _ in asked] == [RUNS, TOKEN, CREDENTIALS]
    assert [content for _, _, content, _ in asked] == [
        b'{"source":"s","flow_run_id":"f","job_variables":["env"]}',
        b"",
        b'{"target":"t","task_run_id":"r","run_count":2}',
    ]
    assert {key for _, _, _, key in asked} == {"Bearer tgr_1.x"}


def test_a_used_up_secret_is_never_sent_again_by_itself() -> None:
    """The second time would end the run: what may have arrived is not repeated."""
    sent: list[str] = []

    def lost(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        raise httpx.ReadTimeout("lost")

    with Client("http://127.0.0.1:1", "tgr_1.x", transport=httpx.MockTransport(lost)) as gateway:
        with pytest.raises(Exception, match="no answer"):
            gateway.exchange_run_secret()
        assert sent == [TOKEN]
