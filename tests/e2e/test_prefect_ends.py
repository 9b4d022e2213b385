"""What a flow run holds ends with it, however it ends: its process may go on, or a child of it, and nobody may tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.governed_prefect import SOURCE, GovernedPrefect, connects
from tests.servers.prefect_api import FlowRun
from tests.servers.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(300)  # with real_prefect's processes

SOON = 20.0
"""Seconds: the gateway asks Prefect every second here; what has ended without telling may read for ten more."""


@pytest.fixture
def worker(governed_prefect: GovernedPrefect) -> Iterator[PrefectProcess]:
    yield governed_prefect.start_worker()
    governed_prefect.prefect.stop_worker("governed-worker")


def test_a_run_that_is_over_leaves_nothing_behind(governed_prefect: GovernedPrefect, worker: PrefectProcess) -> None:
    run = governed_prefect.run("looks")
    run.completes()
    governed_prefect.ended_within(governed_prefect.noted(run, "issued").fields["dsn"], SOON)
    assert list(governed_prefect.runs_folder().iterdir()) == []


def nothing_works(governed_prefect: GovernedPrefect, run: FlowRun) -> None:
    """From `SOON` on, for the child of a run that has just ended."""
    ended = time.time()
    time.sleep(SOON + 3)
    late = [one for one in governed_prefect.out.of(run.id) if one.what in ("held", "new") and one.at > ended + SOON]
    assert {one.what for one in late} == {"held", "new"}
    assert not [one for one in late if one.ok]


def cancelled(run: FlowRun, worker: PrefectProcess) -> str:
    run.cancel()
    return "CANCELLED"


def killed(run: FlowRun, worker: PrefectProcess) -> str:
    worker.of_flow_run(run.id)[0].kill()
    return "CRASHED"


def set_by_hand(run: FlowRun, worker: PrefectProcess) -> str:
    """Its process goes on, Prefect does not stop it."""
    run.set_state("FAILED", force=True)
    return "FAILED"


@pytest.mark.parametrize(
    "end",
    [
        cancelled,
        pytest.param(killed, marks=pytest.mark.long),
        pytest.param(set_by_hand, marks=pytest.mark.long),
    ],
)
def test_what_a_run_holds_ends_with_it_although_a_child_goes_on(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, end: Callable[[FlowRun, PrefectProcess], str]
) -> None:
    run = governed_prefect.run("sleeps")
    governed_prefect.noted(run, "new")
    assert governed_prefect.noted(run, "held").ok
    state = end(run, worker)
    assert run.end().type == state
    nothing_works(governed_prefect, run)


@pytest.mark.long
def test_a_run_whose_worker_was_killed_ends_as_soon_as_it_says_something(governed_prefect: GovernedPrefect) -> None:
    """Until then it goes on, and may: what it writes goes to a worker that is no longer there, and that ends it."""
    worker = governed_prefect.start_worker("killed-worker")
    run = governed_prefect.run("sleeps", {"seconds": 8})
    governed_prefect.noted(run, "new")
    worker.kill()
    time.sleep(2)
    assert run.state.type == "RUNNING"
    assert governed_prefect.noted(run, "held").ok
    assert run.end().type == "CRASHED"
    nothing_works(governed_prefect, run)
    governed_prefect.prefect.stop_worker("killed-worker")


@pytest.mark.long
def test_a_run_whose_process_and_worker_are_gone_ends_by_prefects_automation_for_zombies(
    governed_prefect: GovernedPrefect,
) -> None:
    """Nobody is left to tell Prefect, which takes the run for running until heartbeats that stay away say otherwise."""
    api = governed_prefect.prefect.api
    ends = ["Completed", "Failed", "Cancelled", "Crashed"]
    trigger = {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)],
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": 45,
    }
    crash = {"type": "change-flow-run-state", "state": "CRASHED", "message": "no heartbeat"}
    automation = api.automation("zombies", trigger, [crash])
    try:
        governed_prefect.start_worker("lost-worker", PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30")
        run = governed_prefect.run("sleeps")
        governed_prefect.noted(run, "new")
        dsn = governed_prefect.noted(run, "holds").fields["dsn"]
        governed_prefect.prefect.stop_worker("lost-worker", at_once=True)
        time.sleep(15)
        assert run.state.type == "RUNNING"
        assert connects(dsn)
        assert run.end(120).message == "no heartbeat"
        governed_prefect.ended_within(dsn, SOON)
    finally:
        api.call("DELETE", f"/automations/{automation}")


def test_a_second_try_is_an_attempt_of_its_own_and_ends_the_firsts(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    run = governed_prefect.run("retries")
    run.completes()
    first, second = governed_prefect.out.of(run.id, "try")
    assert (first.fields["count"], second.fields["count"]) == (1, 2)
    task = first.fields["attempt"].removesuffix(":1")
    assert second.fields["attempt"] == f"{task}:2"
    governed_prefect.ended_within(first.fields["dsn"], SOON)


@pytest.mark.long
def test_a_run_that_is_retried_by_hand_is_registered_anew(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    run = governed_prefect.run("fails")
    assert run.end().type == "FAILED"
    # Prefect takes the try that is on its way out for the new one, and the run for crashed, if the retry is sooner.
    first = governed_prefect.out.of(run.id, "try")[0]
    run.until(lambda: not Path(f"/proc/{first.fields['pid']}").exists() or None, 30, "the process goes on")
    time.sleep(2)
    run.retry()
    run.wait("RUNNING")
    run.until(lambda: governed_prefect.out.of(run.id, "try")[1:] or None, 60, "no second try")
    first, second = governed_prefect.out.of(run.id, "try")
    assert (first.fields["attempt"], second.fields["attempt"]) == (
        f"{SOURCE}:flow-run:{run.id}:1",
        f"{SOURCE}:flow-run:{run.id}:2",
    )
    assert first.fields["pid"] != second.fields["pid"]
    governed_prefect.ended_within(first.fields["dsn"], SOON)
    assert run.end().type == "FAILED"
    assert not connects(first.fields["dsn"])
