"""Code at the top of a DAG file runs when the file is parsed: in the DAG processor, for nobody.

Airflow Variable `attack_top_level_conn`: the connection to ask for; without it the file does nothing.

To show: a mapped connection is denied there. The file does not load, and the import error says why; with a connection
that is not mapped it loads, and the DAG's description has the login."""

from __future__ import annotations

from airflow.sdk import BaseHook, Variable, dag, task

conn_id = Variable.get("attack_top_level_conn", default=None)
login = BaseHook.get_connection(conn_id).login if conn_id else "nobody asked"


@dag(schedule=None, catchup=False, description=f"read at the top: {login}")
def attack_top_level():
    @task
    def nothing():
        return None

    nothing()


attack_top_level()
