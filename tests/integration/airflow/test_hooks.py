from __future__ import annotations

import psycopg
import pytest

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.refusals import ApprovalPending


def _hook() -> GovernedPostgresHook:
    return GovernedPostgresHook(postgres_conn_id="orders_db")


def _count(admin: psycopg.Connection, relation: str = "orders") -> int:
    row = admin.execute(f"select count(*) from {relation}").fetchone()  # type: ignore[arg-type]
    assert row
    return int(row[0])


def test_a_refusal_carries_the_approval_and_the_gateways_words(refusing: psycopg.Connection) -> None:
    with pytest.raises(ApprovalPending) as pending:
        _hook().run("DELETE FROM orders WHERE id < 3")
    assert pending.value.approvals == ("apr_orders",)
    assert "wants a human" in str(pending.value)
    assert "wait=refuse" in str(pending.value)


def test_with_a_grant_it_runs_and_commits(refusing: psycopg.Connection) -> None:
    refusing.execute("insert into grants values ('orders')")
    _hook().run("DELETE FROM orders WHERE id < %s", parameters=(3,))
    assert _count(refusing) == 3


def test_several_statements_ask_for_everything_at_once_and_leave_nothing(refusing: psycopg.Connection) -> None:
    statements = [
        "UPDATE orders SET status = 'seen'",
        "DELETE FROM orders",
        "UPDATE customers SET status = 'seen'",
        "DELETE FROM customers",
        "UPDATE orders SET status = 'done'",
    ]
    with pytest.raises(ApprovalPending) as pending:
        _hook().run(statements)
    assert pending.value.approvals == ("apr_orders", "apr_customers")
    assert _count(refusing, "orders WHERE status = 'old'") == 5
    refusing.execute("insert into grants values ('orders'), ('customers')")
    _hook().run(statements)
    assert _count(refusing) == _count(refusing, "customers") == 0


def test_a_grant_used_on_the_way_comes_back_with_the_rollback(refusing: psycopg.Connection) -> None:
    """True of this stand-in, whose grants live in the transaction; the gateway's do not, hence asking at once."""
    refusing.execute("insert into grants values ('orders')")
    with pytest.raises(ApprovalPending) as pending:
        _hook().run(["DELETE FROM orders", "DELETE FROM customers"])
    assert pending.value.approvals == ("apr_customers",)
    assert _count(refusing) == 5


def test_a_statement_that_needs_what_was_refused_ends_the_search(refusing: psycopg.Connection) -> None:
    with pytest.raises(ApprovalPending) as pending:
        _hook().run(["DELETE FROM orders", "SELECT 1 / (5 - count(*)::int) FROM orders"])
    assert pending.value.approvals == ("apr_orders",)


def test_other_errors_are_not_touched(refusing: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        _hook().run(["SELECT 1", "SELECT * FROM missing"])


def test_results_are_as_the_stock_hooks(refusing: psycopg.Connection) -> None:
    from airflow.providers.common.sql.hooks.handlers import fetch_all_handler
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    stock = PostgresHook(postgres_conn_id="orders_db")
    for arguments in (
        {"sql": "SELECT 1; SELECT 2", "split_statements": True},
        {"sql": "SELECT 1; SELECT 2", "split_statements": True, "return_last": False},
        {"sql": ["SELECT 1", "SELECT 2"]},
        {"sql": ["SELECT 1"], "return_last": False},
        {"sql": "SELECT id FROM orders WHERE id = %(id)s", "parameters": {"id": 2}},
        {"sql": ["SELECT id FROM orders WHERE id = %s"], "parameters": [2]},
        {"sql": "SELECT 1", "autocommit": True},
    ):
        ours = _hook()
        assert ours.run(handler=fetch_all_handler, **arguments) == stock.run(handler=fetch_all_handler, **arguments)
        assert str(ours.descriptions) == str(stock.descriptions)


def test_a_custom_handler_never_sees_a_refused_statement(refusing: psycopg.Connection) -> None:
    seen = []
    with pytest.raises(ApprovalPending):
        _hook().run(
            ["SELECT 1", "DELETE FROM orders", "SELECT 2"], handler=lambda cursor: seen.append(cursor.fetchone())
        )
    assert seen == [(1,)]


def test_autocommit_with_several_statements_is_refused_before_anything_runs(refusing: psycopg.Connection) -> None:
    with pytest.raises(AirflowFailException, match="would run twice"):
        _hook().run(["UPDATE orders SET status = 'seen'", "DELETE FROM orders"], autocommit=True)
    assert _count(refusing, "orders WHERE status = 'old'") == 5


def test_autocommit_with_one_statement_works(refusing: psycopg.Connection) -> None:
    refusing.execute("insert into grants values ('orders')")
    _hook().run("DELETE FROM orders", autocommit=True)
    assert _count(refusing) == 0


def test_a_direct_connection_is_refused(refusing: psycopg.Connection) -> None:
    """A plain PostgreSQL takes `taskgate.wait` for a setting of somebody's and runs everything."""
    with pytest.raises(AirflowFailException, match="does not go through Taskgate"):
        GovernedPostgresHook(postgres_conn_id="direct").run("DELETE FROM grants")


def test_own_options_stay(refusing: psycopg.Connection) -> None:
    hook = GovernedPostgresHook(postgres_conn_id="orders_db", options="-c work_mem=5MB")
    assert hook.get_first("SHOW work_mem") == ("5MB",)
    assert hook.get_first("SHOW taskgate.wait") == ("refuse",)


def test_data_frames_connect_the_same_way(refusing: psycopg.Connection) -> None:
    with _hook().get_sqlalchemy_engine().connect() as connection:
        assert connection.exec_driver_sql("SHOW taskgate.wait").scalar() == "refuse"
