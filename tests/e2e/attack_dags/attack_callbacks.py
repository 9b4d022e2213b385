"""Callbacks that go on using what their task was given.

conf: `conn_id`, `fails` (`never`, `once`: the first try, then a retry; `always`), `delay` (seconds a callback waits
before it uses the connection: 0, or longer than a credential outlives its attempt).

To show: a task's callbacks run in its process after the end was told to Airflow. With the connection they hold they
may read for a while, and write nothing; asking anew for the connection is asking for a task that has ended. A callback
of the DAG runs in the DAG processor, for no task, and is denied."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Param, dag, get_current_context, task
from attack_record import attempt, note

READ = "SELECT count(*) FROM public.orders"
WRITE = "UPDATE public.customers SET city = city WHERE id = 1 RETURNING id"
held: dict[str, object] = {}


def _through(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchone()
    connection.commit()
    return found


def _tries(kind):
    def callback(context):
        name = context["run_id"]
        time.sleep(context["params"]["delay"])
        note(name, what=f"{kind}: called", ok=True, try_number=context["ti"].try_number)
        if "connection" in held:  # what was open when the task ended
            attempt(name, f"{kind}: held read", lambda: _through(held["connection"], READ))
            attempt(name, f"{kind}: held write", lambda: _through(held["connection"], WRITE))
            # What was given is in memory: another session with it, without asking Airflow.
            attempt(name, f"{kind}: same hook read", lambda: held["hook"].get_first(READ))
            attempt(name, f"{kind}: same hook write", lambda: held["hook"].get_first(WRITE))
        fresh = PostgresHook(context["params"]["conn_id"])
        attempt(name, f"{kind}: asked anew", lambda: fresh.get_first(READ))

    return callback


def _of_dag(kind):
    def callback(context):
        name = context["dag_run"].run_id
        fresh = PostgresHook((context["dag_run"].conf or {}).get("conn_id", "orders_db"))
        attempt(name, f"dag {kind}: asked anew", lambda: fresh.get_first(READ))

    return callback


@dag(
    schedule=None,
    catchup=False,
    params={"conn_id": Param("orders_db"), "fails": Param("never"), "delay": Param(0)},
    on_success_callback=_of_dag("success"),
    on_failure_callback=_of_dag("failure"),
)
def attack_callbacks():
    @task(
        retries=1,
        retry_delay=timedelta(seconds=1),
        on_success_callback=_tries("success"),
        on_failure_callback=_tries("failure"),
        on_retry_callback=_tries("retry"),
    )
    def holds():
        context = get_current_context()
        hook = held["hook"] = PostgresHook(context["params"]["conn_id"])
        held["connection"] = hook.get_conn()
        attempt(context["run_id"], "task: read", lambda: _through(held["connection"], READ))
        attempt(context["run_id"], "task: write", lambda: _through(held["connection"], WRITE))
        fails = context["params"]["fails"]
        if fails == "always" or (fails == "once" and context["ti"].try_number == 1):
            raise RuntimeError("as asked")

    holds()


attack_callbacks()
