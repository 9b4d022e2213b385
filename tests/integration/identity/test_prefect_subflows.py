"""Subflows: whose process they run in is who they are."""

from __future__ import annotations

from uuid import uuid4

from tests.integration.identity.gateway_of_prefect import SOURCE, Gateway, refused
from tests.integration.identity.prefect_stand_in import USER


async def test_a_subflow_in_the_process_of_a_run_is_as_well_known_as_that(gateway: Gateway) -> None:
    run = gateway.prefect.deployed(tags=["outer"], created_by=USER)
    inner = gateway.prefect.subflow(gateway.prefect.subflow(run, "middle"), tags=["inner"])
    token = await gateway.token(run)
    task = gateway.prefect.task(inner)
    for who in (
        (await gateway.proven(token, task, flow_run_id=inner.id)).principal,
        await gateway.asserted(inner, task),
    ):
        assert (who.attributes["flow"], who.attributes["tags"]) == ("inner", ("inner",))
        assert who.attributes["deployment"] == "orders-cleanup/nightly"
        assert (who.attributes["work_pool"], who.attributes["triggering_user"]) == ("etl", "bob")
        assert who.owner_key == f"task:{SOURCE}/inner/{inner.id}"
        assert who.attempt is not None
        assert who.attempt.run_name == f"{inner.name} in {run.name}"
    assert await refused(gateway.proven(token, task)) == "task_run_foreign"  # of the subflow, not of the run


async def test_pf_03_a_made_up_subflow_with_a_deployment_is_not_the_runs(gateway: Gateway) -> None:
    """Anybody may create a running flow run of any deployment that says it was called by a task of one's own run."""
    mine, payments = gateway.prefect.deployed(), gateway.prefect.flow("payments")
    token = await gateway.token(mine)
    call = gateway.prefect.task(mine).id
    made_up = gateway.prefect.run(
        flow_id=payments, deployment_id=gateway.prefect.deployment(payments, "prod"), parent_task_run_id=call
    )
    in_a_pool = gateway.prefect.run("payments", work_pool="payments", parent_task_run_id=call)
    for forged in (made_up, in_a_pool):
        assert await refused(gateway.proven(token, flow_run_id=forged.id)) == "flow_run_foreign"
    bare = gateway.prefect.run("payments", parent_task_run_id=call)  # no more than a flow of that name, in this run
    who = (await gateway.proven(token, flow_run_id=bare.id)).principal
    assert who.attributes["deployment"] == "orders-cleanup/nightly"


async def test_pf_04_no_chain_of_callers_leads_to_another_run(gateway: Gateway) -> None:
    mine, other = gateway.prefect.deployed(), gateway.prefect.deployed()
    token = await gateway.token(mine)
    assert await refused(gateway.proven(token, flow_run_id=other.id)) == "flow_run_foreign"
    other.state = "COMPLETED"  # what others' runs are doing is not said either
    assert await refused(gateway.proven(token, flow_run_id=other.id)) == "flow_run_foreign"
    other.state = "RUNNING"
    of_other = gateway.prefect.subflow(other)
    assert await refused(gateway.proven(token, flow_run_id=of_other.id)) == "flow_run_foreign"
    assert await refused(gateway.proven(token, flow_run_id=str(uuid4()))) == "flow_run_foreign"
    orphan = gateway.prefect.run("orphan", parent_task_run_id=str(uuid4()))
    assert await refused(gateway.proven(token, flow_run_id=orphan.id)) == "flow_run_not_found"
    loop = gateway.prefect.run("loop")
    loop.parent_task_run_id = gateway.prefect.task(loop).id
    assert await refused(gateway.proven(token, flow_run_id=loop.id)) == "flow_run_too_deep"
    assert await refused(gateway.asserted(loop)) == "flow_run_too_deep"


async def test_pf_09_a_subflow_stays_with_the_process_that_it_was_known_in(gateway: Gateway) -> None:
    """Whoever can send events to Prefect makes it say that a task run, and so the subflow it calls, is another's."""
    victim, mine = gateway.prefect.deployed("victim"), gateway.prefect.deployed("mine")
    subflow = gateway.prefect.subflow(victim)
    await gateway.proven(await gateway.token(victim), flow_run_id=subflow.id)
    call = gateway.prefect.tasks[subflow.parent_task_run_id or ""]
    call.flow_run_id = mine.id
    token = await gateway.token(mine)
    assert await refused(gateway.proven(token, flow_run_id=subflow.id)) == "flow_run_foreign"
    assert await refused(gateway.proven(token, gateway.prefect.task(subflow), flow_run_id=subflow.id)) == (
        "flow_run_foreign"
    )
    assert await refused(gateway.asserted(subflow)) == "flow_run_foreign"
    call.flow_run_id = victim.id
    assert (await gateway.asserted(subflow)).attempt is not None


async def test_a_subflow_is_nothing_without_those_above_it(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    middle = gateway.prefect.subflow(run, "middle")
    inner = gateway.prefect.subflow(middle)
    token = await gateway.token(run)
    middle.state = "COMPLETED"
    assert await refused(gateway.proven(token, flow_run_id=inner.id)) == "flow_run_not_running"
    middle.state, run.state = "RUNNING", "CRASHED"
    assert await refused(gateway.proven(token, flow_run_id=inner.id)) == "flow_run_not_running"
    assert await refused(gateway.asserted(inner)) == "flow_run_not_running"
