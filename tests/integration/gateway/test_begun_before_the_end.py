"""What a session was in the middle of when its attempt ended: a write that was begun is not completed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from taskgate.client import Client, TaskClaim
from taskgate.client.models import IssuedCredential
from taskgate.demo.stage import SOURCE, TARGET, Stage
from tests.integration.gateway.test_attempts_that_are_over import connect, credential, is_over

__all__ = ["credential"]

OVER = "the task attempt is over: what was begun is rolled back"


@pytest.fixture(scope="module")
def table(stage: Stage) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
        admin.execute("CREATE TABLE log_of_ends (n int)")
        admin.execute("GRANT ALL ON log_of_ends TO taskgate_app")
        admin.execute(
            "CREATE FUNCTION write_down(n int) RETURNS int LANGUAGE sql VOLATILE SECURITY DEFINER "
            "AS $$ INSERT INTO log_of_ends VALUES (n); SELECT n $$"
        )
        with stage.client("airflow") as airflow:
            known_to(stage, airflow)
        yield admin


def known_to(stage: Stage, airflow: Client) -> None:
    """The gateway looks for a name that it does not know, but not for each again and again."""
    claim = TaskClaim(source=SOURCE, dag_id="tests", run_id="looks", task_id="t", attempt_id=os.urandom(8).hex())
    with connect(airflow.issue_credential(TARGET, principal=claim)) as connection:
        deadline = time.monotonic() + 20
        while True:
            try:
                connection.execute("SELECT write_down(n) FROM log_of_ends")
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return


@pytest.fixture
def written(table: psycopg.Connection) -> Callable[[], int]:
    table.execute("TRUNCATE log_of_ends")

    def count() -> int:
        row = table.execute("SELECT count(*) FROM log_of_ends").fetchone()
        assert row is not None
        return int(row[0])

    return count


def ended(connection: psycopg.Connection, statement: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    return str(caught.value)


@pytest.mark.parametrize(
    "begun",
    [
        "INSERT INTO log_of_ends VALUES (1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT write_down(x) FROM generate_series(1, 5) x",
        "SELECT write_down(1)",
    ],
)
def test_a_transaction_that_may_have_changed_something_is_not_committed(
    stage: Stage, airflow: Client, credential: IssuedCredential, written: Callable[[], int], begun: str
) -> None:
    with connect(credential) as connection:
        connection.execute("BEGIN")
        connection.execute(begun)
        is_over(stage, credential, 30)
        time.sleep(0.5)
        assert OVER in ended(connection, "COMMIT")
    assert written() == 0


def test_a_copy_that_was_open_takes_nothing_more(
    stage: Stage, airflow: Client, credential: IssuedCredential, written: Callable[[], int]
) -> None:
    with connect(credential) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg.OperationalError):
            with cursor.copy("COPY log_of_ends FROM STDIN") as copy:
                copy.write("1\n" * 1000)
                is_over(stage, credential, 30)
                time.sleep(0.5)
                for _ in range(200):
                    copy.write("2\n" * 10000)
    assert written() == 0


def test_a_write_that_runs_is_cancelled(
    stage: Stage, airflow: Client, credential: IssuedCredential, written: Callable[[], int]
) -> None:
    with connect(credential) as connection:
        said: list[str] = []
        slow = "INSERT INTO log_of_ends SELECT x FROM generate_series(1, 300000000) x WHERE x % 100000000 = 0"
        writing = threading.Thread(target=lambda: said.append(ended(connection, slow)))
        writing.start()
        time.sleep(1)
        is_over(stage, credential, 30)
        writing.join(10)
        assert not writing.is_alive()
        assert OVER in said[0]
    time.sleep(0.5)
    assert written() == 0


def test_a_write_that_is_still_estimated_does_not_begin(
    stage: Stage, airflow: Client, credential: IssuedCredential, table: psycopg.Connection, written: Callable[[], int]
) -> None:
    table.execute("INSERT INTO log_of_ends VALUES (1)")
    with connect(credential) as connection, psycopg.connect(stage.postgres.dsn("shop")) as holding:
        connection.execute("SELECT count(*) FROM log_of_ends")
        holding.execute("LOCK TABLE log_of_ends IN ACCESS EXCLUSIVE MODE")
        said: list[str] = []
        writing = threading.Thread(target=lambda: said.append(ended(connection, "DELETE FROM log_of_ends")))
        writing.start()
        time.sleep(0.1)
        is_over(stage, credential, 30)
        holding.rollback()
        writing.join(10)
        assert not writing.is_alive()
    assert written() == 1


def test_nobody_is_told_anything_any_more(stage: Stage, airflow: Client, credential: IssuedCredential) -> None:
    with connect(credential) as connection:
        connection.execute("NOTIFY news, 'before'")
        is_over(stage, credential, 30)
        time.sleep(0.5)
        assert "may only read" in ended(connection, "NOTIFY news, 'after'")
        connection.execute("UNLISTEN *")


def test_a_transaction_that_only_read_goes_on(
    stage: Stage, airflow: Client, credential: IssuedCredential, written: Callable[[], int]
) -> None:
    with connect(credential) as connection:
        connection.execute("INSERT INTO log_of_ends VALUES (1)")  # committed: nobody takes it back
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM public.orders")
        is_over(stage, credential, 30)
        time.sleep(0.5)
        connection.execute("SELECT count(*) FROM public.orders")
        connection.execute("COMMIT")
    assert written() == 1
