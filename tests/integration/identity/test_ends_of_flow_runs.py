"""What ends with a flow run, and how the gateway comes to know of it. Who it is: test_prefect_flow_runs.py."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.faults import NotProven, OrchestratorAway
from taskgate.store.attempts import attempts
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from tests.integration.identity.gateway_of_prefect import LABEL, SOURCE, TARGET, Gateway, refused
from tests.integration.identity.prefect_stand_in import Run, TaskRun


def key(run: Run, task_id: str = "clean") -> TaskKey:
    return TaskKey(SOURCE, "orders-cleanup", run.id, task_id)


def owner(run: Run) -> str:
    return f"task:{SOURCE}/orders-cleanup/{run.id}"


async def issued_to_both(gateway: Gateway) -> tuple[Run, TaskRun, str, str]:
    """A flow run and a task of it, each with a credential."""
    run = gateway.prefect.deployed()
    token, task = await gateway.token(run), gateway.prefect.task(run)
    return run, task, await gateway.issued(token, task), await gateway.issued(token)


@pytest.mark.parametrize("state", ["RUNNING", "PAUSED"])
async def test_an_attempt_lives_on_while_its_process_waits(gateway: Gateway, state: str) -> None:
    run, _, *credentials = await issued_to_both(gateway)
    run.state = state
    assert await gateway.check() == 0
    assert all([await gateway.live(one) for one in credentials])


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING", "deleted"])
async def test_everything_of_a_run_ends_with_it(gateway: Gateway, state: str) -> None:
    run, task, *credentials = await issued_to_both(gateway)
    token = (await gateway.registered.live(SOURCE))[0][0]
    assert task.state == "RUNNING"  # nobody tells Prefect of the tasks of a run that crashed
    if state == "deleted":
        gateway.prefect.runs.clear()
    else:
        run.state = state
    assert await gateway.check() == 2
    assert not any([await gateway.live(one) for one in credentials])
    assert owner(run) in gateway.requests.withdrawn
    assert token not in dict(await gateway.registered.live(SOURCE))
    assert await gateway.check() == 0


async def test_a_task_ends_alone_and_what_it_asked_for_stays_with_the_run(gateway: Gateway) -> None:
    _, task, of_task, of_run = await issued_to_both(gateway)
    task.state = "COMPLETED"
    assert await gateway.check() == 1
    assert (await gateway.live(of_task), await gateway.live(of_run)) == (False, True)
    assert gateway.requests.withdrawn == {}
    assert len(await gateway.registered.live(SOURCE)) == 1


@pytest.mark.parametrize("change", ["retried", "waits for its retry", "deleted", "of another run"])
async def test_a_try_that_another_takes_the_place_of_is_over(gateway: Gateway, change: str) -> None:
    _, task, of_task, _ = await issued_to_both(gateway)
    match change:
        case "retried":
            task.run_count = 2
        case "waits for its retry":
            task.state = "SCHEDULED"
        case "deleted":
            gateway.prefect.tasks.clear()
        case _:
            task.flow_run_id = gateway.prefect.deployed().id
    assert await gateway.check() == 1
    assert not await gateway.live(of_task)
    assert gateway.requests.withdrawn == {}


@pytest.mark.parametrize("state", ["RUNNING", "SCHEDULED", "PENDING"])
async def test_a_run_that_starts_over_keeps_what_it_asked_for_and_no_credential(gateway: Gateway, state: str) -> None:
    run, _, *credentials = await issued_to_both(gateway)
    gateway.requests.pending = [key(run)]
    run.started_over()
    run.state = state
    assert await gateway.check() == 2
    assert not any([await gateway.live(one) for one in credentials])
    assert await gateway.reconciling.check_requests() == 0
    assert gateway.requests.withdrawn == {}


async def test_a_run_that_is_started_again_while_its_end_is_dealt_with(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway has read that it failed, a person retries it, and its worker registers it before the gateway is
    done."""
    run, _, *credentials = await issued_to_both(gateway)
    run.state = "FAILED"
    again: list[str] = []

    async def withdraw_all(owner_key: str, reason: str) -> int:
        if not again:
            run.started_over()
            again.append(await gateway.secret(run))
        return 0

    monkeypatch.setattr(gateway.requests, "withdraw_all", withdraw_all)
    assert await gateway.check() == 2
    assert not any([await gateway.live(one) for one in credentials])
    token = await gateway.found(await gateway.runs.exchange(await gateway.found(again[0]), LABEL))
    assert await gateway.live(await gateway.issued(token, run_count=run.run_count))


async def test_what_a_later_start_has_asked_for_stays(gateway: Gateway) -> None:
    """As above, with a service key, by which nothing is registered."""
    run = gateway.prefect.deployed()
    await gateway.asserted(run)
    known = await gateway.attempts.alive_of_run(SOURCE, run.id)
    run.state = "FAILED"
    found = await gateway.source.overs(known)
    run.started_over()
    await gateway.asserted(run, run_count=run.run_count)
    for attempt in known:
        ended = found[attempt.id]
        assert ended is not None
        await gateway.orchestrators.endings.end(attempt, ended, told=False)
    assert gateway.requests.withdrawn == {}


async def test_tasks_of_a_suspended_run_may_end_what_they_have_begun(gateway: Gateway) -> None:
    run, task, of_task, of_run = await issued_to_both(gateway)
    run.suspended(seconds_ago=30)
    assert await gateway.check() == 1  # the flow itself goes no further
    assert (await gateway.live(of_task), await gateway.live(of_run)) == (True, False)
    run.suspended(seconds_ago=61)
    assert await gateway.check() == 1
    assert not await gateway.live(of_task)
    assert task.state == "RUNNING"
    gateway.requests.pending = [key(run)]
    assert await gateway.reconciling.check_requests() == 0  # it comes back for its answer
    assert await gateway.registrations.check() == 0


async def test_a_resumed_run_has_the_count_it_was_suspended_with(gateway: Gateway) -> None:
    """Prefect counts a start that resumes no second time: the same attempt lives again, with a new credential."""
    run, _, _, before = await issued_to_both(gateway)
    run.suspended()
    await gateway.check()
    run.reschedules = False
    token = await gateway.token(run)
    after = await gateway.issued(token)
    assert await gateway.check() == 0
    assert (await gateway.live(before), await gateway.live(after)) == (False, True)


async def test_requests_are_withdrawn_when_the_run_is_over_and_not_before(gateway: Gateway) -> None:
    """By themselves: also where nothing of the run holds a credential any more."""
    runs = [gateway.prefect.run() for _ in range(4)]
    gateway.requests.pending = [key(run) for run in runs] + [TaskKey(SOURCE, "claimed", "manual__1", "t")]
    for run, state in zip(runs, ("PAUSED", "SCHEDULED", "COMPLETED", "CANCELLING"), strict=True):
        run.state = state
    assert await gateway.reconciling.check_requests() == 3
    assert set(gateway.requests.withdrawn) == {owner(runs[2]), owner(runs[3]), f"task:{SOURCE}/claimed/manual__1"}
    assert await gateway.reconciling.check_requests() == 0


# --- subflows -------------------------------------------------------------------------------------------------------


async def test_pf_09_a_subflow_ends_with_the_run_it_was_known_in_whoever_is_said_to_call_it(gateway: Gateway) -> None:
    run, other = gateway.prefect.deployed(), gateway.prefect.deployed()
    inner = gateway.prefect.subflow(run)
    credential = await gateway.issued(await gateway.token(run), flow_run_id=inner.id)
    gateway.prefect.tasks[inner.parent_task_run_id or ""].flow_run_id = other.id
    assert await gateway.check() == 0
    run.state = "COMPLETED"
    assert await gateway.check() == 1
    assert not await gateway.live(credential)


@pytest.mark.parametrize("registered", [True, False])
async def test_a_subflow_ends_when_the_run_it_was_in_is_started_again(gateway: Gateway, registered: bool) -> None:
    run = gateway.prefect.deployed()
    inner = gateway.prefect.subflow(run)
    credential = await gateway.issued(await gateway.token(run), flow_run_id=inner.id)
    run.started_over()
    if registered:
        await gateway.secret(run)
    else:
        assert await gateway.check() == 1
    assert not await gateway.live(credential)


@pytest.mark.parametrize("above", ["run", "middle", "call", "suspended"])
async def test_pf_06_a_subflow_does_not_outlive_the_run_it_is_in(gateway: Gateway, above: str) -> None:
    """Its author need only never let it end."""
    run = gateway.prefect.deployed()
    middle = gateway.prefect.subflow(run, "middle")
    inner = gateway.prefect.subflow(middle)
    token, task = await gateway.token(run), gateway.prefect.task(inner)
    credential = await gateway.issued(token, task, flow_run_id=inner.id)
    gateway.requests.pending = [TaskKey(SOURCE, "inner", inner.id, "clean")]
    assert await gateway.check() == 0
    assert await gateway.reconciling.check_requests() == 0
    match above:
        case "run":
            run.state = "COMPLETED"
        case "middle":
            middle.state = "FAILED"
        case "call":
            del gateway.prefect.tasks[middle.parent_task_run_id or ""]
        case _:
            run.suspended(seconds_ago=61)
    assert await gateway.check() == 1
    assert not await gateway.live(credential)
    comes_back = above == "suspended"
    assert (f"task:{SOURCE}/inner/{inner.id}" in gateway.requests.withdrawn) is not comes_back
    gateway.requests.withdrawn.clear()
    assert await gateway.reconciling.check_requests() == (not comes_back)


async def test_a_loop_of_callers_ends(gateway: Gateway) -> None:
    run = gateway.prefect.run()
    await gateway.issue(await gateway.runs.asserted(SOURCE, run.id, None, 1, "k", lambda _: None))
    run.parent_task_run_id = gateway.prefect.task(run).id
    assert await gateway.check() == 1


# --- the registration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["COMPLETED", "CRASHED", "CANCELLING", "deleted"])
async def test_pf_07_a_run_that_was_issued_nothing_proves_nothing_when_it_is_over(gateway: Gateway, state: str) -> None:
    """Else its token would count again for whoever sets the run's state back to running."""
    run, goes_on = gateway.prefect.deployed(), gateway.prefect.deployed()
    token, other = await gateway.token(run), await gateway.token(goes_on)
    before = run.state
    if state == "deleted":
        del gateway.prefect.runs[run.id]
    else:
        run.state = state
    assert await gateway.registrations.check() == 1
    gateway.prefect.runs[run.id], run.state = run, before
    assert await gateway.registrations.check() == 0
    with pytest.raises(NotProven, match="proves nothing any more"):
        await gateway.issued(token)
    assert [run_id for run_id, _ in await gateway.registered.live(SOURCE)] == [other.id]


async def test_a_run_that_asks_when_it_is_over_has_asked_for_the_last_time(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    token = await gateway.token(run)
    run.state = "COMPLETED"
    assert await refused(gateway.proven(token)) == "flow_run_not_running"
    assert await gateway.registered.live(SOURCE) == []
    run.state = "RUNNING"
    with pytest.raises(NotProven) as caught:
        await gateway.issued(token)
    assert caught.value.code == "run_ended"


async def test_more_registered_runs_than_are_looked_at_together(gateway: Gateway) -> None:
    runs = [gateway.prefect.deployed() for _ in range(5)]
    for run in runs:
        await gateway.token(run)
    some = await gateway.registered.live(SOURCE, limit=2)
    others = await gateway.registered.live(SOURCE, after=some[-1][0], limit=9)
    assert [flow_run for _, flow_run in (*some, *others)] == [run.id for run in runs]


# --- Prefect away, or odd -------------------------------------------------------------------------------------------


async def test_a_prefect_that_is_away_ends_nothing_until_it_has_been_for_too_long(database: Database) -> None:
    gateway = Gateway(database, check_interval=0.05, lost_after=0.5)
    run, _, *credentials = await issued_to_both(gateway)
    gateway.prefect.answer = httpx.Response(503)
    with pytest.raises(OrchestratorAway):
        await gateway.check()
    assert all([await gateway.live(one) for one in credentials])
    with capture_logs() as logs:
        running = asyncio.create_task(gateway.reconciling.run())
        async with asyncio.timeout(10):
            while any([await gateway.live(one) for one in credentials]):
                await asyncio.sleep(0.05)
        running.cancel()
    assert [log["event"] for log in logs].count("orchestrator.away") == 1
    assert gateway.requests.withdrawn == {}  # it may come back for them
    assert run.state == "RUNNING"


@pytest.mark.parametrize(
    "odd",
    [
        {"name": "x" * (3 * 1024 * 1024)},
        {"run_count": 900_000_000_000_000_000},
        {"run_count": True},
        {"run_count": -1},
        {"work_pool_name": "x" * 251},
        {"name": None},
        {"flow_id": "nowhere"},
        {"state": {"type": "RUNNING"}},
        {"state": {"type": "RUNNING", "name": "Running", "timestamp": "2026-01-01T00:00:00"}},
        {"job_variables": {f"v{n}": 1 for n in range(101)}},
        {"tags": [1]},
    ],
    ids=lambda odd: str(odd)[:40],
)
async def test_pf_08_one_odd_run_keeps_no_other_from_being_looked_at(gateway: Gateway, odd: dict[str, Any]) -> None:
    """What a run says of itself is up to whoever writes to Prefect. A run that cannot be read is vouched for by nobody:
    it is over, and the others end when they end."""
    strange, ends, lives = (gateway.prefect.deployed() for _ in range(3))
    credentials = [await gateway.issued(await gateway.token(run)) for run in (strange, ends, lives)]
    strange.odd, ends.state = odd, "COMPLETED"
    with capture_logs() as logs:
        assert await gateway.check() == 2
    assert [await gateway.live(one) for one in credentials] == [False, False, True]
    warned = [log for log in logs if log["event"] == "orchestrator.run_unreadable"]
    assert [log["run"] for log in warned] == [strange.id]
    assert len(str(warned)) < 1000


async def test_pf_08_task_runs_too(gateway: Gateway) -> None:
    run, task, of_task, of_run = await issued_to_both(gateway)
    task.odd = {"run_count": 2**40}
    assert await gateway.check() == 1
    assert (await gateway.live(of_task), await gateway.live(of_run)) == (False, True)
    assert run.state == "RUNNING"


async def test_runs_with_long_parameters_are_looked_at_a_few_at_a_time(gateway: Gateway) -> None:
    runs = [gateway.prefect.deployed(padding=500_000) for _ in range(9)]
    credentials = [await gateway.issued(await gateway.token(run)) for run in runs]
    runs[4].state = "COMPLETED"
    assert await gateway.check() == 1
    assert [await gateway.live(one) for one in credentials] == [run is not runs[4] for run in runs]
    for run in runs:
        run.state = "PAUSED"
    assert {run.id for run in await gateway.source.rest.paused()} == {run.id for run in runs}
    runs[2].padding = 3_000_000
    assert {run.id for run in await gateway.source.rest.paused()} == {run.id for run in runs if run is not runs[2]}


async def test_an_attempt_that_is_none_of_a_prefects_is_over(gateway: Gateway) -> None:
    """Its source has had another kind of orchestrator, say."""
    _, _, *credentials = await issued_to_both(gateway)
    now = database_time()
    for attempt_id, run_id in (("01a2-no-count", "manual__1"), (f"x:{'9' * 20}", "r"), ("x:1", "manual__2")):
        row = {
            "id": attempt_id, "source": SOURCE, "dag_id": "d", "run_id": run_id, "task_id": "t", "map_index": -1,
            "owner_key": f"task:{SOURCE}/d/{run_id}/t", "try_number": 1, "generation": 1,
        }  # fmt: skip
        async with gateway.attempts._database.statement(writes=True) as connection:
            await connection.execute(insert(attempts).values(**row, began_at=now, seen_at=now, check_at=now))
    assert await gateway.check() == 3
    assert all([await gateway.live(one) for one in credentials])


async def test_nothing_is_issued_past_the_end_of_an_attempt(gateway: Gateway) -> None:
    run = gateway.prefect.deployed()
    proven = await gateway.proven(await gateway.token(run))
    run.state = "COMPLETED"
    await gateway.check()
    with pytest.raises(NotProven):
        await gateway.issue(replace(proven, registration=None), TARGET)
