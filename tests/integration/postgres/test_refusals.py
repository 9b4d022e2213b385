"""A refusal is a real server error: afterwards client and target agree on everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from taskgate.domain import Action
from taskgate.errors import JournalFault
from tests.servers.gateway import RunningGateway


def forbid(word: str) -> Callable[[Action], str | None]:
    return lambda action: f"refused by rule no-{word}" if word in action.text else None


@pytest.fixture(autouse=True)
def table(setup: Callable[[str], None], gateway: RunningGateway) -> None:
    setup("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")
    gateway.gate.deny = forbid("DELETE")


def count(direct: str) -> int:
    with psycopg.connect(direct) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])  # type: ignore[index]


@pytest.mark.parametrize("parameters", [None, (1,)], ids=["simple", "extended"])
def test_reads_as_an_error_with_detail_and_hint(gateway: RunningGateway, parameters: Any) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        query = "DELETE FROM t" + (" WHERE a = %s" if parameters else "")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute(query, parameters)
        assert caught.value.diag.severity == "ERROR"
        assert caught.value.diag.message_primary == "taskgate: refused by rule no-DELETE"
        assert caught.value.diag.message_detail == f"session={gateway.session.id}"
        assert caught.value.diag.message_hint == "Ask."
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    assert not any("DELETE" in begun.action.text for begun in gateway.session.begun)


@pytest.mark.parametrize("parameters", [None, (1,)], ids=["simple", "extended"])
def test_commit_after_a_refusal_commits_nothing(gateway: RunningGateway, direct: str, parameters: Any) -> None:
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM t" + (" WHERE a = %s" if parameters else ""), parameters)
        assert connection.info.transaction_status == TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.commit()
        assert connection.info.transaction_status == TransactionStatus.IDLE
    assert count(direct) == 2


def test_a_savepoint_survives_a_refusal_inside_it(gateway: RunningGateway, direct: str) -> None:
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("DELETE FROM t")
        connection.execute("INSERT INTO t VALUES (4)")
    assert count(direct) == 4


def test_a_text_is_refused_whole(gateway: RunningGateway, direct: str) -> None:
    with (
        psycopg.connect(gateway.dsn(), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("INSERT INTO t VALUES (3); DELETE FROM t; INSERT INTO t VALUES (4)")
    assert count(direct) == 2


def test_the_rest_of_a_pipeline_is_skipped_until_sync(gateway: RunningGateway, direct: str) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline():
            connection.execute("INSERT INTO t VALUES (%s)", (3,))
            connection.execute("DELETE FROM t WHERE a = %s", (1,))
            connection.execute("INSERT INTO t VALUES (%s)", (4,))
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    # What stood before the refusal ran and was rolled back with its implicit transaction; what stood behind never ran.
    texts = [begun.action.text for begun in gateway.session.begun]
    assert texts.count("INSERT INTO t VALUES ($1)") <= 1
    assert count(direct) == 2


def test_a_prepared_statement_is_judged_again_when_policy_has_changed(gateway: RunningGateway) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(gateway.dsn())
        statement = await connection.prepare("SELECT a FROM t WHERE a = $1")
        assert await statement.fetchval(1) == 1

        def change() -> None:
            gateway.gate.deny = forbid("SELECT a")
            gateway.gate.policy_version += 1

        gateway.call(change)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await statement.fetchval(1)
        await connection.close()

    asyncio.run(run())


def test_a_syntax_error_has_its_position(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.SyntaxError) as caught:
            connection.execute("SELECT 1 FRM t")
        assert caught.value.diag.statement_position == "14"
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("parameters", [None, (1,)], ids=["simple", "extended"])
def test_nothing_is_forwarded_while_the_journal_cannot_be_written(
    gateway: RunningGateway, direct: str, parameters: Any
) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        connection.execute("SELECT 1")
        gateway.gate.journal_fault = JournalFault("taskgate: the journal cannot be written: disk full")
        query = "INSERT INTO t VALUES (" + ("%s)" if parameters else "1)")
        for durable in (False, True):
            gateway.gate.durable = durable
            with pytest.raises(psycopg.errors.IoError, match="disk full"):
                connection.execute(query, parameters)
            gateway.gate.policy_version += 1
        assert count(direct) == 2
        gateway.gate.journal_fault = None
        connection.execute(query, parameters)
    assert count(direct) == 3
    assert all(begun.outcome is not None for begun in gateway.session.begun)


def test_a_durable_action_runs(gateway: RunningGateway, direct: str) -> None:
    gateway.gate.durable = True
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("INSERT INTO t VALUES (3)")
        with connection.pipeline():
            for number in range(5):
                connection.execute("INSERT INTO t VALUES (%s)", (number,))
    assert count(direct) == 8


def test_a_pinned_setting_cannot_be_moved_behind_the_gateways_back(gateway: RunningGateway, setup: Any) -> None:
    setup(
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS"
        " $$ SELECT set_config('standard_conforming_strings', 'off', false) $$"
    )
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="standard_conforming_strings"):
            connection.execute("SELECT f()")
        assert connection.closed
    assert any(kind == "session_broken" for kind, _ in gateway.session.events)


def test_a_pinned_setting_moved_inside_a_pipeline_stops_before_the_next_text(
    gateway: RunningGateway, setup: Any, direct: str
) -> None:
    setup(
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS"
        " $$ SELECT set_config('standard_conforming_strings', 'off', false) $$"
    )
    gateway.gate.deny = lambda action: None
    with pytest.raises(psycopg.OperationalError), psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        with connection.pipeline():
            connection.execute("SELECT f()")
            connection.execute(r"SELECT '\', %s; DELETE FROM t; --'", ("x",))
            connection.execute("INSERT INTO t VALUES (1)")
    assert count(direct) == 2
    assert [begun.action.text for begun in gateway.session.begun] == ["SELECT f()"]
