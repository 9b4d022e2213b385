"""A DELETE that needs a human: held, refused with an id, retried, denied, given up, bounded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from taskgate.client import Approval, Client, NotPermitted
from taskgate.demo.stage import TARGET, Stage
from tests.integration.gateway.tasks import Task


@pytest.fixture
def task(airflow: Client) -> Task:
    return Task(airflow)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def order(stage: Stage) -> Callable[[], int]:
    """Makes an order that may be deleted, and says its id."""

    def make() -> int:
        with psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
            row = admin.execute(
                "insert into public.orders select max(id) + 1, 1, 10, 'test', now() from public.orders returning id"
            ).fetchone()
            assert row is not None
            return int(row[0])

    return make


def exists(stage: Stage, order_id: int) -> bool:
    with psycopg.connect(stage.postgres.dsn("shop")) as admin:
        return admin.execute("select 1 from public.orders where id = %s", (order_id,)).fetchone() is not None


def pending(client: Client, run_id: str, within: float = 5.0) -> Approval:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        for approval in client.approvals(state=["pending"], run_id=run_id):
            return approval
        time.sleep(0.02)
    pytest.fail("nobody was asked")


def delete(connection: psycopg.Connection, order_id: int) -> int:
    return connection.execute("delete from public.orders where id = %s", (order_id,)).rowcount


def asked(error: psycopg.Error) -> str:
    found = re.search(r"^approval=(apr_\w+)$", error.diag.message_detail or "", re.MULTILINE)
    assert found, error
    return found[1]


def test_held_until_approved(
    stage: Stage, task: Task, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    order_id = order()
    notices: list[str] = []
    with task.connect() as connection:
        connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
        deleted: Future[int] = background.submit(delete, connection, order_id)
        approval = pending(dana, task.run_id)
        assert exists(stage, order_id)
        assert approval.pairs == ["sql.delete public.orders", "sql.select public.orders"] or approval.pairs
        assert approval.estimate
        assert "rows" in approval.estimate
        dana.approve(approval.id, "fine")
        assert deleted.result(5) == 1
    assert not exists(stage, order_id)
    assert any(approval.id in notice for notice in notices), "the client was told while it waited"


def test_locks_shorten_how_long_it_says_it_waits(
    task: Task, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    with task.connect() as connection:
        connection.execute("begin")
        connection.execute("select 1 from public.orders limit 1")
        deleted: Future[int] = background.submit(delete, connection, order())
        approval = pending(dana, task.run_id)
        assert approval.waits_until is not None
        waits = (approval.waits_until - approval.requested_at).total_seconds()
        assert abs(waits - min(approval.terms.hold, approval.terms.hold_in_transaction)) < 2
        dana.deny(approval.id)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            deleted.result(5)
    assert dana.approval(approval.id).waits_until is None


def test_denied(
    stage: Stage, task: Task, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    order_id = order()
    with task.connect() as connection:
        deleted = background.submit(delete, connection, order_id)
        dana.deny(pending(dana, task.run_id).id, "not on a Friday")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"denied by user:.*dana: not on a Friday"):
            deleted.result(5)
        assert connection.execute("select 1").fetchone() == (1,)
    assert exists(stage, order_id)


def test_the_client_is_told_that_nobody_may_decide(
    stage: Stage, task: Task, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    """Of the two DBAs one triggered the first try, the other the second: both stand behind the request."""
    order_id = order()
    with task.connect(wait="refuse", by="dana") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is pending") as refused:
            delete(connection, order_id)
        assert "nobody may decide" not in str(refused.value)
    with task.connect(wait="refuse", by="lee", try_number=2) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            delete(connection, order_id)
        assert "nobody may decide it as things are: everybody of group:dba" in str(refused.value)
    details: list[str] = []
    with task.connect(by="lee", try_number=3) as connection:
        connection.add_notice_handler(lambda diagnostic: details.append(diagnostic.message_detail or ""))
        held = background.submit(delete, connection, order_id)
        deadline = time.monotonic() + 5
        while not details and time.monotonic() < deadline:
            time.sleep(0.02)
        connection.cancel_safe(timeout=5)
        assert isinstance(held.exception(5), psycopg.errors.QueryCanceled)
    assert details == ["Nobody may decide it as things are: everybody of group:dba stands behind the request."]
    assert exists(stage, order_id)


def test_a_retry_finds_its_grant_once(stage: Stage, task: Task, dana: Client, order: Callable[[], int]) -> None:
    first, second = order(), order()
    with task.connect(wait="refuse") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        delete(connection, first)
    dana.approve(asked(refused.value))
    with task.connect(wait="refuse", try_number=2) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as other:
            delete(connection, second)  # other parameters: another decision
        assert asked(other.value) != asked(refused.value)
        assert delete(connection, first) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is pending"):
            delete(connection, first)  # the grant was for one use
    assert not exists(stage, first)
    assert exists(stage, second)


def test_after_the_hold_a_retry_waits_for_the_same_request_and_another_finds_the_grant(
    stage: Stage, task: Task, dana: Client, background: ThreadPoolExecutor
) -> None:
    """What a stock operator with `retries` meets: nobody is asked twice, and no try needs anything but to run again."""
    statement = "delete from public.customers where id = %s"
    with psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
        admin.execute(
            "insert into public.customers select -1, name, email, card, ssn, city from public.customers limit 1"
        )
    ids = []
    for number in (1, 2):
        with task.connect(try_number=number) as connection:
            started = time.monotonic()
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody decided within 2 s and") as refused:
                connection.execute(statement, (-1,))
            assert 1.8 <= time.monotonic() - started <= 4
            assert "state=pending" in (refused.value.diag.message_detail or "")
            assert "a retry of the same task finds the grant" in (refused.value.diag.message_hint or "")
            ids.append(asked(refused.value))
    assert ids[0] == ids[1]
    left = dana.approval(ids[0])
    assert (left.state, left.held, left.waits_until) == ("pending", False, None)
    with task.connect(try_number=3) as connection:
        held = background.submit(lambda: connection.execute(statement, (-1,)).rowcount)
        while not dana.approval(ids[0]).held:
            time.sleep(0.02)
        connection.cancel_safe(timeout=5)
        assert isinstance(held.exception(5), psycopg.errors.QueryCanceled)
    assert dana.approval(ids[0]).state == "pending", "what one try left open no later try takes away"
    dana.approve(ids[0])
    with task.connect(try_number=4) as connection:
        assert connection.execute(statement, (-1,)).rowcount == 1


def test_another_task_does_not_find_the_grant(
    stage: Stage, airflow: Client, dana: Client, order: Callable[[], int]
) -> None:
    order_id = order()
    with Task(airflow).connect(wait="refuse") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            delete(connection, order_id)
        dana.approve(asked(refused.value))
    refused_too = pytest.raises(psycopg.errors.InsufficientPrivilege, match="is pending")
    with Task(airflow).connect(wait="refuse") as other, refused_too:
        delete(other, order_id)
    assert exists(stage, order_id)


def test_cancel_and_disconnect_withdraw(
    stage: Stage, airflow: Client, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    order_id = order()
    cancelled, gone = Task(airflow), Task(airflow)
    with cancelled.connect() as connection:
        deleting = background.submit(delete, connection, order_id)
        approval = pending(dana, cancelled.run_id)
        connection.cancel_safe(timeout=5)
        with pytest.raises(psycopg.errors.QueryCanceled):
            deleting.result(5)
        assert dana.wait_for_approval(approval.id, timeout=2).state == "withdrawn"
        assert connection.execute("select 1").fetchone() == (1,)
    connection = gone.connect()
    deleting = background.submit(delete, connection, order_id)
    approval = pending(dana, gone.run_id)
    connection.pgconn.finish()
    assert dana.wait_for_approval(approval.id, timeout=2).state == "withdrawn"
    assert exists(stage, order_id)


def test_a_wait_that_is_over_is_a_refusal(stage: Stage, dana: Client) -> None:
    credential = dana.issue_credential(TARGET)
    with psycopg.connect(credential.dsn.get_secret_value(), autocommit=True) as connection:
        started = time.monotonic()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody decided after 2 s"):
            connection.execute("update public.customers set city = 'Oslo' where id = 1")
        assert 1.8 <= time.monotonic() - started <= 4


def test_the_estimate_looks_names_up_where_the_session_does(task: Task, dana: Client) -> None:
    refused_as_pending = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with task.connect(wait="refuse") as connection, refused_as_pending as refused:
        connection.execute("delete from orders where id = -1")  # unqualified: found by "$user", public
    estimate = dana.approval(asked(refused.value)).estimate
    assert estimate is not None
    assert "rows" in estimate, estimate


def test_nobody_approves_their_own(dana: Client, background: ThreadPoolExecutor) -> None:
    credential = dana.issue_credential(TARGET)
    with (
        psycopg.connect(
            credential.dsn.get_secret_value(), autocommit=True, options="-c taskgate.wait=refuse"
        ) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege) as refused,
    ):
        connection.execute("update public.customers set city = 'Rome' where id = 1")
    approval_id = asked(refused.value)
    assert not dana.approval(approval_id).may_decide
    with pytest.raises(NotPermitted):
        dana.approve(approval_id)


def test_more_rows_than_approved_are_rolled_back(stage: Stage, task: Task, dana: Client) -> None:
    few = "update public.orders set status = 'seen' where id in (1, 2, 3)"
    many = "update public.orders set status = 'many' where id < 10"
    with task.connect(wait="refuse") as connection:
        for text in (few, many):
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
                connection.execute(text)
            dana.approve(asked(refused.value))
        assert connection.execute(few).rowcount == 3
        with pytest.raises(psycopg.Error, match="row"):
            connection.execute(many)
        assert connection.execute("select count(*) from public.orders where status = 'many'").fetchone() == (0,)


def test_grants_survive_a_restart(stage: Stage, task: Task, dana: Client, order: Callable[[], int]) -> None:
    order_id = order()
    with task.connect(wait="refuse") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        delete(connection, order_id)
    stage.gateway.kill()
    stage.gateway.start()
    dana.approve(asked(refused.value))
    stage.gateway.stop()
    stage.gateway.start()
    with task.connect(wait="refuse", try_number=2) as connection:
        assert delete(connection, order_id) == 1


def test_a_policy_that_changes_meanwhile_overtakes_the_wait(
    stage: Stage, task: Task, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    order_id = order()
    with task.connect() as connection:
        deleted = background.submit(delete, connection, order_id)
        approval = pending(dana, task.run_id)
        before = dana.policy().version
        with stage.gateway.policy_file.open("a") as policy:
            policy.write("# another version of the same rules\n")
        deadline = time.monotonic() + 10
        while dana.policy().version == before:
            assert time.monotonic() < deadline, "the policy was not read again"
            time.sleep(0.1)
        dana.approve(approval.id)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="changed while approval"):
            deleted.result(10)
    assert exists(stage, order_id)


def test_a_parked_statement_holds_up_nobody(
    airflow: Client, dana: Client, background: ThreadPoolExecutor, order: Callable[[], int]
) -> None:
    order_id, parked = order(), [Task(airflow) for _ in range(5)]
    connections = [task.connect() for task in parked]
    waiting = [background.submit(delete, connection, order_id) for connection in connections]
    for task in parked:
        pending(dana, task.run_id)
    try:
        with Task(airflow).connect() as other:
            started = time.monotonic()
            for _ in range(50):
                assert other.execute("select count(*) from public.orders where id = 1").fetchone() == (1,)
            assert time.monotonic() - started < 5
    finally:
        for connection in connections:
            connection.cancel_safe(timeout=5)
        for one in waiting:
            assert isinstance(one.exception(5), psycopg.errors.QueryCanceled)
        for connection in connections:
            connection.close()


def test_who_only_asks_runs_nothing_and_the_next_session_finds_the_grant(
    stage: Stage, task: Task, dana: Client, order: Callable[[], int]
) -> None:
    order_id = order()
    with task.connect(wait="ask") as asking:
        assert asking.execute("select count(*) from public.orders where id = %s", (order_id,)).fetchone() == (1,)
        assert asking.execute("show default_transaction_read_only").fetchone() == ("on",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is pending") as refused:
            delete(asking, order_id)
        approval = asked(refused.value)
        dana.approve(approval)
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was given by .*dana") as refused:
                delete(asking, order_id)
            assert asked(refused.value) == approval
            assert "state=approved" in (refused.value.diag.message_detail or "")
        for lifted in ("begin read write", "set default_transaction_read_only = off"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                asking.execute(lifted)
    assert exists(stage, order_id)
    with task.connect(wait="refuse", try_number=2) as connection:
        assert delete(connection, order_id) == 1
    assert not exists(stage, order_id)


@pytest.fixture
def log_of_ends(stage: Stage) -> Iterator[str]:
    """A table that the policy lets tasks write to."""
    with psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
        admin.execute("CREATE TABLE public.log_of_ends (n int)")
        yield "public.log_of_ends"
        admin.execute("DROP TABLE public.log_of_ends")  # another file makes its own


def test_what_needs_nobody_is_said_to_who_only_asks_and_does_not_run(
    stage: Stage, task: Task, order: Callable[[], int], log_of_ends: str
) -> None:
    order_id = order()
    with task.connect(wait="ask") as asking:
        deadline = time.monotonic() + 20
        while True:
            try:
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no human is needed") as refused:
                    asking.execute(f"INSERT INTO {log_of_ends} VALUES (1)")
                break
            except psycopg.errors.UndefinedTable:  # the gateway's catalogue has yet to hear of it
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert (refused.value.diag.message_detail or "").startswith("verdict=allow\n")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="refused by rule no-production-ddl"):
            asking.execute("drop table public.orders")
    assert exists(stage, order_id)


def test_an_option_that_is_none_keeps_out(task: Task) -> None:
    with pytest.raises(psycopg.OperationalError, match="taskgate.wait is hold, refuse, ask, not 'perhaps'"):
        task.connect(wait="perhaps")
