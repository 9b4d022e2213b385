"""The package's Prefect is what other tests take it for: a server, workers and runs that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers.prefect import PACKAGES, RealPrefect
from tests.servers.prefect_process import PrefectProcess

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

FLOWS = Path(__file__).with_name("prefect_flows") / "harness.py"
POOL = "harness"


@pytest.fixture(scope="module")
def worker(real_prefect: RealPrefect) -> Iterator[PrefectProcess]:
    real_prefect.work_pool(POOL, "process")
    yield real_prefect.start_worker(POOL, "process")
    real_prefect.stop_worker(f"worker-{POOL}")


def test_a_run_runs_in_a_process_of_this_tree_and_shows_what_it_made(
    real_prefect: RealPrefect, worker: PrefectProcess
) -> None:
    run = real_prefect.api.run(real_prefect.deployment(POOL, FLOWS, "shows_itself"))
    run.completes()
    assert run.states == ["Scheduled", "Pending", "Submitting", "Running", "Completed"]
    line = run.logged("packages from ")
    assert line.startswith(f"packages from {PACKAGES[1]}")
    assert line.rpartition(" ")[2] != str(worker.pid)
    assert [one["key"] for one in run.artifacts()] == ["seen"]
    events = real_prefect.until(lambda: real_prefect.api.events("harness.shown"), 20)
    assert f"prefect.flow-run.{run.id}" in [one["prefect.resource.id"] for one in events[0]["related"]]
    ((name, task_run),) = real_prefect.until(run.task_runs, 20).items()
    assert name.startswith("packages-")
    assert task_run["flow_run_id"] == run.id


def test_a_paused_run_outlives_the_servers_death(real_prefect: RealPrefect, worker: PrefectProcess) -> None:
    run = real_prefect.api.run(real_prefect.deployment(POOL, FLOWS, "asks"))
    run.wait("Paused")
    real_prefect.restart_server(at_once=True)
    assert run.state.name == "Paused"
    assert run.resume()["status"] == "ACCEPT"
    run.completes()


def test_a_cancelled_run_ends(real_prefect: RealPrefect, worker: PrefectProcess) -> None:
    run = real_prefect.api.run(real_prefect.deployment(POOL, FLOWS, "sleeps"))
    run.wait("RUNNING")
    run.cancel()
    assert run.end().type == "CANCELLED"
    assert real_prefect.until(lambda: not worker.of_flow_run(run.id), 20)


def test_a_run_goes_on_without_the_worker_that_was_killed(real_prefect: RealPrefect) -> None:
    real_prefect.work_pool("killed", "process")
    worker = real_prefect.start_worker("killed", "process")
    run = real_prefect.api.run(real_prefect.deployment("killed", FLOWS, "sleeps", name="killed"))
    run.logged("sleeping", seconds=30)
    worker.kill()
    left = worker.of_flow_run(run.id)
    assert left
    assert run.state.type == "RUNNING"
    real_prefect.stop_worker("worker-killed")
    assert not [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
