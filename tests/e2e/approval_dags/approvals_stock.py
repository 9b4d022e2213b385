"""A stock task whose rule holds its connection for three seconds: its retries wait for the human."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag
from approval_sql import CHANGE, PARAMS


@dag(schedule=None, catchup=False, params=PARAMS, default_args={"owner": "tests"})
def approvals_stock() -> None:
    SQLExecuteQueryOperator(
        task_id="changes", conn_id="orders_db", sql=CHANGE, retries=20, retry_delay=timedelta(seconds=6)
    )


approvals_stock()
