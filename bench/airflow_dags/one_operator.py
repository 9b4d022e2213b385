"""A stock operator, for what it takes to parse a DAG file."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag


@dag(schedule=None, catchup=False)
def one_operator():
    SQLExecuteQueryOperator(task_id="select", conn_id="shop_db", sql="SELECT 1")


one_operator()
