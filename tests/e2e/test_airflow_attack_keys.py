"""What a thief of a service key has: its scope, and nothing else. The API server's key asserts nothing, the
triggerer's gets what a deferred task's worker held and no more, and neither reads anything."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.airflow_api import Run, TaskInstance
from tests.e2e.airflow_forms import SOURCE, Form
from tests.e2e.airflow_keyholders import HOLDERS, Holder, KeyHolder, coordinates
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop
from tests.e2e.twin_database import TARGET

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Deferred:
    """`held`: its worker used orders_db; `bare`: its worker used nothing; `running` is not deferred, `ended` is over,
    `asks` waits for a human."""

    runs: Mapping[str, Run]
    tasks: Mapping[str, TaskInstance]
    airflow: RealAirflow

    def attempt(self, name: str) -> str:
        return self.tasks[name].id

    def at(self, name: str, **other: Any) -> dict[str, Any]:
        return coordinates(self.runs[name], **{"task_id": self.tasks[name].task_id, **other})


@pytest.fixture(scope="module")
def deferred(real_airflow: RealAirflow, airflow_shop: Shop, attack_out: AttackOut) -> Iterator[Deferred]:
    real_airflow.wait_for_dags("attack_defers", "attack_sleeps", "questions")
    admin = real_airflow.admin
    runs = {
        "held": admin.trigger("attack_defers", {"seconds": 300}),
        "bare": admin.trigger("attack_defers", {"conn_id": None, "seconds": 300}),
        "running": admin.trigger("attack_sleeps", {"seconds": 300}),
        "asks": admin.trigger("questions"),
        "ended": admin.trigger("attack_sleeps", {"seconds": 0}),
    }
    for name, task_id, state in (
        ("held", "selects", "deferred"), ("bare", "selects", "deferred"), ("asks", "asks", "awaiting_input"),
        ("ended", "sleeps", "success"),
    ):  # fmt: skip
        runs[name].wait(task_id, state)
    real_airflow.until(lambda: attack_out.of(runs["running"].run_id, "new"), 60)
    yield Deferred(runs, {name: run.tasks()[0] for name, run in runs.items()}, real_airflow)
    for run in runs.values():
        if run.state == "running":
            run.mark_run("failed")


@pytest.fixture
def triggerer(airflow_form: Form, airflow_shop: Shop) -> KeyHolder:
    return KeyHolder.of("triggerer", airflow_form, airflow_shop)


WATCH = ("get", "/v1/approvals/watch")  # a stream without an end: its own tests read from it
OWN: Mapping[Holder, set[tuple[str, str]]] = {
    "api-server": {("post", "/v1/credentials/exchange"), ("post", "/v1/attempts/posted")},
    "triggerer": {("post", "/v1/credentials/delegate"), ("post", "/v1/approvals/states"), WATCH},
}
ANYBODYS = {
    ("get", "/v1/openapi.json"),
    ("get", "/v1/whoami"),
    # What one has issued, or was issued: no secret in it, and nobody else's.
    ("get", "/v1/credentials"),
    ("get", "/v1/credentials/{credential_id}"),
    ("post", "/v1/credentials/{credential_id}/revoke"),
    ("post", "/v1/attempts/{attempt_id}/revoke"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_key_reaches_its_own_and_no_other_route(holder: Holder, airflow_form: Form, airflow_shop: Shop) -> None:
    """Every route there is: one that is added is closed to these keys, or stands in this test."""
    thief = KeyHolder.of(holder, airflow_form, airflow_shop)
    described = httpx.get(f"{thief.url}/v1/openapi.json", timeout=10).json()["paths"]
    routes = {(method, path) for path, methods in described.items() for method in methods if path.startswith("/v1/")}
    own = OWN[holder] - {WATCH}
    reached = set()
    for method, path in routes - ANYBODYS - (OWN[holder] & {WATCH}):
        answer = thief.call(method.upper(), path.removeprefix("/v1").replace("{", "").replace("}", ""), {})
        if answer.status_code != httpx.codes.FORBIDDEN:
            reached.add((method, path))
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    assert reached == own


@pytest.mark.parametrize("holder", HOLDERS)
def test_al_04_no_key_of_the_server_form_says_who_a_task_is(
    holder: Holder, deferred: Deferred, airflow_form: Form, airflow_shop: Shop
) -> None:
    thief = KeyHolder.of(holder, airflow_form, airflow_shop)
    claim = {"kind": "task", **deferred.at("running"), "attempt_id": deferred.attempt("running")}
    for principal in (claim, None):
        answer = thief.call("POST", "/credentials", {"target": "orders-db", "principal": principal})
        assert answer.status_code == httpx.codes.FORBIDDEN
    other = {"api-server": thief.delegate(deferred.attempt("held"), deferred.at("held"))}
    other["triggerer"] = thief.exchange("eyJ.eyJ.x", deferred.at("running"))
    assert other[holder].status_code == httpx.codes.FORBIDDEN
    assert other[holder].json()["code"] == "scope_missing"


def test_the_api_servers_key_ends_nothing_that_lives(
    deferred: Deferred, airflow_form: Form, airflow_shop: Shop, attack_out: AttackOut
) -> None:
    """Who holds it may say that attempts have told their end; the gateway asks Airflow, and believes Airflow."""
    thief = KeyHolder.of("api-server", airflow_form, airflow_shop)
    attempts = [deferred.attempt("running"), deferred.attempt("held"), str(uuid.uuid4())]
    answer = thief.call("POST", "/attempts/posted", {"source": SOURCE, "attempts": attempts})
    assert answer.json() == {"known": 2}
    with airflow_shop.client() as dana:
        for attempt in attempts[:2]:
            assert all(one.confined_until is None for one in dana.credentials(attempt=attempt, live=True))
    run = deferred.runs["running"].run_id
    seen = len(attack_out.of(run, "new"))
    deferred.airflow.until(lambda: len(attack_out.of(run, "new")) > seen + 2, 30)
    assert all(one.ok for one in attack_out.of(run))
    elsewhere = thief.call("POST", "/attempts/posted", {"source": "prod-airflow", "attempts": attempts})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "source_not_permitted")


# Whose uuid, at whose place (with what changed), which target: and the gateway's answer.
NOT_DELEGATED: Mapping[str, tuple[str, str, dict[str, Any], str, str]] = {
    "a running task": ("running", "running", {}, "orders-db", "instance_not_deferred"),
    "a task that waits for a human": ("asks", "asks", {}, "orders-db", "instance_not_deferred"),
    "a task that has ended": ("ended", "ended", {}, "orders-db", "instance_not_deferred"),
    "a target nobody held": ("held", "held", {}, TARGET, "nothing_held"),
    "a task whose worker held nothing": ("bare", "bare", {}, "orders-db", "nothing_held"),
    "another's instance": ("bare", "held", {}, "orders-db", "instance_superseded"),
    "at another's place": ("held", "bare", {}, "orders-db", "instance_superseded"),
    "an instance that does not exist": ("held", "held", {"task_id": "nothing"}, "orders-db", "instance_not_found"),
    "another Airflow's": ("held", "held", {"source": "prod-airflow"}, "orders-db", "source_not_permitted"),
}


@pytest.mark.parametrize("what", NOT_DELEGATED)
def test_al_04_the_triggerers_key_gets_nothing_for(what: str, deferred: Deferred, triggerer: KeyHolder) -> None:
    whose, where, changed, target, code = NOT_DELEGATED[what]
    answer = triggerer.delegate(deferred.attempt(whose), deferred.at(where, **changed), target)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert "password" not in answer.text


def test_al_04_what_the_triggerers_key_gets_is_the_deferred_tasks_and_ends_with_it(
    deferred: Deferred, triggerer: KeyHolder, airflow_shop: Shop
) -> None:
    attempt, at = deferred.attempt("held"), deferred.at("held")
    answer = triggerer.delegate(attempt, at)
    assert answer.status_code == httpx.codes.CREATED
    got = answer.json()
    assert got["principal"]["assurance"] == "delegated"
    assert got["principal"]["attempt"]["id"] == attempt
    with airflow_shop.client() as dana:
        worker = [one for one in dana.credentials(attempt=attempt) if one.principal.assurance == "verified"]
    for one in worker:  # it does not even know what the worker has
        assert triggerer.call("GET", f"/credentials/{one.id}").status_code == httpx.codes.NOT_FOUND
        assert triggerer.call("POST", f"/credentials/{one.id}/revoke", {}).status_code == httpx.codes.NOT_FOUND
    deferred.runs["held"].mark("selects", "failed")
    after = triggerer.delegate(attempt, at)
    assert (after.status_code, after.json()["code"]) == (403, "instance_not_deferred")

    def ended() -> bool:
        with airflow_shop.client() as dana:
            return dana.credential(got["id"]).confined_until is not None

    deferred.airflow.until(ended, 20)
