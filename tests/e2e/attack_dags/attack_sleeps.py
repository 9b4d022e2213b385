"""A task that goes on using its connection until somebody ends it: to be cleared, marked failed or success, killed.

conf: `conn_id`, `seconds`, `stubborn` (ignore the SIGTERM that a supervisor sends), `detached` (go on in a child that
leaves the task's process group and session, and so outlives even SIGKILL).

To show: whoever ends the attempt, and however little of its process ends, what it was given dies: the last line that
says `ok` is soon after the end. Each statement is a line, `held` through one open connection, `new` through another."""

from __future__ import annotations

import os
import signal
import time

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Param, dag, get_current_context, task
from attack_record import attempt, note

READ = "SELECT count(*) FROM public.orders"


@dag(
    schedule=None,
    catchup=False,
    params={
        "conn_id": Param("orders_db"),
        "seconds": Param(60),
        "stubborn": Param(False),
        "detached": Param(False),
    },
)
def attack_sleeps():
    @task(retries=0)
    def sleeps():
        context = get_current_context()
        name, params = context["run_id"], context["params"]
        hook = PostgresHook(params["conn_id"])
        held = hook.get_conn()
        held.autocommit = True
        note(name, what="started", ok=True, try_number=context["ti"].try_number, attempt=str(context["ti"].id))
        if params["detached"]:
            if os.fork():
                time.sleep(params["seconds"])
                return
            os.setsid()
        if params["stubborn"] or params["detached"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + params["seconds"]
        while time.monotonic() < until:
            attempt(name, "held", lambda: held.execute(READ).fetchone())
            attempt(name, "new", lambda: hook.get_first(READ))
            time.sleep(0.5)
        note(name, what="slept it all", ok=True)
        if params["detached"]:
            os._exit(0)

    sleeps()


attack_sleeps()
