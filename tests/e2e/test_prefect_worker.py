"""The worker that makes runs known: what happens when the gateway is away, and to the key that it registers with."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.governed_prefect import FLOWS, GOVERNED, GovernedPrefect
from tests.servers.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(300)  # with real_prefect's processes


@pytest.fixture(scope="module")
def worker(governed_prefect: GovernedPrefect) -> Iterator[PrefectProcess]:
    yield governed_prefect.start_worker()
    governed_prefect.prefect.stop_worker("governed-worker")


def test_without_the_gateway_a_run_crashes_with_the_reason_and_the_worker_goes_on(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    gateway = governed_prefect.shop.gateway
    gateway.stop()
    try:
        started = time.monotonic()
        run = governed_prefect.run("looks")
        state = run.end(40)
        assert time.monotonic() - started < 25
        assert state.type == "CRASHED"
        assert f"RunNotRegistered: Taskgate at {gateway.url} cannot register this run now" in state.message
        assert governed_prefect.out.of(run.id) == []
        assert not governed_prefect.has_key("\n".join(run.logs()))
    finally:
        gateway.start()
    again = governed_prefect.run("looks")
    again.completes()
    assert governed_prefect.noted(again, "read").ok


def test_a_run_that_is_cancelled_before_it_begins_is_nobodys(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    api = governed_prefect.prefect.api
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
    run = api.run(governed_prefect.deployment("looks"), state=later)
    run.cancel()
    assert run.end().type == "CANCELLED"
    assert governed_prefect.out.of(run.id) == []


def test_a_hook_that_the_worker_runs_finds_no_key_in_its_environment(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    """Prefect 3.7's worker imports the flow and runs the hook in its own process, 3.9's in one of its own."""
    run = governed_prefect.run("is_cancelled", file="starts.py")
    governed_prefect.noted(run, "runs")
    run.cancel()
    assert run.end().type == "CANCELLED"
    hook = governed_prefect.noted(run, "hook")
    assert hook.fields["pid"] != governed_prefect.noted(run, "runs").fields["pid"]
    assert not governed_prefect.has_key(str(hook.fields["environment"]))
    assert "TASKGATE_WORKER_KEY" not in hook.fields["environment"]


@pytest.mark.long
def test_a_run_that_was_suspended_is_registered_anew(governed_prefect: GovernedPrefect, worker: PrefectProcess) -> None:
    run = governed_prefect.run("suspends", file="starts.py")
    run.wait("Suspended")
    first = governed_prefect.noted(run, "try")
    governed_prefect.ended_within(first.fields["dsn"], 20)
    assert run.resume()["status"] == "ACCEPT"
    run.completes()
    resumed = governed_prefect.noted(run, "resumed")
    assert resumed.fields["pid"] != first.fields["pid"]


@pytest.mark.long
def test_a_pool_is_made_by_the_worker_and_its_template_says_nothing_of_keys(
    governed_prefect: GovernedPrefect,
) -> None:
    prefect = governed_prefect.prefect
    environment = {**governed_prefect.environment, "TASKGATE_WORKER_KEY": governed_prefect.worker_key}
    prefect.start_worker("made", "taskgate-process", environment=environment, make_pool=True)
    pool = prefect.api.call("GET", "/work_pools/made")
    prefect.stop_worker("worker-made")
    assert pool["type"] == "taskgate-process"
    assert "taskgate" not in str(pool["base_job_template"]).lower().replace("taskgate-process", "")


@pytest.mark.long
@pytest.mark.parametrize("missing", ["TASKGATE_URL", "TASKGATE_SOURCE", "TASKGATE_WORKER_KEY"])
def test_a_worker_that_can_register_nothing_does_not_start(governed_prefect: GovernedPrefect, missing: str) -> None:
    prefect = governed_prefect.prefect
    environment = {
        **prefect.environment,
        **governed_prefect.environment,
        "TASKGATE_WORKER_KEY": governed_prefect.worker_key,
    }
    del environment[missing]
    done = subprocess.run(
        [prefect.python, "-m", "prefect", "worker", "start", "--pool", GOVERNED, "--type", "taskgate-process"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"this worker's environment lacks {missing}" in " ".join((done.stdout + done.stderr).split()).replace(
        "TASKGATE_WORKER_KEY_FILE or TASKGATE_WORKER_KEY", "TASKGATE_WORKER_KEY"
    )
    assert not governed_prefect.has_key(done.stdout + done.stderr)


def test_another_worker_class_gets_the_same_by_its_job_configuration(governed_prefect: GovernedPrefect) -> None:
    prefect = governed_prefect.prefect
    worker = PrefectProcess(
        "own-worker",
        [prefect.python, str(FLOWS / "own_worker.py"), GOVERNED],
        {
            **prefect.environment,
            **governed_prefect.environment,
            "TASKGATE_WORKER_KEY": governed_prefect.worker_key,
        },
        prefect.directory / "own-worker.log",
    )
    worker.start()
    try:
        passed = {name: os.environ[name] for name in ("PATH", "HOME")} | {
            name: governed_prefect.environment[name] for name in ("RUNS_OUT", "PYTHONPATH", "TMPDIR")
        }
        deployment = governed_prefect.deployment("looks")
        run = prefect.api.run(deployment, job_variables={"env": passed})
        run.completes()
        who = governed_prefect.noted(run, "issued").fields["who"]
        assert (who["assurance"], who["attributes"]["work_pool"]) == ("verified", GOVERNED)
        assert who["attributes"]["job_variables"] == ["env"]
        assert governed_prefect.noted(run, "read").ok
    finally:
        worker.stop()
