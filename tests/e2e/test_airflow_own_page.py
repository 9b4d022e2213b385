"""Airflow's own page as a second place to decide, in Airflow's real processes: answers are given as the page gives
them, through Airflow's REST API. Its user alice is dana at the gateway, bob is nobody.

All runs are triggered before the first test looks: while they wait they hold no worker."""

from __future__ import annotations

import pytest

from tests.e2e.approval_runs import TASK, Asking, ask
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop

pytestmark = pytest.mark.timeout(300)

PARKED = "awaiting_input"
RUNS = {
    "approved there": "approvals_page",
    "denied there": "approvals_page",
    "approved here": "approvals_page",
    "denied here": "approvals_page",
    "answered by nobody": "approvals_page",
    "cleared": "approvals_page",
    "in time": "approvals_page_in_time",
    "doctored": "approvals_doctored",
    "half doctored": "approvals_doctored",
}


@pytest.fixture(scope="module")
def runs(real_airflow: RealAirflow, airflow_shop: Shop) -> dict[str, Asking]:
    real_airflow.wait_for_dags(*RUNS.values())
    return {
        name: ask(real_airflow, airflow_shop, dag_id, PARKED, **({"keeps": True} if name == "half doctored" else {}))
        for name, dag_id in RUNS.items()
    }


def answer(asking: Asking, user: str, option: str) -> None:
    """On Airflow's page, as this user of Airflow."""
    asking.airflow.api(user).run(asking.run.dag_id, asking.run.run_id).answer(TASK, [option])


def test_an_approval_on_airflows_page_is_the_mapped_persons(runs: dict[str, Asking]) -> None:
    asking = runs["approved there"]
    approval = asking.waiting()
    assert asking.task.trigger is None
    row = asking.run.hitl(TASK)
    assert approval.digest in row["body"]
    assert approval.text in row["body"]
    answer(asking, "alice", "Approve")
    asking.succeeds()
    decided = asking.now(approval)
    assert (decided.state, decided.decided_by) == ("approved", "user:taskgate:dana")
    assert decided.comment == "on Airflow's page, as alice"
    asking.logs("Approved by user:taskgate:dana; executing again")
    assert asking.task.try_number == 1


def test_a_denial_there_fails_the_task_at_once_with_who_and_why(runs: dict[str, Asking]) -> None:
    asking = runs["denied there"]
    approval = asking.waiting()
    answer(asking, "alice", "Deny")
    assert asking.fails().try_number == 1
    asking.logs(f"Approval {approval.id} was denied by user:taskgate:dana: on Airflow's page, as alice")


def test_a_decision_at_the_gateway_answers_the_page(real_airflow: RealAirflow, runs: dict[str, Asking]) -> None:
    asking, denied = runs["approved here"], runs["denied here"]
    asking.decide(asking.waiting(), comment="agreed")
    denied.decide(denied.waiting(), approve=False, comment="wrong month")
    asking.succeeds()
    assert denied.fails().try_number == 1
    denied.logs("was denied by user:taskgate:dana: wrong month")
    for one, option in ((asking, "Approve"), (denied, "Deny")):
        row = one.run.hitl(TASK)
        assert (row["chosen_options"], row["responded_by_user"]["id"]) == ([option], "taskgate")
    still = {one["task_instance"]["dag_run_id"] for one in real_airflow.admin.pending_hitl()}
    assert not {asking.run.run_id, denied.run.run_id} & still


def test_an_answer_of_nobody_known_counts_for_nothing_and_the_task_waits_on(runs: dict[str, Asking]) -> None:
    asking = runs["answered by nobody"]
    approval = asking.waiting()
    answer(asking, "bob", "Approve")
    asking.settled(asking.run.wait(TASK, "deferred", 60), times=2)
    assert asking.state(approval) == "pending"
    assert asking.changed() == []
    asking.decide(approval)
    asking.succeeds()
    assert [one.id for one in asking.requests()] == [approval.id]


def test_what_is_cleared_while_it_waits_there_is_asked_anew_and_can_be_decided(runs: dict[str, Asking]) -> None:
    """Airflow keeps a task's row over its tries, with the text of the first."""
    asking = runs["cleared"]
    approval = asking.waiting()
    asking.run.clear(TASK)
    assert asking.withdrawn(approval).comment == "the task was cleared"
    asking.settled(asking.run.wait(TASK, ("deferred", PARKED), 60, try_number=2))
    (anew,) = [one for one in asking.requests() if one.state == "pending"]
    assert anew.id != approval.id
    asking.decide(anew)
    asking.succeeds()


def test_nobody_in_time_fails_the_task_without_retries(runs: dict[str, Asking]) -> None:
    asking = runs["in time"]
    assert asking.fails(120).try_number == 1
    (approval,) = asking.requests()
    asking.logs(f"Nobody decided on {approval.id} within 0:00:05")
    asking.withdrawn(approval)


@pytest.mark.parametrize("which", ["doctored", "half doctored"])
def test_al_02_a_dag_that_shows_another_text_gets_nothing_approved(which: str, runs: dict[str, Asking]) -> None:
    asking = runs[which]
    approval = asking.waiting()
    body = asking.run.hitl(TASK)["body"]
    assert "SELECT 1" in body
    assert approval.text not in body
    assert (approval.digest in body) is (which == "half doctored")
    answer(asking, "alice", "Approve")
    asking.settled(asking.run.wait(TASK, "deferred", 60), times=2)
    assert asking.state(approval) == "pending"
    asking.decide(approval, approve=False, comment="no such thing")
    asking.fails()
    said = [line for line in asking.shop.gateway.log_file.read_text().splitlines() if approval.id in line]
    assert any("does_not_count" in line and "the row does not read as" in line for line in said)
