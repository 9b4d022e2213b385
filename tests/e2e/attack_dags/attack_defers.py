"""A deferrable operator whose trigger needs the connection.

conf: `conn_id` of the worker's half (null: it takes none), `trigger_conn_id`, `sql`, `seconds` the trigger goes on for
(less than three can meet apache/airflow#72716).

To show: the triggerer is given the connection for this instance, while it is deferred, and only for a target that a
worker of this same instance held before; a run with another `trigger_conn_id`, or with `conn_id` null, is denied.
Nothing usable is among what Airflow stores of the trigger. Cleared or marked failed meanwhile, the trigger has no
connection any more."""

from __future__ import annotations

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseOperator, Param, dag
from attack_record import attempt
from attack_triggers import SelectTrigger

SELECT = "SELECT count(*) FROM public.orders"


class SelectingOperator(BaseOperator):
    def execute(self, context):
        params, name = context["params"], context["run_id"]
        if params["conn_id"]:
            attempt(name, "worker", lambda: PostgresHook(params["conn_id"]).get_first(params["sql"]))
        self.defer(
            trigger=SelectTrigger(params["trigger_conn_id"], params["sql"], name, params["seconds"]),
            method_name="resumed",
        )

    def resumed(self, context, event):
        attempt(context["run_id"], "resumed", lambda: PostgresHook(context["params"]["conn_id"]).get_first(SELECT))
        return event["found"]


@dag(
    schedule=None,
    catchup=False,
    params={
        "conn_id": Param("orders_db", type=["string", "null"]),
        "trigger_conn_id": Param("orders_db"),
        "sql": Param(SELECT),
        "seconds": Param(3),
    },
)
def attack_defers():
    SelectingOperator(task_id="selects")


attack_defers()
