"""A stock task whose rule holds its connection for three seconds: its retries wait for the human."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag


@dag(schedule=None, catchup=False, default_args={"owner": "tests"})
def patient() -> None:
    SQLExecuteQueryOperator(
        task_id="delete_slowly",
        conn_id="orders_db",
        sql="DELETE FROM public.customers WHERE id = -7",
        retries=20,
        retry_delay=timedelta(seconds=2),
    )


patient()
