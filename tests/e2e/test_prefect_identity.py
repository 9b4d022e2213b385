"""Who a flow run is, in Prefect's real processes: made known by its worker, with no key in any of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from tests.e2e.governed_prefect import GOVERNED, PLAIN, SOURCE, GovernedPrefect
from tests.servers.prefect_api import FlowRun
from tests.servers.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(300)  # with real_prefect's processes


@pytest.fixture(scope="module")
def worker(governed_prefect: GovernedPrefect) -> Iterator[PrefectProcess]:
    yield governed_prefect.start_worker()
    governed_prefect.prefect.stop_worker("governed-worker")


@pytest.fixture(scope="module")
def looked(governed_prefect: GovernedPrefect, worker: PrefectProcess) -> FlowRun:
    run = governed_prefect.run("looks")
    run.completes()
    return run


def test_a_run_is_verified_and_its_task_says_that_it_is_asserted(
    governed_prefect: GovernedPrefect, looked: FlowRun
) -> None:
    who = governed_prefect.noted(looked, "issued").fields["who"]
    assert (who["assurance"], who["source"], who["name"]) == ("verified", SOURCE, "looks.reads")
    assert who["verified_by"] == f"prefect:{SOURCE}, by its worker"
    attributes = who["attributes"]
    assert attributes["deployment"] == f"looks/looks-in-{GOVERNED}"
    assert (attributes["work_pool"], attributes["task_assurance"]) == (GOVERNED, "asserted")
    (task_run,) = looked.task_runs().values()
    assert who["attempt"]["id"] == f"{SOURCE}:task-run:{task_run['id']}:1"
    orders = governed_prefect.shop.query("SELECT count(*) FROM orders")
    assert governed_prefect.noted(looked, "read").fields["found"] == orders[0][0]
    flow_itself = governed_prefect.noted(looked, "flow itself").fields["found"]
    assert (flow_itself["name"], flow_itself["attempt"]["id"]) == ("looks", f"{SOURCE}:flow-run:{looked.id}:1")


def test_the_secret_leaves_the_environment_and_no_key_was_ever_in_it(
    governed_prefect: GovernedPrefect, looked: FlowRun
) -> None:
    before = governed_prefect.noted(looked, "before").fields["names"]
    assert before == ["TASKGATE_RUN_SECRET", "TASKGATE_SOURCE", "TASKGATE_URL"]
    after = governed_prefect.noted(looked, "environment").fields["names"]
    assert after == ["TASKGATE_RUN_TOKEN", "TASKGATE_SOURCE", "TASKGATE_URL"]


def test_no_process_of_a_run_and_nothing_prefect_shows_holds_the_workers_key(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    run = governed_prefect.run("sleeps", {"seconds": 3})
    governed_prefect.noted(run, "holds")
    processes = worker.of_flow_run(run.id)
    assert processes
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not governed_prefect.has_key(str(one.environ()))
    run.end()
    assert not governed_prefect.has_key(governed_prefect.told(run))
    assert not governed_prefect.has_key(worker.log.read_text())
    assert "tgr_" not in governed_prefect.told(run)  # nor a one-time secret, nor a token


def test_a_service_key_makes_a_run_asserted_and_rules_that_want_it_proven_refuse(
    governed_prefect: GovernedPrefect,
) -> None:
    governed_prefect.start_plain_worker()
    run = governed_prefect.run("looks", pool=PLAIN)
    run.completes()
    governed_prefect.prefect.stop_worker("plain-worker")
    who = governed_prefect.noted(run, "issued").fields["who"]
    assert (who["assurance"], who["verified_by"]) == ("asserted", "api-key:flows")
    assert (who["attributes"]["work_pool"], who["attributes"]["deployment"]) == (PLAIN, f"looks/looks-in-{PLAIN}")
    assert governed_prefect.noted(run, "read").ok


def test_a_subflows_task_is_of_the_run_that_its_worker_started(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    """A token is of one flow run; what that starts in its own process is its."""
    run = governed_prefect.run("has_a_subflow")
    run.completes()
    who = governed_prefect.noted(run, "issued").fields["who"]
    assert (who["assurance"], who["name"]) == ("verified", "below.reads")


@pytest.mark.parametrize(
    ("file", "flow"), [("identity.py", "in_processes"), pytest.param("on_dask.py", "in_dask", marks=pytest.mark.long)]
)
def test_processes_of_a_task_runner_exchange_one_secret(
    governed_prefect: GovernedPrefect, worker: PrefectProcess, file: str, flow: str
) -> None:
    """Those of a pool, and Dask's on this machine."""
    run = governed_prefect.run(flow, file=file)
    run.completes()
    started = governed_prefect.out.of(run.id, "started with")
    assert len({one.fields["pid"] for one in started}) == 2
    assert any("TASKGATE_RUN_SECRET" in one.fields["names"] for one in started)
    who = [one.fields for one in governed_prefect.out.of(run.id, "who")]
    assert sorted(one["number"] for one in who) == [0, 1, 2, 3]
    assert {one["attempt"] for one in who} == {f"{SOURCE}:task-run:{one['task_run']}:1" for one in who}
    assert [one.ok for one in governed_prefect.out.of(run.id, "read")] == [True] * 4
    assert governed_prefect.noted(run, "parent").ok
