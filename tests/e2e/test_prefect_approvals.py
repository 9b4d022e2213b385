"""A human is asked while a flow run waits, in Prefect's real processes: nothing but the human's word at the gateway
lets the statement through."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.governed_prefect import GOVERNED, PLAIN, SOURCE, GovernedPrefect
from tests.e2e.waiting_runs import WAITING, ask, asked, decide, done, last_order, there
from tests.servers.prefect_api import FlowRun
from tests.servers.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(400)  # with real_prefect's processes


@pytest.fixture(scope="module")
def worker(governed_prefect: GovernedPrefect) -> Iterator[PrefectProcess]:
    yield governed_prefect.start_worker()
    governed_prefect.prefect.stop_worker("governed-worker")


@pytest.fixture
def order(governed_prefect: GovernedPrefect) -> int:
    return last_order(governed_prefect)


@pytest.mark.parametrize("wait", WAITING)
def test_a_run_waits_until_a_human_has_approved_and_goes_on_by_itself(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int, wait: str
) -> None:
    run, approval = ask(governed_prefect, order, wait)
    who = approval.principal
    assert (who.assurance, who.source, who.attributes["work_pool"]) == ("verified", SOURCE, GOVERNED)
    if wait == "automatic":  # no process is held
        governed_prefect.prefect.until(lambda: not worker.of_flow_run(run.id), 20)
    time.sleep(2)
    assert there(governed_prefect, order)
    decide(governed_prefect, approval)
    done(governed_prefect, run, order)
    assert len(governed_prefect.out.of(run.id, "prepares")) == 1
    told = governed_prefect.told(run)
    assert "tgr_" not in told
    assert approval.id in told
    assert "approved by user:taskgate:dana" in told


@pytest.mark.long
def test_a_quick_approval_does_not_crash_a_run_of_prefects_own_worker(
    governed_prefect: GovernedPrefect, order: int
) -> None:
    governed_prefect.start_plain_worker()
    try:
        run = governed_prefect.run("cleans", {"order": order}, file="waits.py", pool=PLAIN)
        run.wait("Suspended")
        decide(governed_prefect, asked(governed_prefect, run))  # while its process is on its way out
        done(governed_prefect, run, order)
    finally:
        governed_prefect.prefect.stop_worker("plain-worker")


@pytest.mark.long
@pytest.mark.parametrize("wait", WAITING)
def test_a_denial_fails_the_run_with_who_said_so(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int, wait: str
) -> None:
    run, approval = ask(governed_prefect, order, wait)
    decide(governed_prefect, approval, approve=False)
    state = run.end()
    assert state.type == "FAILED"
    assert f"{approval.id} was denied" in state.message
    assert there(governed_prefect, order)


@pytest.mark.parametrize("wait", [pytest.param("automatic", marks=pytest.mark.long), "pause"])
def test_a_resume_through_prefect_decides_nothing(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int, wait: str
) -> None:
    """As whoever reaches Prefect's API may do it: with an answer that says approved, and by setting the state."""
    run, approval = ask(governed_prefect, order, wait)
    run.resume({"approval_id": approval.id, "decision": "approved"})
    again = len(governed_prefect.out.of(run.id, "try"))
    time.sleep(3)
    run.wait(WAITING[wait])
    assert there(governed_prefect, order)
    if wait == "automatic":
        assert len(governed_prefect.out.of(run.id, "try")) >= again
        run.set_state("SCHEDULED", "Resuming", force=True)
    else:
        run.set_state("RUNNING", force=True)
    time.sleep(3)
    run.wait(WAITING[wait])
    assert there(governed_prefect, order)
    assert asked(governed_prefect, run).id == approval.id  # nothing was asked a second time
    decide(governed_prefect, approval)
    done(governed_prefect, run, order)


@pytest.mark.long
@pytest.mark.parametrize("wait", WAITING)
def test_a_run_that_is_cancelled_while_it_waits_asks_for_nothing_any_more(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int, wait: str
) -> None:
    run, approval = ask(governed_prefect, order, wait)
    if wait == "automatic":
        run.cancel()
    else:  # Prefect lets no paused run be cancelling
        assert run.set_state("CANCELLED")["status"] == "ACCEPT"
    assert run.end().type == "CANCELLED"
    governed_prefect.prefect.until(lambda: not worker.of_flow_run(run.id), 20)
    with governed_prefect.shop.client() as client:
        ended = governed_prefect.prefect.until(
            lambda: (found := client.approval(approval.id)).state != "pending" and found, 40
        )
    assert ended.state == "withdrawn"
    assert there(governed_prefect, order)
    assert run.end().type == "CANCELLED"


@pytest.mark.long
def test_a_retry_finds_what_was_approved(governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int) -> None:
    """Each try is refused at once and asks for the same; the one after the decision is let through."""
    run = governed_prefect.run("tries_again", {"order": order}, file="waits.py")
    run.until(lambda: governed_prefect.out.of(run.id, "try")[1:] or None, 60, "no second try")
    approval = asked(governed_prefect, run)
    assert there(governed_prefect, order)
    decide(governed_prefect, approval)
    done(governed_prefect, run, order)


@pytest.mark.long
def test_an_automation_of_prefects_hears_that_a_human_is_asked(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, order: int
) -> None:
    api = governed_prefect.prefect.api
    deployment = governed_prefect.deployment("looks")
    trigger = {
        "type": "event",
        "posture": "Reactive",
        "expect": ["taskgate.approval.requested"],
        "match": {"prefect.resource.id": "taskgate.approval.*"},
        "threshold": 1,
        "within": 0,
    }
    action = {
        "type": "run-deployment",
        "source": "selected",
        "deployment_id": deployment,
        "parameters": {},
        "job_variables": {},
    }
    automation = api.automation("somebody-is-asked", trigger, [action])
    try:
        run, approval = ask(governed_prefect, order, "pause")
        started = governed_prefect.prefect.until(
            lambda: [
                one
                for one in api.call("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC"})
                if one["deployment_id"] == deployment
                and "auto-scheduled" not in one["tags"]
                and one["created_by"]
                and one["created_by"]["id"] == automation
            ],
            60,
        )
        assert len(started) == 1
        FlowRun(api, started[0]["id"]).completes()
        decide(governed_prefect, approval)
        done(governed_prefect, run, order)
    finally:
        api.call("DELETE", f"/automations/{automation}")
