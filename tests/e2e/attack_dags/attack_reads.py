"""Tasks that read connections, and hand on what they were given.

conf: `conn_id` (any: also one that only another task has business with), `sql`, `stolen` (what `publishes` noted in
another run: host, port, database, user, password)."""

from __future__ import annotations

import logging

from airflow.sdk import Param, dag, get_current_context, task
from attack_record import attempt


@dag(
    schedule=None,
    catchup=False,
    params={
        "conn_id": Param("orders_db"),
        "sql": Param("SELECT count(*) FROM public.orders"),
        "stolen": Param(None, type=["array", "null"]),
    },
)
def attack_reads():
    # To show: any DAG gets any connection of Airflow's by its id (there is no access list), but what it is given is its
    # own principal's: what it may do with it is what policy says of this DAG and task, not of the one it looks like.
    @task
    def takes():
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        context = get_current_context()
        hook = PostgresHook(context["params"]["conn_id"])
        return attempt(context["run_id"], "takes", lambda: hook.get_first(context["params"]["sql"]))

    # To show: what a task publishes is useless once the attempt is over, and useless from elsewhere: no stored password
    # is in it. Airflow masks the log, not XCom; the reversed text gets past the log's mask.
    @task
    def publishes():
        from airflow.sdk import BaseHook

        context = get_current_context()
        connection = BaseHook.get_connection(context["params"]["conn_id"])
        attempt(
            context["run_id"],
            "publishes",
            lambda: [connection.host, connection.port, connection.schema, connection.login, connection.password],
        )
        logging.getLogger("airflow.task").info("as it is: %s", connection.password)
        print("backwards:", connection.password[::-1])
        return {"login": connection.login, "password": connection.password, "uri": connection.get_uri()}

    # To show: what was handed to another try, task or run is of no use here: `conf["stolen"]` is what `publishes` gave.
    @task
    def replays():
        import psycopg

        context = get_current_context()
        stolen = context["params"]["stolen"]
        if not stolen:
            return None

        def connect():
            host, port, database, user, password = stolen
            with psycopg.connect(
                host=host, port=port, dbname=database, user=user, password=password, connect_timeout=5
            ) as connection:
                return connection.execute(context["params"]["sql"]).fetchone()

        return attempt(context["run_id"], "replays", connect)

    takes() >> publishes() >> replays()


attack_reads()
