"""What a connector does in flows and tasks, against a real gateway, PostgreSQL and Prefect server."""

from __future__ import annotations

import contextlib
import gc
import pickle
import time
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from sqlalchemy.exc import DBAPIError

from taskgate.client import NotPermitted
from taskgate_prefect import GovernedSqlAlchemyConnector, NotInRun, TaskgateGateway
from taskgate_prefect.credentials import in_this_process
from tests.integration.prefect.governed_prefect import GovernedPrefect


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passwords of the credentials that this process got."""
    passwords: list[str] = []
    keep = in_this_process._keep

    def listed(*args: Any) -> Any:
        credential = keep(*args)
        passwords.append(credential.issued.password.get_secret_value())
        return credential

    monkeypatch.setattr(in_this_process, "_keep", listed)
    return passwords


def test_masked_cells_arrive_masked(governed: GovernedPrefect) -> None:
    @flow
    def whole() -> Any:
        with governed.connector() as database:
            return database.fetch_one("SELECT name, ssn FROM customers WHERE id = 3")

    name, ssn = whole()
    plain = governed.shop.query("SELECT name, ssn FROM customers WHERE id = 3")[0]
    assert name == plain[0]
    assert ssn != plain[1]


def test_a_denied_statement_names_the_rule(governed: GovernedPrefect, caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def whole() -> None:
        with governed.connector() as database:
            database.execute("DROP TABLE orders")

    with pytest.raises(DBAPIError, match="no-ddl"):
        whole()
    assert "Refused by the gateway" in caplog.text
    assert "rule no-ddl" in caplog.text


def test_each_task_run_has_its_own_credential_and_session(governed: GovernedPrefect, issued: list[str]) -> None:
    database = governed.connector()

    @task
    def reads(number: int) -> str:
        for _ in range(2):
            rows = database.fetch_all("SELECT id FROM orders WHERE id < :id", {"id": 300 + number})
            database.reset_connections()
        assert rows is not None
        user = in_this_process.of_current()[0].issued.user
        return str(user)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def whole() -> list[str]:
        with database:
            database.fetch_one("SELECT 1")
            return [*reads.map(range(4)).result(), in_this_process.of_current()[0].issued.user]

    users = whole()
    assert len(set(users)) == 5
    assert len(issued) == 5
    with governed.shop.client() as client:
        sessions = [one for one in client.sessions() if one.credential_id in users]
    assert len(sessions) == 5
    assert len({one.principal.attempt.id for one in sessions if one.principal.attempt}) == 5


def test_a_retry_gets_a_credential_of_its_own(governed: GovernedPrefect, issued: list[str]) -> None:
    tries = []

    @task(retries=1)
    def reads() -> None:
        with governed.connector() as database:
            database.fetch_one("SELECT 1")
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    @flow
    def whole() -> None:
        reads()

    whole()
    assert len(issued) == 2


def test_no_secret_is_left_anywhere(
    governed: GovernedPrefect, issued: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("DEBUG")
    governed.gateway().save("secrets", overwrite=True)
    connector = governed.connector(connect_args={"application_name": "etl"})
    connector.save("secrets", overwrite=True)
    seen: list[str] = []

    @flow(persist_result=True)
    def whole() -> Any:
        with GovernedSqlAlchemyConnector.load("secrets") as database:
            engine = database.get_engine()
            with database.get_connection(begin=False) as connection:
                driver = connection.connection.driver_connection
                seen.extend([repr(engine), str(engine.url), repr(connection), repr(driver), repr(engine.pool)])
            seen.extend([repr(database), str(database), database.model_dump_json(), repr(in_this_process.of_current())])
            seen.append(str(pickle.dumps(database)) + str(cloudpickle.dumps(database)))
            with pytest.raises(DBAPIError) as failed:
                database.execute("SELECT 1 / :zero", {"zero": 0})
            seen.append(repr(failed.value) + str(failed.value.__cause__))
            return database

    result = whole(return_state=True)
    seen.append(str(cloudpickle.dumps(result.result())))
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("secrets", "governed-sqlalchemy-connector", include_secrets=False)
        seen.append(str(document.data))
        own = client.read_block_document_by_name("secrets", "governed-sqlalchemy-connector").data
    assert governed.service_key not in str({name: value for name, value in own.items() if name != "gateway"})
    seen.append(caplog.text)
    everything = "\n".join(seen)
    assert issued
    for secret in (*issued, governed.service_key):
        assert secret not in everything
    assert "127.0.0.1:" not in str(seen[1])


def test_a_block_goes_into_other_processes_without_its_key(governed: GovernedPrefect) -> None:
    governed.gateway().save("pooled", overwrite=True)
    GovernedSqlAlchemyConnector(gateway=TaskgateGateway.load("pooled"), target="orders-db").save(
        "pooled", overwrite=True
    )

    @task
    def reads(database: GovernedSqlAlchemyConnector, number: int) -> int:
        with database:
            return len(database.fetch_all("SELECT id FROM orders ORDER BY id LIMIT :n", {"n": number}))

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def whole() -> list[int]:
        database = GovernedSqlAlchemyConnector.load("pooled")
        return [future.result() for future in (reads.submit(database, 2), reads.submit(database, 3))]

    assert whole() == [2, 3]


def test_a_revoked_credential_is_replaced(governed: GovernedPrefect, issued: list[str]) -> None:
    @flow
    def whole() -> None:
        with governed.connector() as database:
            database.execute("SELECT 1")
            credential = in_this_process.of_current()[0]
            object.__setattr__(credential, "received", 0.0)
            governed.revoke(credential.issued.id)
            until = time.monotonic() + 10
            while len(issued) == 1 and time.monotonic() < until:
                with contextlib.suppress(DBAPIError):  # the session ends within a second, perhaps in a statement
                    database.execute("SELECT 1")
            assert database.fetch_one("SELECT 2") == (2,)

    whole()
    assert len(issued) == 2


def test_a_finished_run_gets_nothing(governed: GovernedPrefect) -> None:
    kept: list[Any] = []

    @flow
    def whole() -> None:
        from taskgate_prefect.run_attempt import current_attempt

        kept.append(current_attempt())

    whole()
    with pytest.raises(NotPermitted, match="Completed, not running"):
        in_this_process.current(governed.gateway().access(), "orders-db", kept[0])


def test_outside_a_flow_run_it_says_so(governed: GovernedPrefect) -> None:
    database = governed.connector()
    for method in (database.get_engine, lambda: database.execute("SELECT 1"), database.reset_connections):
        with pytest.raises(NotInRun, match="@flow"):
            method()
    database.close()


def test_what_a_task_leaves_open_ends_with_it(governed: GovernedPrefect) -> None:
    database = governed.connector()
    left: list[Any] = []

    @task
    def reads() -> None:
        database.fetch_one("SELECT 1")
        left.extend(in_this_process.of_current())

    @flow
    def whole() -> None:
        reads()

    whole()
    gc.collect()
    assert in_this_process.of(left[0].attempt) == []
    assert not governed.live_sessions(left[0].issued.id)


def test_streams_hold_one_batch(governed: GovernedPrefect) -> None:
    @flow
    def whole() -> list[int]:
        with governed.connector(fetch_size=2) as database:
            query, found = "SELECT id FROM orders ORDER BY id LIMIT 5", []
            while rows := database.fetch_many(query, stream_results=True, max_row_buffer=2):
                found.append(len(rows))
            return found

    assert whole() == [2, 2, 1]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_drivers(governed: GovernedPrefect, driver: str) -> None:
    @flow
    def whole() -> Any:
        with governed.connector(driver=driver, connect_args={"options": "-c statement_timeout=4321"}) as database:
            one = database.fetch_one("SHOW statement_timeout")
            database.execute("UPDATE orders SET status = 'seen' WHERE id = :id", {"id": 70})
            return one

    with governed.deciding():
        assert whole() == ("4321ms",)
    assert governed.count("id = 70 AND status = 'seen'") == 1
    governed.shop.query("UPDATE orders SET status = 'open' WHERE id = 70 RETURNING 1")


async def test_asynchronous_streaming_and_interface(governed: GovernedPrefect) -> None:
    @flow
    async def whole() -> list[Any]:
        async with governed.async_connector(fetch_size=2) as database:
            query = "SELECT id FROM orders ORDER BY id LIMIT 3"
            found: list[Any] = [await database.fetch_one(query), len(await database.fetch_many(query))]
            await database.reset_connections()
            found.append(len(await database.fetch_all(query)))
            async with database.get_connection(begin=False) as connection:
                found.append((await connection.exec_driver_sql("SELECT 1")).scalar())
            async with database.get_client("engine").connect() as connection:
                found.append((await connection.exec_driver_sql("SELECT 2")).scalar())
            return found

    assert (await whole())[1:] == [2, 3, 1, 2]
