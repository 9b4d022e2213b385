"""The stock hook's whole interface through a real gateway and PostgreSQL: each method does what the stock one does,
masks included, and asks a human the same way."""

from __future__ import annotations

import asyncio
import sys
import types
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.refusals import ApprovalPending
from tests.integration.airflow.governed_shop import GovernedShop

COUNT = "SELECT count(*) FROM orders"
DELETE = "DELETE FROM orders WHERE id = %(id)s"


def _hook(**arguments: Any) -> GovernedPostgresHook:
    return GovernedPostgresHook(postgres_conn_id="orders_db", **arguments)


def test_get_records_and_get_first(governed: GovernedShop) -> None:
    assert _hook().get_records("SELECT id FROM orders WHERE id <= %s ORDER BY id", parameters=(2,)) == [(1,), (2,)]
    assert _hook().get_first("SELECT ssn FROM customers ORDER BY id") == ("[redacted]",)


def test_run_asks_and_finds_the_grant(governed: GovernedShop) -> None:
    before = governed.count()
    with pytest.raises(ApprovalPending) as pending:
        _hook().run(DELETE, parameters={"id": 1})
    assert governed.count() == before
    governed.approve(*pending.value.approvals)
    _hook().run(DELETE, parameters={"id": 1})
    assert governed.count() == before - 1


def test_get_df_of_pandas(governed: GovernedShop) -> None:
    frame = _hook().get_df("SELECT id, ssn FROM customers WHERE id <= %(most)s", parameters={"most": 3})
    assert list(frame.columns) == ["id", "ssn"]
    assert set(frame["ssn"]) == {"[redacted]"}
    assert len(_hook().get_pandas_df("SELECT id FROM customers WHERE id <= 3")) == 3


def test_get_df_by_chunks(governed: GovernedShop) -> None:
    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"):  # the stock hook's as well
        chunks = list(_hook().get_df_by_chunks("SELECT id FROM customers WHERE id <= 5", chunksize=2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]


def test_a_data_frame_that_needs_a_human(governed: GovernedShop) -> None:
    sql = "UPDATE orders SET status = 'paid' WHERE id = 5 RETURNING id"
    with pytest.raises(ApprovalPending) as pending:
        _hook().get_df(sql)
    assert len(pending.value.approvals) == 1
    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"), pytest.raises(ApprovalPending):
        list(_hook().get_df_by_chunks(sql, chunksize=2))


def test_get_df_of_polars_reads_over_the_governed_connection(
    governed: GovernedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars is not installed here; what stands in reads the way its `read_database` does, over a DB-API cursor."""

    def read_database(query: str, connection: Any, execute_options: Any = None, **_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(query, execute_options)
            return cursor.fetchall()

    monkeypatch.setitem(sys.modules, "polars", types.SimpleNamespace(read_database=read_database))
    hook = _hook()
    assert hook.get_df("SELECT ssn FROM customers WHERE id = 1", df_type="polars") == [("[redacted]",)]
    assert set(hook.sessions) == governed.sessions()
    with pytest.raises(ApprovalPending):
        hook.get_df("DELETE FROM orders WHERE id = 6 RETURNING id", df_type="polars")


def test_copy_expert_and_bulk_dump_are_masked(governed: GovernedShop, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    _hook().copy_expert("COPY (SELECT id, ssn FROM customers WHERE id <= 2 ORDER BY id) TO STDOUT CSV", str(file))
    assert file.read_text() == "1,[redacted]\n2,[redacted]\n"
    _hook().bulk_dump("customers", str(file))
    lines = file.read_text().splitlines()
    assert len(lines) == governed.count(relation="customers")
    assert all("\t[redacted]\t" in line for line in lines)


def test_a_copy_that_needs_a_human(governed: GovernedShop, tmp_path: Path) -> None:
    file = tmp_path / "orders"
    with pytest.raises(ApprovalPending) as pending:
        _hook().bulk_dump("orders", str(file))
    assert file.read_text() == ""
    governed.approve(*pending.value.approvals)
    _hook().bulk_dump("orders", str(file))
    assert len(file.read_text().splitlines()) == governed.count()


def test_bulk_load(governed: GovernedShop, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("50001\t1\t9.50\tbulk\t2026-01-01\n50002\t2\t8.25\tbulk\t2026-01-02\n")
    _hook().bulk_load("orders", str(file))
    assert governed.count("status = 'bulk'") == 2


def test_insert_rows(governed: GovernedShop) -> None:
    rows = [(60000 + number, 1, "5.00", "inserted", "2026-01-01") for number in range(5)]
    fields = ["id", "customer_id", "amount", "status", "created_at"]
    _hook().insert_rows("orders", rows, target_fields=fields, commit_every=2)
    assert governed.count("status = 'inserted'") == 5
    _hook().upsert_rows("orders", rows[:1], target_fields=fields, conflict_fields=["id"], update_fields=[])
    assert governed.count("status = 'inserted'") == 5


def test_rows_that_need_a_human_are_asked_for_while_nothing_is_committed(governed: GovernedShop) -> None:
    row = (70000, "Ada", "ada@example.org", "4111111111111111", "123-45-6789", "Oslo")
    with pytest.raises(ApprovalPending):
        _hook().insert_rows("customers", [row])
    with pytest.raises(AirflowFailException, match="inserted twice"):
        _hook().insert_rows("customers", [row], autocommit=True)
    assert governed.count("id = 70000", "customers") == 0


def test_rows_refused_after_others_were_committed_are_no_question(governed: GovernedShop) -> None:
    rows = [(number, "Ada", "ada@example.org", "4111111111111111", "123-45-6789", "Oslo") for number in (70001, 70002)]
    with pytest.raises(ApprovalPending) as pending:
        _hook().insert_rows("customers", rows[:1], commit_every=1)
    governed.approve(*pending.value.approvals)
    with pytest.raises(AirflowFailException, match="inserted twice"):
        _hook().insert_rows("customers", rows, commit_every=1)
    assert governed.count("id = 70001", "customers") == 1


def test_the_catalogue_is_read_as_by_the_stock_hook(governed: GovernedShop) -> None:
    assert _hook().get_table_primary_key("orders") == ["id"]
    assert [column["name"] for column in _hook().get_table_schema("orders")][:2] == ["id", "customer_id"]


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_uris_lead_through_the_gateway_and_do_not_wait(governed: GovernedShop, scheme: str) -> None:
    hook = _hook(sqlalchemy_scheme=scheme)
    for given in (hook.get_uri(), hook.sqlalchemy_url):
        with sqlalchemy.create_engine(given).connect() as connection:
            assert connection.exec_driver_sql("SELECT ssn FROM customers LIMIT 1").scalar() == "[redacted]"
            with pytest.raises(sqlalchemy.exc.ProgrammingError, match="approval apr_"):
                connection.exec_driver_sql("DELETE FROM orders WHERE id = 7")


def test_a_uri_is_libpqs_too(governed: GovernedShop) -> None:
    uri = _hook(sqlalchemy_scheme="postgresql").get_uri()
    with psycopg.connect(uri) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege, match="apr_"):
        connection.execute("DELETE FROM orders WHERE id = 7")


def test_urls_say_what_the_connection_says_of_tls(governed: GovernedShop) -> None:
    assert _hook().sqlalchemy_url.query == {"sslmode": "disable", "options": "-ctaskgate.wait=refuse"}


def test_engines_take_options_of_their_own(governed: GovernedShop) -> None:
    hook = _hook()
    engine = hook.get_sqlalchemy_engine({"connect_args": {"options": "-c extra_float_digits=2"}})
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW extra_float_digits").scalar() == "2"
        with pytest.raises(sqlalchemy.exc.ProgrammingError, match="approval apr_"):
            connection.exec_driver_sql("DELETE FROM orders WHERE id = 8")
    assert set(hook.sessions) == governed.sessions()


def test_cursors_of_ones_own(governed: GovernedShop) -> None:
    with _hook().get_conn() as connection, connection.cursor() as cursor:
        cursor.execute(COUNT)
        assert cursor.fetchone() == (governed.count(),)


async def test_from_asynchronous_code(governed: GovernedShop) -> None:
    """What Airflow offers there: a connection awaited, the stock hook's methods in a thread."""
    from airflow.sdk import BaseHook

    connection = await BaseHook.aget_connection("orders_db")
    assert connection.login.startswith("tg_")
    counts = await asyncio.gather(*(asyncio.to_thread(_hook().get_first, COUNT) for _ in range(3)))
    assert counts == [(governed.count(),)] * 3


def test_a_database_given_to_an_operator_is_the_hooks(governed: GovernedShop) -> None:
    """BaseSQLOperator sets `database` only on hooks whose type is `postgres`, on others `schema`."""
    from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

    operator = GovernedSQLExecuteQueryOperator(task_id="t", conn_id="orders_db", sql=COUNT, database="elsewhere")
    hook = operator.get_db_hook()
    assert hook.database == "elsewhere"
    with pytest.raises(psycopg.OperationalError, match="elsewhere"):
        hook.get_first(COUNT)


def test_sessions_are_the_gateways(governed: GovernedShop) -> None:
    hook = _hook()
    hook.get_first(COUNT)
    hook.get_df(COUNT)
    assert len(hook.sessions) == 2
    assert set(hook.sessions) == governed.sessions()
