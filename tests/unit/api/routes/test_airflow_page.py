"""What a task is told to write into its row on Airflow's own page, and that an answer there is looked for at once."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from taskgate.approvals.airflow_answers import AirflowAnswers
from taskgate.domain import ApprovalTerms, Attempt, PrincipalKind
from taskgate.identity.orchestrators.airflow.human_input import HumanInputs
from taskgate.identity.scopes import Scope
from tests.integration.identity.airflow_stand_in import Airflow, Instance, answer
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane, draft, task

THERE = ApprovalTerms(approvers=("group:dba",), channels=("airflow",))


@pytest.fixture
async def airflow(plane: Plane) -> Airflow:
    airflow = Airflow()
    source = airflow.source(people={"alice": "dana"})
    plane.answers["prod"] = AirflowAnswers(
        "prod", HumanInputs(source.account), source.settings.people,
        approvals=plane.approvals, api_keys=plane.api_keys, url=plane.approval_url,
    )  # fmt: skip
    await plane.api_keys.create(PrincipalKind.USER, "dana", [Scope.APPROVALS_DECIDE], ["dba"], created_by="test")
    return airflow


async def as_task(plane: Plane, client_for: ClientFor, instance: Instance) -> httpx.AsyncClient:
    who = replace(task("ti-1"), attempt=Attempt(instance.id, instance.key))
    credential, secret = await plane.credentials.issue(who, "orders-db", 60, "test")
    return client_for(f"{credential.id}.{secret}")


async def test_the_row_the_answer_and_the_decision(airflow: Airflow, plane: Plane, client_for: ClientFor) -> None:
    instance = airflow.add()
    client = await as_task(plane, client_for, instance)
    who = replace(task("ti-1"), attempt=Attempt(instance.id, instance.key))
    approval = await plane.approvals.request(draft(principal=who, terms=THERE))
    page = (await client.get(f"/v1/attempt/approvals/{approval.id}/airflow-page")).json()
    assert approval.digest in page["body"]
    assert page["options"] == ["Approve", "Deny"]
    row = airflow.park(instance, page["subject"], page["body"], page["options"])
    assert (await client.get(f"/v1/attempt/approvals/{approval.id}")).json()["state"] == "pending"
    answer(row, ["Deny"], "alice")
    assert (await client.get(f"/v1/attempt/approvals/{approval.id}")).json()["state"] == "denied"


async def test_there_is_no_page_where_the_rule_does_not_let_it_decide(
    airflow: Airflow, plane: Plane, client_for: ClientFor
) -> None:
    instance = airflow.add()
    client = await as_task(plane, client_for, instance)
    who = replace(task("ti-1"), attempt=Attempt(instance.id, instance.key))
    approval = await plane.approvals.request(draft(principal=who))
    assert (await client.get(f"/v1/attempt/approvals/{approval.id}/airflow-page")).status_code == 404
    other = await plane.approvals.request(draft("f" * 64, principal=task("ti-2"), terms=THERE))
    assert (await client.get(f"/v1/attempt/approvals/{other.id}/airflow-page")).status_code == 404
    plane.answers.clear()
    mine = await plane.approvals.request(draft("e" * 64, principal=who, terms=THERE))
    assert (await client.get(f"/v1/attempt/approvals/{mine.id}/airflow-page")).status_code == 404


async def test_an_airflow_that_is_away_keeps_nobody_from_the_answer(
    airflow: Airflow, plane: Plane, client_for: ClientFor
) -> None:
    instance = airflow.add()
    client = await as_task(plane, client_for, instance)
    who = replace(task("ti-1"), attempt=Attempt(instance.id, instance.key))
    approval = await plane.approvals.request(draft(principal=who, terms=THERE))
    airflow.away = 503
    assert (await client.get(f"/v1/attempt/approvals/{approval.id}")).json()["state"] == "pending"
