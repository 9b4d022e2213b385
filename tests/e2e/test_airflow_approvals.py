"""Tasks that wait for a human in Airflow's real processes: the governed operator, stock tasks, mapped ones.

All runs are triggered before the first test looks: while they wait they hold no worker."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.approval_runs import TASK, Asking, ask
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop

pytestmark = pytest.mark.timeout(300)

RUNS = {
    "approved": "approvals_trigger",
    "denied": "approvals_trigger",
    "stock": "approvals_stock",
    "mapped": "approvals_mapped",
    "no channel": "approvals_no_channel",
    "cleared": "approvals_trigger",
    "marked failed": "approvals_trigger",
    "run marked failed": "approvals_trigger",
    "run cleared": "approvals_trigger",
}


@pytest.fixture(scope="module")
def runs(real_airflow: RealAirflow, airflow_shop: Shop) -> dict[str, Asking]:
    real_airflow.wait_for_dags(*RUNS.values())
    return {name: ask(real_airflow, airflow_shop, dag_id) for name, dag_id in RUNS.items()}


def test_a_waiting_task_holds_no_worker_and_goes_on_within_five_seconds(
    real_airflow: RealAirflow, runs: dict[str, Asking]
) -> None:
    asking = runs["approved"]
    approval = asking.waiting()
    waiting = asking.task
    real_airflow.until(lambda: waiting.pid not in worker_pids(real_airflow), 10)
    assert waiting.trigger is not None
    assert waiting.trigger["classpath"] == "taskgate_airflow.triggers.ApprovalTrigger"
    asking.decide(approval, comment="agreed")
    decided = time.monotonic()
    real_airflow.until(lambda: asking.task.state != "deferred", 30, every=0.1)
    assert time.monotonic() - decided < 5
    assert asking.succeeds().try_number == 1
    asking.logs("Approved by user:taskgate:dana; executing again")
    assert [one.id for one in asking.requests()] == [approval.id]


def worker_pids(airflow: RealAirflow) -> set[int]:
    return {one.pid for one in airflow.components["scheduler"].processes()}


def test_a_denial_fails_the_task_at_once_although_it_has_retries(runs: dict[str, Asking]) -> None:
    asking = runs["denied"]
    approval = asking.waiting()
    asking.decide(approval, approve=False, comment="wrong month")
    assert asking.fails().try_number == 1
    assert len(asking.run.tries(TASK)) == 1
    log = asking.logs(f"Approval {approval.id} was denied by user:taskgate:dana: wrong month")
    assert "AirflowFailException" in log


def test_a_rule_without_the_channel_has_the_task_wait_in_the_triggerer(runs: dict[str, Asking]) -> None:
    asking = runs["no channel"]
    approval = asking.waiting()
    assert asking.task.trigger is not None
    assert asking.run.run_id not in {one["task_instance"]["dag_run_id"] for one in asking.run.api.pending_hitl()}
    asking.logs("Airflow's page does not decide this")
    asking.decide(approval)
    asking.succeeds()


def test_mapped_instances_ask_for_themselves_and_are_decided_one_by_one(
    real_airflow: RealAirflow, runs: dict[str, Asking]
) -> None:
    asking = runs["mapped"]
    approvals = [asking.waiting(map_index=index) for index in range(3)]
    assert len({one.id for one in approvals}) == 3
    asking.decide(approvals[1])
    asking.run.wait(TASK, "success", map_index=1)
    assert asking.changed() == [192]
    assert asking.run.states() == {f"{TASK}[0]": "deferred", f"{TASK}[1]": "success", f"{TASK}[2]": "deferred"}
    asking.decide(approvals[0], approve=False, comment="not this one")
    asking.decide(approvals[2])
    asking.run.wait(TASK, "failed", map_index=0)
    asking.run.wait(TASK, "success", map_index=2)
    assert asking.changed() == [192, 193]
    asking.logs("denied by user:taskgate:dana: not this one", map_index=0)


def test_a_cleared_task_withdraws_its_request_and_asks_anew(runs: dict[str, Asking]) -> None:
    asking = runs["cleared"]
    approval = asking.waiting()
    asking.run.clear(TASK)
    assert asking.withdrawn(approval).comment == "the task was cleared"
    anew = asking.waiting(try_number=2)
    assert anew.id != approval.id
    asking.decide(anew)
    asking.succeeds()


def test_a_task_that_is_marked_failed_withdraws_its_request(runs: dict[str, Asking]) -> None:
    asking = runs["marked failed"]
    approval = asking.waiting()
    asking.run.mark(TASK, "failed")
    assert asking.withdrawn(approval).comment == "the task instance is failed"
    asking.fails()


def test_a_run_that_is_marked_failed_withdraws_its_requests(runs: dict[str, Asking]) -> None:
    asking = runs["run marked failed"]
    approval = asking.waiting()
    asking.run.mark_run("failed")
    assert asking.withdrawn(approval).comment in ("the task instance is failed", "the task instance is skipped")


def test_a_run_that_is_started_over_withdraws_its_requests(runs: dict[str, Asking]) -> None:
    asking = runs["run cleared"]
    approval = asking.waiting()
    asking.run.api.call("POST", f"{asking.run.path}/clear", {"dry_run": False})
    assert asking.withdrawn(approval).comment == "the task was cleared"


def test_a_stock_task_is_refused_with_the_way_to_the_approval_and_its_retries_find_it(
    real_airflow: RealAirflow, runs: dict[str, Asking]
) -> None:
    asking = runs["stock"]
    asking.run.wait(TASK, "up_for_retry", 90)
    first = asking.task.try_number
    (approval,) = asking.requests()
    asking.logs(
        f"approval {approval.id} is pending. Ask an approver to decide at http://dashboard.test/approvals?id={approval.id}"
    )
    # The gateway looks after what tasks have asked for every fifteen seconds: one that will be retried keeps it.
    real_airflow.until(lambda: datetime.now(UTC) - approval.requested_at > timedelta(seconds=20), 30)
    real_airflow.until(lambda: asking.task.try_number > first, 30)
    assert [(one.id, one.state) for one in asking.requests()] == [(approval.id, "pending")]
    asking.decide(approval)
    done = asking.succeeds()
    assert [(one.id, one.uses_left) for one in asking.requests()] == [(approval.id, 0)]
    said = f"Taskgate approval {approval.id} (changes-need-a-human): approved by user:taskgate:dana"
    asking.logs(said, done.try_number)
