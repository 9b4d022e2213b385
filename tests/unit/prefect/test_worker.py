"""What a worker gives the runs it starts. Prefect's API is a stand-in here (it is asked for a flow and a deployment);
`tests/e2e/test_prefect_worker.py` has the real one, with a worker's process."""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled, State
from prefect.workers.base import BaseJobConfiguration, BaseWorker, BaseWorkerResult

from taskgate_prefect.run_registration import RunNotRegistered
from taskgate_prefect.worker import RegisteredRuns, TaskgateProcessWorker
from taskgate_prefect.worker_access import WorkerNotConfigured
from tests.unit.prefect.conftest import WORKER_KEY
from tests.unit.prefect.control_api import ControlApi, problem

REGISTER = ("/v1/prefect/runs", WORKER_KEY)


class ManifestConfiguration(BaseJobConfiguration):
    """As Kubernetes' and others are: the environment is part of what is made before `run`."""

    manifest: tuple[tuple[str, str | None], ...] = ()

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:
        super().prepare_for_flow_run(*arguments, **named)
        self.manifest = tuple(self.env.items())


class GovernedManifestConfiguration(ManifestConfiguration, RegisteredRuns): ...


class GovernedManifestWorker(BaseWorker[Any, Any, BaseWorkerResult]):
    type = "governed-manifest"
    job_configuration = GovernedManifestConfiguration

    async def run(self, flow_run: FlowRun, configuration: Any, task_status: Any = None) -> BaseWorkerResult:
        raise AssertionError("starts nothing")


class Api:
    async def read_flow(self, flow_id: UUID) -> Flow:
        return Flow(id=flow_id, name="orders", labels={})


def flow_run(state: State | None) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="busy-bee", state=state)


async def resolved(worker: Any, run: FlowRun, **variables: Any) -> Any:
    run.job_variables = variables
    template = worker.get_default_base_job_template()
    pool = WorkPool(name="etl", type=worker.type, base_job_template=template, default_queue_id=uuid4())
    return await worker.job_configuration.resolve_for_flow_run(run, client=Api(), work_pool=pool, worker_name="w-1")


@pytest.mark.parametrize("state", [Scheduled(), Pending(), None])
@pytest.mark.parametrize("worker", [TaskgateProcessWorker, GovernedManifestWorker])
async def test_a_run_that_begins_is_registered_and_given_its_secret(
    gateway_of_worker: ControlApi, worker: Any, state: State | None
) -> None:
    found = await resolved(worker, flow_run(state))
    assert gateway_of_worker.asked == [REGISTER]
    given = {name: value for name, value in found.env.items() if name.startswith("TASKGATE_")}
    assert given == {
        "TASKGATE_URL": gateway_of_worker.url,
        "TASKGATE_SOURCE": "demo-prefect",
        "TASKGATE_RUN_SECRET": "tgr_1.secret",
    }
    assert not [one for one in (found.labels, found.name, found.command) if "tgr_1.secret" in str(one)]


async def test_the_gateway_is_told_what_the_run_itself_sets(gateway_of_worker: ControlApi) -> None:
    """As the worker starts it with: in Prefect it can be changed meanwhile."""
    await resolved(TaskgateProcessWorker, flow_run(Scheduled()), env={"A": "1"}, command="evil")
    (body,) = gateway_of_worker.bodies
    assert body["job_variables"] == ["command", "env"]
    assert "evil" not in str(body)


async def test_a_manifest_made_early_has_it_too(gateway_of_worker: ControlApi) -> None:
    found = await resolved(GovernedManifestWorker, flow_run(Scheduled()))
    assert ("TASKGATE_RUN_SECRET", "tgr_1.secret") in found.manifest


@pytest.mark.parametrize("state", [Cancelling(), Running(), Completed()])
async def test_a_run_that_is_only_looked_at_is_not_registered(gateway_of_worker: ControlApi, state: State) -> None:
    """A worker makes a configuration to cancel a run, too, or to clean up after it."""
    found = await resolved(TaskgateProcessWorker, flow_run(state))
    assert gateway_of_worker.asked == []
    assert "TASKGATE_RUN_SECRET" not in found.env


async def test_each_start_is_registered_anew(gateway_of_worker: ControlApi) -> None:
    run = flow_run(Scheduled())
    secrets = [(await resolved(TaskgateProcessWorker, run)).env["TASKGATE_RUN_SECRET"] for _ in range(2)]
    assert secrets == ["tgr_1.secret", "tgr_2.secret"]


async def test_the_workers_key_reaches_no_run(gateway_of_worker: ControlApi) -> None:
    found = await resolved(TaskgateProcessWorker, flow_run(Scheduled()))
    assert WORKER_KEY not in str(dict(os.environ))  # what Prefect's starter merges once more
    assert WORKER_KEY not in found.model_dump_json()
    assert "TASKGATE_WORKER_KEY" not in found.env


@pytest.mark.parametrize("apart", [False, True])
async def test_pf_11_no_deployment_says_where_a_secret_is_sent(
    gateway_of_worker: ControlApi, monkeypatch: pytest.MonkeyPatch, fresh_worker: None, apart: bool
) -> None:
    """Neither the worker's key nor a run's secret: where its runs find the gateway, the worker's environment says."""
    if apart:
        monkeypatch.setenv("TASKGATE_RUN_URL", "https://gateway.inside")
        monkeypatch.setenv("TASKGATE_RUN_CA_FILE", "/inside/ca.pem")
    env = {
        "TASKGATE_URL": "https://elsewhere.example",
        "TASKGATE_CA_FILE": "/etc/ca.pem",
        "TASKGATE_SOURCE": "another",
        "TASKGATE_RUN_SECRET": "forged",
        "TASKGATE_RUN_TOKEN": "stolen",
    }
    found = await resolved(TaskgateProcessWorker, flow_run(Scheduled()), env=env)
    assert gateway_of_worker.asked == [REGISTER]
    assert {name: value for name, value in found.env.items() if name.startswith("TASKGATE_")} == {
        "TASKGATE_URL": "https://gateway.inside" if apart else gateway_of_worker.url,
        **({"TASKGATE_CA_FILE": "/inside/ca.pem"} if apart else {}),
        "TASKGATE_SOURCE": "demo-prefect",
        "TASKGATE_RUN_SECRET": "tgr_1.secret",
    }


def test_a_flow_submitted_straight_to_the_worker_is_registered_as_well(gateway_of_worker: ControlApi) -> None:
    configuration = TaskgateProcessWorker.job_configuration()
    configuration.prepare_for_flow_run(flow_run(Pending()))
    assert gateway_of_worker.asked == [REGISTER]
    assert configuration.env["TASKGATE_RUN_SECRET"] == "tgr_1.secret"


async def test_a_gateway_that_is_away_is_named_within_seconds(
    gateway_of_worker: ControlApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGATE_URL", "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(RunNotRegistered, match=r"127\.0\.0\.1:1 cannot register this run now, so it was not started"):
        await resolved(TaskgateProcessWorker, flow_run(Scheduled()))
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "not_authenticated", "does not know this worker's key: no such key. Give the worker a new one"),
        (403, "work_pool_not_permitted", "does not let this worker start the run: no such key"),
    ],
)
async def test_what_the_gateway_refuses_is_said(
    gateway_of_worker: ControlApi, status: int, code: str, says: str
) -> None:
    gateway_of_worker.answers[REGISTER[0]] = problem(status, code, "no such key")
    with pytest.raises(RunNotRegistered, match=says) as caught:
        await resolved(TaskgateProcessWorker, flow_run(Scheduled()))
    assert WORKER_KEY not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_worker_without_a_key_does_not_start(fresh_worker: None) -> None:
    with pytest.raises(WorkerNotConfigured, match="TASKGATE_WORKER_KEY_FILE or TASKGATE_WORKER_KEY"):
        await TaskgateProcessWorker(work_pool_name="etl").setup()
