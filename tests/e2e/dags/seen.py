"""Tasks for tests/e2e/test_airflow_shows.py: what a task's log and lineage say of the gateway."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task

from taskgate_airflow.hooks import GovernedPostgresHook


@dag(schedule=None, catchup=False, default_args={"owner": "tests"})
def seen() -> None:
    SQLExecuteQueryOperator(task_id="reads", conn_id="orders_db", sql="SELECT ssn FROM public.customers")
    SQLExecuteQueryOperator(task_id="refused", conn_id="orders_db", sql="DROP TABLE public.orders")

    @task.governed_sql(conn_id="orders_db")
    def asks(status: str) -> str:
        return f"DELETE FROM public.orders WHERE id = 10 AND status <> '{status}'"

    @task
    def lineage() -> list[dict[str, Any]]:
        from airflow.sdk.lineage import get_hook_lineage_collector

        hook = GovernedPostgresHook(postgres_conn_id="orders_db")
        hook.get_first("SELECT count(*) FROM public.orders")
        entries = get_hook_lineage_collector().collected_assets.extra
        return [entry.value for entry in entries if entry.key == "taskgate" and entry.context is hook]

    asks("none")
    lineage()


seen()
