"""Attacks by whoever may write to Prefect's API: runs that say of themselves what is not so.

No worker polls here: each run is registered with its worker's key, and this is its process."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from taskgate.client import Client, NotAuthenticated, NotPermitted
from taskgate.client.models import IssuedCredential
from tests.e2e.governed_prefect import GOVERNED, SOURCE, GovernedPrefect

pytestmark = pytest.mark.timeout(300)


class BentRuns:
    """Runs of the pool `GOVERNED` as anybody may create and change them."""

    def __init__(self, governed: GovernedPrefect) -> None:
        self.governed = governed
        self.api = governed.prefect.api

    def flow(self, name: str) -> str:
        found: str = self.api.call("POST", "/flows/", {"name": f"{name}-{uuid4().hex[:6]}"})["id"]
        return found

    def deployment(self, flow_id: str, name: str) -> str:
        body = {"name": name, "flow_id": flow_id, "work_pool_name": GOVERNED, "entrypoint": "flows.py:main"}
        found: str = self.api.call("POST", "/deployments/", body)["id"]
        return found

    def create(self, flow_id: str, **fields: Any) -> str:
        body = {"flow_id": flow_id, "state": {"type": "PENDING"}, **fields}
        found: str = self.api.call("POST", "/flow_runs/", body)["id"]
        return found

    def deployed(self, **fields: Any) -> str:
        flow_id = self.flow("bent")
        deployment = self.deployment(flow_id, "nightly")
        return self.create(flow_id, deployment_id=deployment, work_pool_name=GOVERNED, **fields)

    def force(self, run_id: str, state: str) -> None:
        body = {"state": {"type": state}, "force": True}
        assert self.api.call("POST", f"/flow_runs/{run_id}/set_state", body)["status"] == "ACCEPT"

    def task_run(self, run_id: str) -> str:
        body = {"flow_run_id": run_id, "task_key": "t-0a1b2c3d", "dynamic_key": "0", "state": {"type": "RUNNING"}}
        found: str = self.api.call("POST", "/task_runs/", body)["id"]
        return found

    def token(self, run_id: str) -> str:
        """Registered, and then running."""
        with self.client(self.governed.worker_key) as worker:
            secret = worker.register_run(SOURCE, run_id).secret.get_secret_value()
        self.force(run_id, "RUNNING")
        with self.client(secret) as process:
            return process.exchange_run_secret().token.get_secret_value()

    def issue(self, token: str, **asked: Any) -> IssuedCredential:
        with self.client(token) as process:
            return process.issue_run_credential("orders-db", **asked)

    def client(self, key: str) -> Client:
        return Client(self.governed.shop.gateway.url, key, tries=1)


@pytest.fixture
def bent(governed_prefect: GovernedPrefect) -> BentRuns:
    return BentRuns(governed_prefect)


def test_pf_01_job_variables_that_are_taken_away_are_known_still(bent: BentRuns) -> None:
    run = bent.deployed(job_variables={"command": "sh -c evil"})
    token = bent.token(run)
    bent.force(run, "SCHEDULED")
    bent.api.call("PATCH", f"/flow_runs/{run}", {"job_variables": {}})
    bent.force(run, "RUNNING")
    read = bent.api.call("GET", f"/flow_runs/{run}")
    assert read["job_variables"] == {}
    issued = bent.issue(token, run_count=read["run_count"])
    assert issued.principal.attributes["job_variables"] == ("command",)


def test_pf_02_a_run_of_another_flows_deployment_is_nobody(bent: BentRuns) -> None:
    payments, evil = bent.flow("payments"), bent.flow("evil")
    run = bent.create(payments, deployment_id=bent.deployment(evil, "prod"), work_pool_name=GOVERNED)
    with pytest.raises(NotPermitted) as caught:
        bent.token(run)
    assert caught.value.code == "flow_run_contradictory"


def test_pf_03_a_made_up_subflow_is_not_the_runs(bent: BentRuns) -> None:
    mine = bent.deployed()
    token, call = bent.token(mine), bent.task_run(mine)
    payments = bent.flow("payments")
    forged = bent.create(
        payments, deployment_id=bent.deployment(payments, "prod"), work_pool_name=GOVERNED, parent_task_run_id=call
    )
    bent.force(forged, "RUNNING")
    with pytest.raises(NotPermitted) as caught:
        bent.issue(token, flow_run_id=forged)
    assert caught.value.code == "flow_run_foreign"
    called = bent.create(payments, parent_task_run_id=call)
    bent.force(called, "RUNNING")
    issued = bent.issue(token, flow_run_id=called)
    assert str(issued.principal.attributes["deployment"]).endswith("/nightly")  # what the worker started, not payments'
    bent.force(mine, "COMPLETED")  # it never ends by itself, and ends with the run
    bent.governed.ended_within(issued.dsn.get_secret_value(), 20)


def test_pf_07_a_run_that_is_over_is_not_brought_back(bent: BentRuns) -> None:
    run = bent.deployed()
    token = bent.token(run)
    bent.force(run, "COMPLETED")
    time.sleep(20)  # nothing was issued to it, so nobody asks for it: it is looked at by and by
    bent.force(run, "RUNNING")
    with pytest.raises(NotAuthenticated):
        bent.issue(token, run_count=2)


def test_pf_08_an_odd_run_keeps_no_others_from_ending(bent: BentRuns) -> None:
    odd, ends = bent.deployed(), bent.deployed()
    issued = [bent.issue(token) for token in (bent.token(odd), bent.token(ends))]
    bent.api.call("PATCH", f"/flow_runs/{odd}", {"tags": ["x" * 2**21]})  # more than anybody reads
    bent.force(ends, "COMPLETED")
    for one in issued:  # the odd one because nobody vouches for it
        bent.governed.ended_within(one.dsn.get_secret_value(), 20)
