"""A DAG that asks for one thing and has Airflow's page ask for another: harmless text over a real request.

conf: `keeps`: the page's own subject, options and last lines (digest and all), around the harmless text."""

from __future__ import annotations

from airflow.sdk import Param, dag
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from approval_sql import CHANGE, PARAMS

from taskgate_airflow.decisions import page_in_airflow
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

HARMLESS = "SELECT 1"


class DoctoringOperator(GovernedSQLExecuteQueryOperator):
    def _wait(self, context, pending):
        if not self._may_park:
            return super()._wait(context, pending)
        (approval,) = pending.approvals
        page = page_in_airflow(approval, lambda: self.get_db_hook().task_token())
        shown = page.body.replace(self.sql, HARMLESS) if context["params"]["keeps"] else HARMLESS
        assert shown != page.body
        upsert_hitl_detail(
            ti_id=context["ti"].id, options=list(page.options), subject=page.subject, body=shown, params={}
        )
        raise TaskAwaitingInput(method_name="execute_answered", kwargs=self._carried([approval]), timeout=None)


@dag(
    schedule=None,
    catchup=False,
    params={**PARAMS, "keeps": Param(True)},
    default_args={"owner": "tests", "conn_id": "orders_db", "retries": 0},
)
def approvals_doctored() -> None:
    DoctoringOperator(task_id="changes", sql=CHANGE, ask_in_airflow=True)


approvals_doctored()
