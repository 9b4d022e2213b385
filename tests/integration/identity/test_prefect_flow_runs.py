"""Who a Prefect's flow run is, and who it is not; what ends with it: test_ends_of_flow_runs.py."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from taskgate.domain import Assurance
from taskgate.errors import GatewayFault
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.store.database import Database
from tests.integration.identity.gateway_of_prefect import SOURCE, Gateway, anything, refused
from tests.integration.identity.prefect_stand_in import USER, Run


async def test_a_service_keys_word_counts_with_what_prefect_says_of_the_run(gateway: Gateway) -> None:
    run = gateway.prefect.deployed(tags=["pii", "etl"], job_variables={"env": {}, "command": "x"}, created_by=USER)
    task = gateway.prefect.task(run, run_count=2)
    who = await gateway.asserted(run, task, 2, by="api-key:block")
    assert (who.assurance, who.verified_by, who.source) == (Assurance.ASSERTED, "api-key:block", SOURCE)
    assert who.name == "orders-cleanup.clean"
    assert who.attributes == {
        "flow": "orders-cleanup", "deployment": "orders-cleanup/nightly", "work_pool": "etl", "run_type": "manual",
        "triggering_user": "bob", "tags": ("etl", "pii"), "job_variables": ("command", "env"),
        "task_assurance": "asserted",
    }  # fmt: skip
    attempt = who.attempt
    assert attempt is not None
    assert (attempt.id, attempt.try_number, attempt.run_name) == (
        f"{SOURCE}:task-run:{task.id}:2", 2, "wakeful-crow",
    )  # fmt: skip
    assert str(attempt.task) == f"{SOURCE}/orders-cleanup/{run.id}/clean"
    assert who.owner_key == f"task:{SOURCE}/orders-cleanup/{run.id}"  # what asks people is the run
    known = await gateway.attempts.get(attempt.id)
    assert known is not None
    assert (known.alive, known.of_run, known.generation) == (True, True, 1)


async def test_what_the_flow_itself_does_is_an_attempt_of_the_flow_run(gateway: Gateway) -> None:
    run = gateway.prefect.run(run_count=3, auto_scheduled=True)
    who = await gateway.asserted(run, run_count=3)
    assert who.attempt is not None
    assert (who.name, who.attempt.id, who.attempt.task.task_id) == (
        "orders-cleanup", f"{SOURCE}:flow-run:{run.id}:3", "",
    )  # fmt: skip
    assert who.attributes["run_type"] == "scheduled"
    assert who.attributes["job_variables"] == ()  # known to be none: a rule may ask for that
    assert {"deployment", "work_pool", "triggering_user"}.isdisjoint(who.attributes)


async def test_the_spelling_of_an_id_makes_no_other_run(gateway: Gateway) -> None:
    run = gateway.prefect.run()
    asked = await gateway.runs.asserted(SOURCE, "{" + run.id.upper() + "}", None, 1, "k", anything)
    assert asked.principal == await gateway.asserted(run)
    for strange in ("", "..", "*", f"{run.id}/../x", "1", f"urn:uuid:{run.id}x"):
        looked = len(gateway.prefect.asked)
        assert await refused(gateway.runs.asserted(SOURCE, strange, None, 1, "k", anything)) == "flow_run_not_found"
        assert len(gateway.prefect.asked) == looked


async def test_who_may_not_speak_for_a_run_leaves_nothing_behind(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()

    class Forbidden(Exception):
        pass

    def forbid(facts: Any) -> None:
        assert facts["deployment"] == "orders-cleanup/nightly"
        raise Forbidden

    with pytest.raises(Forbidden):
        await gateway.runs.asserted(SOURCE, run.id, None, 1, "k", forbid)
    assert await gateway.attempts.get(f"{SOURCE}:flow-run:{run.id}:1") is None
    run.state = "PENDING"
    with pytest.raises(Forbidden):
        await gateway.runs.register(SOURCE, run.id, (), "k", forbid)
    assert await gateway.registered.live(SOURCE) == []


# --- which run, in which state --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["SCHEDULED", "PENDING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING", "suspended"]
)
async def test_only_a_flow_run_with_a_process_gets_anything(gateway: Gateway, state: str) -> None:
    run = gateway.prefect.deployed()
    token = await gateway.token(run)
    task = gateway.prefect.task(run)
    if state == "suspended":
        run.suspended()
    else:
        run.state = state
    assert await refused(gateway.asserted(run, task)) == "flow_run_not_running"
    assert await refused(gateway.proven(token, task)) == "flow_run_not_running"
    assert await gateway.attempts.get(f"{SOURCE}:task-run:{task.id}:1") is None


async def test_a_paused_run_has_a_process_that_waits(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    token = await gateway.token(run)
    run.state, run.pause_key = "PAUSED", "apr_1-1"
    assert (await gateway.asserted(run)).name == "orders-cleanup"
    assert (await gateway.proven(token, gateway.prefect.task(run))).principal.assurance is Assurance.VERIFIED


async def test_a_try_that_is_not_the_one_that_runs_gets_nothing(gateway: Gateway) -> None:
    run = gateway.prefect.run(run_count=2)
    for count in (0, 1, 3, 10**9):
        assert await refused(gateway.asserted(run, run_count=count)) == "flow_run_superseded"
    task = gateway.prefect.task(run, run_count=2)
    assert await refused(gateway.asserted(run, task, 1)) == "task_run_superseded"
    assert await refused(gateway.asserted(run, task, 0)) == "task_run_superseded"
    assert await refused(gateway.asserted(run, task, 3)) == "task_run_not_running"
    task.state = "COMPLETED"
    looked = len(gateway.prefect.asked)
    assert await refused(gateway.asserted(run, task, 2)) == "task_run_not_running"
    assert gateway.prefect.asked[looked:].count("/task_runs/filter") == 0  # it will not run again: nobody waits


async def test_task_runs_of_others_are_none_of_the_run(gateway: Gateway) -> None:
    run, other = gateway.prefect.deployed(), gateway.prefect.deployed()
    token = await gateway.token(run)
    foreign = gateway.prefect.task(other)
    assert await refused(gateway.asserted(run, foreign)) == "task_run_foreign"
    assert await refused(gateway.proven(token, foreign)) == "task_run_foreign"
    of_nobody = gateway.prefect.task(run)
    of_nobody.flow_run_id = None
    assert await refused(gateway.proven(token, of_nobody)) == "task_run_foreign"
    assert await refused(gateway.proven(token, task_run_id=str(uuid4()))) == "task_run_not_found"
    assert await refused(gateway.proven(token, task_run_id="no uuid")) == "flow_run_not_found"
    assert await refused(gateway.asserted(Run(run.flow_id))) == "flow_run_not_found"
    stranger = gateway.runs.asserted("other-prefect", run.id, None, 1, "k", anything)
    assert await refused(stranger) == "unknown_source"


# --- recorded late --------------------------------------------------------------------------------------------------


async def test_a_task_run_is_waited_for_until_prefect_has_recorded_it(gateway: Gateway) -> None:
    run = gateway.prefect.run()
    task = gateway.prefect.task(run, recorded_after=3)
    assert (await gateway.asserted(run, task)).attempt is not None
    retried = gateway.prefect.task(run, state="SCHEDULED")  # AwaitingRetry: its next try is about to be recorded
    asking = asyncio.create_task(gateway.asserted(run, retried, 2))
    await asyncio.sleep(0.1)
    assert not asking.done()
    retried.state, retried.run_count = "RUNNING", 2
    assert (await asking).attempt.try_number == 2  # type: ignore[union-attr]
    never = gateway.prefect.task(run, recorded_after=1000)
    assert await refused(gateway.asserted(run, never)) == "task_run_not_found"


async def test_however_many_wait_prefect_is_asked_no_more_often(database: Database) -> None:
    gateway = Gateway(database, recorded_within=0.6)
    run = gateway.prefect.run()
    late = [gateway.prefect.task(run, recorded_after=4) for _ in range(40)]
    nowhere = [gateway.runs.asserted(SOURCE, run.id, str(uuid4()), 1, "k", anything) for _ in range(40)]
    found = asyncio.gather(*(gateway.asserted(run, task) for task in late))
    missing = await asyncio.gather(*map(refused, nowhere))
    assert len({who.attempt.id for who in await found if who.attempt}) == 40
    assert set(missing) == {"task_run_not_found"}
    assert gateway.prefect.asked.count("/task_runs/filter") <= 32  # each 20 ms at most, for all of them together


async def test_who_waits_is_told_when_prefect_goes_away(database: Database) -> None:
    gateway = Gateway(database, recorded_within=5)
    run = gateway.prefect.run()
    late = [gateway.prefect.task(run, recorded_after=99) for _ in range(2)]
    waiting = [asyncio.create_task(gateway.asserted(run, task)) for task in late]
    await asyncio.sleep(0.1)
    gateway.prefect.answer = httpx.ConnectError("refused")
    for one in waiting:
        with pytest.raises(OrchestratorAway):
            await one


# --- registered, exchanged, proven ----------------------------------------------------------------------------------


async def test_a_registered_run_is_verified_and_its_tasks_are_its_own_word(gateway: Gateway) -> None:
    run = gateway.prefect.deployed(tags=["etl"])
    token = await gateway.token(run)
    proven = await gateway.proven(token, gateway.prefect.task(run))
    who = proven.principal
    assert (who.assurance, who.verified_by) == (Assurance.VERIFIED, f"prefect:{SOURCE}, by its worker")
    assert who.attributes["deployment"] == "orders-cleanup/nightly"
    assert who.attributes["task_assurance"] == "asserted"
    assert proven.registration == token.id
    assert (await gateway.proven(token)).principal.owner_key == who.owner_key


@pytest.mark.parametrize("state", ["RUNNING", "PAUSED", "COMPLETED", "CANCELLING", "CRASHED"])
async def test_a_run_that_has_begun_is_not_registered(gateway: Gateway, state: str) -> None:
    run = gateway.prefect.deployed(state=state)
    assert await refused(gateway.runs.register(SOURCE, run.id, (), "k", anything)) == "flow_run_not_pending"


async def test_only_what_a_worker_starts_is_registered(gateway: Gateway) -> None:
    by_hand = gateway.prefect.run(state="PENDING")
    assert await refused(gateway.runs.register(SOURCE, by_hand.id, (), "k", anything)) == "flow_run_of_no_pool"
    unknown = gateway.runs.register(SOURCE, str(uuid4()), (), "k", anything)
    assert await refused(unknown) == "flow_run_not_found"
    unknown = gateway.runs.register("other", by_hand.id, (), "k", anything)
    assert await refused(unknown) == "unknown_source"


async def test_pf_01_what_prefect_said_at_the_registration_counts(gateway: Gateway) -> None:
    """Whoever may write to Prefect's API can take a run's job variables away once its process runs with them."""
    run = gateway.prefect.deployed(job_variables={"command": "sh -c evil"})
    token = await gateway.token(run)
    run.job_variables, run.work_pool = {}, "another"
    run.deployment_id = gateway.prefect.deployment(run.flow_id, "trusted")
    attributes = (await gateway.proven(token)).principal.attributes
    assert attributes["job_variables"] == ("command",)
    assert (attributes["work_pool"], attributes["deployment"]) == ("etl", "orders-cleanup/nightly")


async def test_pf_01_what_the_worker_read_counts_as_well(gateway: Gateway) -> None:
    """They can be taken away between its look and the gateway's."""
    run = gateway.prefect.deployed(state="PENDING", job_variables={"env": {}})
    registration = await gateway.runs.register(SOURCE, run.id, ["command", "env"], "k", anything)
    assert (await gateway.found(registration.secret)).facts["job_variables"] == ("command", "env")


async def test_pf_02_a_run_of_another_flows_deployment_is_nobody(gateway: Gateway) -> None:
    """Prefect lets anybody create a run of one flow that says it is of the deployment of another; what a worker starts
    then is the deployment's, under the name of the flow."""
    payments, evil = gateway.prefect.flow("payments"), gateway.prefect.flow("evil")
    gateway.prefect.deployment(payments, "prod")
    bent = gateway.prefect.run(
        flow_id=payments, deployment_id=gateway.prefect.deployment(evil, "prod"), work_pool="etl"
    )
    assert await refused(gateway.asserted(bent)) == "flow_run_contradictory"
    bent.state = "PENDING"
    assert await refused(gateway.runs.register(SOURCE, bent.id, (), "k", anything)) == "flow_run_contradictory"


async def test_a_deployment_that_was_deleted_names_nobody(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    gateway.prefect.deployments.clear()
    assert "deployment" not in (await gateway.asserted(run)).attributes


async def test_pf_06_a_run_that_is_registered_twice_before_it_begins_is_said_to_be(gateway: Gateway) -> None:
    """Whoever has a worker's key can be the run that its worker has registered: then the worker's secret is none."""
    run = gateway.prefect.deployed(state="PENDING")
    await gateway.runs.register(SOURCE, run.id, (), "service:worker (tgk_1)", anything)
    with capture_logs() as logs:
        await gateway.runs.register(SOURCE, run.id, (), "service:thief (tgk_2)", anything)
    (line,) = [line for line in logs if line["event"] == "run.registered_again"]
    assert (line["by"], line["instead_of"]) == ("service:thief (tgk_2)", "service:worker (tgk_1)")


async def test_pf_10_a_run_of_another_pools_deployment_is_none(gateway: Gateway) -> None:
    """Whoever creates a run chooses its pool, and whose worker starts it: the deployment's facts are not theirs."""
    run = gateway.prefect.deployed()
    gateway.prefect.deployments[run.deployment_id or ""]["work_pool_name"] = "payments"
    assert await refused(gateway.asserted(run)) == "flow_run_contradictory"
    run.state = "PENDING"
    registering = gateway.runs.register(SOURCE, run.id, (), "service:worker (tgk_1)", anything)
    assert await refused(registering) == "flow_run_contradictory"
    gateway.prefect.deployments[run.deployment_id or ""]["work_pool_name"] = None  # one that its author serves
    gateway.source.rest._kept.clear()
    assert await refused(gateway.runs.register(SOURCE, run.id, (), "service:worker (tgk_1)", anything)) == (
        "flow_run_contradictory"
    )


# --- an attempt's id ------------------------------------------------------------------------------------------------


async def test_pf_05_an_attempts_id_belongs_to_one_run(gateway: Gateway) -> None:
    """A client chooses its task runs' ids: one that is another's would be looked after as that one's."""
    victim, mine = gateway.prefect.deployed("victim"), gateway.prefect.deployed("mine")
    task = gateway.prefect.task(victim)
    await gateway.asserted(victim, task)
    task.flow_run_id = mine.id
    assert await refused(gateway.proven(await gateway.token(mine), task)) == "attempt_id_taken"


async def test_pf_05_nobody_is_locked_out_by_a_task_run_with_their_flow_runs_id(gateway: Gateway) -> None:
    victim, mine = gateway.prefect.deployed("victim"), gateway.prefect.deployed("mine")
    forged = gateway.prefect.task(mine, id=victim.id)
    squatting = await gateway.proven(await gateway.token(mine), forged)
    assert squatting.principal.attempt is not None
    own = (await gateway.asserted(victim)).attempt
    assert own is not None
    assert own.id != squatting.principal.attempt.id


# --- a Prefect that is away, or is none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="boom"),
        httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
        httpx.Response(401),
        httpx.Response(403, json={"detail": "no"}),
        httpx.Response(429, json={"detail": "slowly"}),
        httpx.Response(404, text="<html>no such page</html>"),
        httpx.Response(200, text="<html>the UI</html>"),
        httpx.Response(200, text="[" * 100_000),
        httpx.Response(200, text=f'{{"id": {"9" * 5000}}}'),
        httpx.Response(200, text=""),
        httpx.Response(200, text="null"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"id": "x"}),
        httpx.Response(200, content=b'"' + b"x" * (2 * 1024 * 1024) + b'"'),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("what"),
    ],
    ids=lambda answer: f"{answer.status_code}-{len(answer.content)}" if isinstance(answer, httpx.Response) else None,
)
async def test_a_prefect_that_does_not_answer_as_it_should_is_away(
    gateway: Gateway, answer: httpx.Response | Exception
) -> None:
    run = gateway.prefect.deployed()
    token = await gateway.token(run)
    gateway.prefect.answer = answer
    for asked in (
        gateway.asserted(run),
        gateway.proven(token),
        gateway.runs.register(SOURCE, run.id, (), "k", anything),
    ):
        with pytest.raises(OrchestratorAway) as caught:
            await asked
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert not any("elsewhere" in path for path in gateway.prefect.asked)
    gateway.prefect.answer = None
    assert (await gateway.proven(token)).principal.assurance is Assurance.VERIFIED


async def test_a_secret_that_was_exchanged_is_fetched_again_once(gateway: Gateway) -> None:
    run = gateway.prefect.run()
    await gateway.asserted(run)
    gateway.prefect.auth = "admin:exchanged"
    gateway.prefect.secrets = ["admin:exchanged"]
    await gateway.asserted(run)
    gateway.prefect.auth = "admin:again"
    asked = len(gateway.prefect.asked)
    with pytest.raises(OrchestratorAway, match="refuses the gateway's account"):
        await gateway.asserted(run)
    assert len(gateway.prefect.asked) == asked + 2


@pytest.mark.parametrize("secret", [GatewayFault("The secret file is empty."), "canary-é", "canary\n"], ids=repr)
async def test_a_secret_that_is_of_no_use_is_an_absence_and_not_quoted(database: Database, secret: Any) -> None:
    gateway = Gateway(database, auth_string=None, api_key="env:K")
    gateway.prefect.secrets = [secret, secret]
    with pytest.raises(OrchestratorAway) as caught:
        await gateway.asserted(gateway.prefect.run())
    assert "canary" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__cause__ is None


async def test_names_are_remembered_and_runs_are_not(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    await gateway.asserted(run)
    before = len(gateway.prefect.asked)
    await gateway.asserted(run)
    assert gateway.prefect.asked[before:] == [f"/flow_runs/{run.id}"]


async def test_an_address_that_is_not_prefects_is_no_run_that_is_not_there(gateway: Gateway) -> None:
    """The url of the settings without its /api: nobody may take every run for gone."""
    run = gateway.prefect.deployed()
    gateway.prefect.answer = httpx.Response(404, json={"detail": "Not Found"})
    with pytest.raises(OrchestratorAway, match="ends in /api"):
        await gateway.asserted(run)
