"""Attacks on who a flow run is: forged, foreign and finished ids, and secrets that others have read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskgate.client import Client, NotAuthenticated, NotPermitted, RequestFault
from tests.e2e.governed_prefect import PLAIN, SOURCE, GovernedPrefect, connects
from tests.servers.prefect_api import FlowRun
from tests.servers.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(300)  # with real_prefect's processes


@pytest.fixture(scope="module")
def worker(governed_prefect: GovernedPrefect) -> Iterator[PrefectProcess]:
    yield governed_prefect.start_worker()
    governed_prefect.prefect.stop_worker("governed-worker")


def client(governed_prefect: GovernedPrefect, key: str) -> Client:
    return Client(governed_prefect.shop.gateway.url, key, tries=1)


def go(governed_prefect: GovernedPrefect, run: FlowRun) -> None:
    Path(governed_prefect.out.directory, f"{run.id}.go").touch()


def test_a_run_is_nobody_but_itself(governed_prefect: GovernedPrefect, worker: PrefectProcess) -> None:
    finished = governed_prefect.run("looks")
    finished.completes()
    foreign = governed_prefect.run("sleeps", {"seconds": 60})
    governed_prefect.noted(foreign, "holds")
    (foreign_task,) = foreign.task_runs().values()
    run = governed_prefect.run(
        "claims",
        {
            "foreign_flow_run": foreign.id,
            "foreign_task_run": foreign_task["id"],
            "finished_flow_run": finished.id,
        },
    )
    run.completes()
    foreign.cancel()
    outcomes = governed_prefect.out.outcomes(run.id)
    claimed = {name: ok for name, ok in outcomes.items() if name not in ("own", "still")}
    assert claimed == {
        "forged flow run": False,
        "forged task run": False,
        "foreign flow run": False,
        "foreign task run": False,
        "finished flow run": False,
        "another try": False,
        "no uuid": False,
    }
    assert outcomes["still"]  # whoever claims wrongly is refused that, and no more
    codes = {one.what: one.fields["code"] for one in governed_prefect.out.of(run.id) if not one.ok}
    assert codes["foreign flow run"] == codes["finished flow run"] == "flow_run_foreign"


def test_a_secret_that_is_used_again_ends_everything_the_run_was_given(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    run = governed_prefect.run("shows_its_secret", {"exchange_first": True})
    dsn = governed_prefect.noted(run, "dsn").fields["dsn"]
    assert connects(dsn)
    secret = governed_prefect.noted(run, "secret").fields["secret"]
    with client(governed_prefect, secret) as thief:
        with pytest.raises(NotPermitted) as caught:
            thief.exchange_run_secret()
        assert caught.value.code == "run_secret_used"
        with pytest.raises(RequestFault):
            thief.issue_run_credential("orders-db")
    governed_prefect.ended_within(dsn, 5)
    go(governed_prefect, run)
    run.end()
    assert governed_prefect.out.outcomes(run.id)["asked"] is False
    assert governed_prefect.out.outcomes(run.id)["asked again"] is False


def test_a_secret_that_was_used_before_is_noticed_by_the_run(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    """The thief was first: what the thief had ends, and the run says what has happened."""
    run = governed_prefect.run("shows_its_secret", {"exchange_first": False})
    secret = governed_prefect.noted(run, "secret").fields["secret"]
    with client(governed_prefect, secret) as thief:
        token = thief.exchange_run_secret().token.get_secret_value()
    with client(governed_prefect, token) as thief:
        stolen = thief.issue_run_credential("orders-db")
    assert connects(stolen.dsn.get_secret_value())
    go(governed_prefect, run)
    run.end()
    (asked,) = governed_prefect.out.of(run.id, "asked")
    assert asked.error.startswith("RunSecretUsed")
    assert "somebody else, outside this run's processes" in asked.error
    governed_prefect.ended_within(stolen.dsn.get_secret_value(), 5)
    with client(governed_prefect, token) as thief, pytest.raises(RequestFault):
        thief.issue_run_credential("orders-db")


def test_a_token_is_worth_nothing_once_the_run_is_over(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    run = governed_prefect.run("shows_its_secret", {"exchange_first": False})
    secret = governed_prefect.noted(run, "secret").fields["secret"]
    with client(governed_prefect, secret) as first:
        token = first.exchange_run_secret().token.get_secret_value()
    run.cancel()
    assert run.end().type == "CANCELLED"
    with client(governed_prefect, token) as late, pytest.raises(RequestFault):
        late.issue_run_credential("orders-db")


def test_a_worker_registers_pending_runs_of_its_pool_and_no_others(
    governed_prefect: GovernedPrefect, worker: PrefectProcess
) -> None:
    running = governed_prefect.run("sleeps", {"seconds": 30})
    running.wait("RUNNING")
    finished = governed_prefect.run("looks")
    finished.completes()
    elsewhere = governed_prefect.run("looks", pool=PLAIN)  # no worker polls that pool
    codes = {}
    with client(governed_prefect, governed_prefect.worker_key) as gateway:
        for name, run_id in {
            "running": running.id, "finished": finished.id, "elsewhere": elsewhere.id, "forged": str(uuid4()),
        }.items():  # fmt: skip
            with pytest.raises(NotPermitted) as caught:
                gateway.register_run(SOURCE, run_id)
            codes[name] = caught.value.code
        with pytest.raises(RequestFault):
            gateway.register_run("another-prefect", running.id)
        with pytest.raises(NotPermitted):
            gateway.issue_credential("orders-db")
    assert codes == {
        "running": "flow_run_not_pending",
        "finished": "flow_run_not_pending",
        "elsewhere": "work_pool_not_permitted",
        "forged": "flow_run_not_found",
    }
    running.cancel()


def test_what_is_no_secret_opens_nothing(governed_prefect: GovernedPrefect, worker: PrefectProcess) -> None:
    run = governed_prefect.run("shows_its_secret", {"exchange_first": False, "seconds": 5})
    secret = governed_prefect.noted(run, "secret").fields["secret"]
    identifier, _, own = secret.partition(".")
    for forged in (f"{identifier}.{own[::-1]}", f"{identifier}.", identifier, f"{identifier}.{own}x"):
        with client(governed_prefect, forged) as gateway, pytest.raises(NotAuthenticated):
            gateway.exchange_run_secret()
    with client(governed_prefect, secret) as gateway:
        with pytest.raises(NotPermitted):  # it is exchanged first
            gateway.issue_run_credential("orders-db")
        with pytest.raises(NotPermitted):
            gateway.register_run(SOURCE, run.id)
        with pytest.raises(NotPermitted):
            list(gateway.credentials())
    run.end()
    assert governed_prefect.out.outcomes(run.id)["asked"]  # none of it has spent the secret
