"""One task that asks a human, in Airflow's own way."""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import dag


@dag(schedule=None, catchup=False)
def questions():
    HITLOperator(task_id="asks", subject="Shall it be?", options=["yes", "no"])


questions()
