"""A statement that needs a human: the flow run is paused meanwhile, and what the gateway says decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from taskgate_prefect import (
    ApprovalPending,
    ApprovalRefused,
    ApprovalTimeout,
    approval_required,
    request_approval,
)
from tests.integration.prefect.governed_prefect import GovernedPrefect, flow_run_named, paused

_UPDATE = "UPDATE orders SET status = 'seen' WHERE id = :id"


def in_background(run: Callable[[], Any]) -> Callable[[], Any]:
    """Starts it; what comes back waits for its end and returns or raises as it does."""
    outcome: list[Any] = []

    def caught() -> None:
        try:
            outcome.append((run(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=caught, daemon=True)
    thread.start()

    def finish() -> Any:
        thread.join(60)
        assert outcome, "it did not end"
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    return finish


def _updating(governed: GovernedPrefect, order: int, **fields: Any) -> Callable[[], int]:
    @task
    def updates() -> int:
        with governed.connector(**fields) as database:
            return int(database.execute(_UPDATE, {"id": order}).rowcount)

    @flow(name=f"updating-{order}", flow_run_name=f"updating-{order}")
    def whole() -> int:
        return updates()

    return whole


def test_the_run_is_paused_until_the_gateway_says_so(governed: GovernedPrefect) -> None:
    finish = in_background(_updating(governed, 10))
    approval = governed.pending()
    run = paused("updating-10")
    assert run.state.state_details.pause_key.startswith(f"{approval.id}-")
    keys = run.state.state_details.run_input_keyset
    with get_client(sync_client=True) as client:
        description = client.read_flow_run_input(run.id, keys["description"])
        schema = client.read_flow_run_input(run.id, keys["schema"])
    assert approval.id in description
    assert "humans-decide" in description
    assert "sql.update public.orders" in description
    assert "seen" not in description, "a statement may hold values"
    assert '"look again"' in schema
    assert governed.count("id = 10 AND status = 'seen'") == 0
    with governed.shop.client() as client:
        client.approve(approval.id, "by the test")
    assert finish() == 1
    assert flow_run_named("updating-10").state.is_completed()


def test_resuming_by_hand_decides_nothing(governed: GovernedPrefect) -> None:
    finish = in_background(_updating(governed, 11))
    approval = governed.pending()
    first = paused("updating-11")
    with get_client(sync_client=True) as client:
        client.resume_flow_run(first.id, run_input={"approval_id": approval.id, "decision": "approved"})
    while (again := paused("updating-11")).state.state_details.pause_key == first.state.state_details.pause_key:
        pass
    assert again.state.state_details.pause_key.startswith(f"{approval.id}-")
    assert governed.count("id = 11 AND status = 'seen'") == 0
    with governed.shop.client() as client:
        client.approve(approval.id, "by the test")
    assert finish() == 1


def test_a_denial_fails_the_task_and_retries_ask_nobody(governed: GovernedPrefect) -> None:
    tries = []

    @task(retries=2)
    def updates() -> None:
        tries.append(1)
        with governed.connector() as database:
            database.execute(_UPDATE, {"id": 12})

    @flow
    def whole() -> None:
        updates()

    with governed.deciding(lambda approval: False), pytest.raises(ApprovalRefused, match="was denied by user:taskgate:dana: by the test"):
        whole()
    assert len(tries) == 3
    assert len(governed.decided) == 1
    assert governed.count("id = 12 AND status = 'seen'") == 0


def test_what_nobody_decides_fails(governed: GovernedPrefect) -> None:
    with pytest.raises(ApprovalTimeout, match="within 1 s"):
        _updating(governed, 13, approval_timeout=1)()
    approval = governed.pending()
    with governed.shop.client() as client:
        client.deny(approval.id, "too late")
    assert flow_run_named("updating-13").state.is_failed()


def test_what_expires_fails(governed: GovernedPrefect) -> None:
    @flow
    def whole() -> None:
        with governed.connector() as database:
            database.execute("DELETE FROM customers WHERE id = -1")

    with pytest.raises(ApprovalRefused, match="expired before anybody decided"):
        whole()


def test_raise_and_hold(governed: GovernedPrefect) -> None:
    with pytest.raises(ApprovalPending, match="wants a human|needs approval|approval"):
        _updating(governed, 14, approval_wait="raise")()
    with governed.deciding():
        assert _updating(governed, 15, approval_wait="hold")() == 1


def test_a_flow_body_and_subflow_wait_too(governed: GovernedPrefect) -> None:
    @flow
    def inner() -> int:
        with governed.connector() as database:
            return int(database.execute(_UPDATE, {"id": 17}).rowcount)

    @flow
    def whole() -> tuple[int, int]:
        with governed.connector() as database:
            return int(database.execute(_UPDATE, {"id": 16}).rowcount), inner()

    with governed.deciding():
        assert whole() == (1, 1)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_asynchronous(governed: GovernedPrefect, driver: str) -> None:
    order = {"asyncpg": 20, "psycopg": 21}[driver]

    @task
    async def updates(order: int) -> int:
        async with governed.async_connector(driver=driver) as database:
            rows = await database.fetch_all("SELECT id FROM orders WHERE id = :id", {"id": order})
            assert len(rows) == 1
            return int((await database.execute(_UPDATE, {"id": order})).rowcount)

    @flow
    async def whole() -> list[int]:
        async with governed.async_connector(driver=driver) as database:
            await database.fetch_one("SELECT 1")
        return await asyncio.gather(updates(order), updates(order + 2))

    with governed.deciding():
        assert await whole() == [1, 1]


def test_several_at_once_on_threads(governed: GovernedPrefect) -> None:
    database = governed.connector()

    @task
    def updates(order: int) -> int:
        return int(database.execute(_UPDATE, {"id": order}).rowcount)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def whole() -> list[int]:
        futures = updates.map([30, 31, 32])
        wait(futures)
        database.close()
        return [future.result() for future in futures]

    waiting = set()

    def decide(approval: Any) -> bool | None:
        waiting.add(approval.id)
        return True if len(waiting) == 3 else None

    with governed.deciding(decide):
        assert whole() == [1, 1, 1]
    principals = {approval.principal.attempt.id for approval in governed.decided}
    assert len(principals) == 3, "each task run asks by a credential of its own"


def test_many_are_asked_for_at_once(governed: GovernedPrefect) -> None:
    pending: set[str] = set()

    def decide(approval: Any) -> bool | None:
        pending.add(approval.id)
        return True if len(pending) == 3 else None

    @flow
    def whole() -> None:
        with governed.connector() as database:
            database.execute_many(_UPDATE, [{"id": one} for one in (40, 41, 42)])

    with governed.deciding(decide):
        whole()
    assert len(governed.decided) == 3
    assert governed.count("id BETWEEN 40 AND 42 AND status = 'seen'") == 3


async def test_many_are_asked_for_at_once_asynchronously(governed: GovernedPrefect) -> None:
    @flow
    async def whole() -> None:
        async with governed.async_connector() as database:
            await database.execute_many(_UPDATE, [{"id": one} for one in (43, 44)])

    with governed.deciding():
        await whole()
    assert len(governed.decided) == 2
    assert governed.count("id BETWEEN 43 AND 44 AND status = 'seen'") == 2


def test_up_front(governed: GovernedPrefect) -> None:
    @task
    def asks() -> tuple[Any, Any]:
        with governed.connector() as database:
            read = request_approval(database, "SELECT 1")
            allowed = request_approval(database, "UPDATE customers SET city = 'Nowhere' WHERE id = :id", {"id": 5})
            assert read is None
            assert allowed is None
            given = request_approval(database, _UPDATE, {"id": 50})
            assert given is not None
            return given.id, governed.count("id = 50 AND status = 'seen'")

    @flow
    def whole() -> tuple[Any, Any]:
        asked = asks()
        with governed.connector(approval_wait="raise") as database:
            database.execute(_UPDATE, {"id": 50})
        return asked

    with governed.deciding():
        approval_id, changed = whole()
    assert changed == 0
    assert [approval.id for approval in governed.decided] == [approval_id]
    assert governed.count("id = 50 AND status = 'seen'") == 1
    assert governed.count("id = 5 AND city = 'Nowhere'", "customers") == 0


async def test_up_front_asynchronously(governed: GovernedPrefect) -> None:
    @flow
    async def whole() -> Any:
        async with governed.async_connector() as database:
            given = await request_approval(database, _UPDATE, {"id": 51})
            await database.execute(_UPDATE, {"id": 51})
            return given

    with governed.deciding():
        given = await whole()
    assert [approval.id for approval in governed.decided] == [given.id]
    assert governed.count("id = 51 AND status = 'seen'") == 1


def test_code_of_ones_own_runs_again(governed: GovernedPrefect) -> None:
    import pandas

    runs = []

    @task
    @approval_required
    def updates() -> Any:
        runs.append(1)
        with governed.connector() as database:
            with database.get_engine().begin() as connection:
                connection.exec_driver_sql("UPDATE orders SET status = 'seen' WHERE id = 60")
            return pandas.read_sql("SELECT status FROM orders WHERE id = 60", database.get_engine())["status"][0]

    @flow
    def whole() -> Any:
        return updates()

    with governed.deciding():
        assert whole() == "seen"
    assert len(runs) == 2


async def test_code_of_ones_own_runs_again_asynchronously(governed: GovernedPrefect) -> None:
    runs = []

    @flow
    @approval_required(wait="pause", timeout=60)
    async def whole() -> None:
        runs.append(1)
        async with governed.async_connector(approval_wait="raise") as database:
            await database.execute(_UPDATE, {"id": 61})

    with governed.deciding():
        await whole()
    assert len(runs) == 2
    assert governed.count("id = 61 AND status = 'seen'") == 1
