"""What is measured: a task that connects and runs one statement, as stock code does; it knows of no gateway."""

from __future__ import annotations

import time

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def one_select():
    @task
    def select():
        """Seconds from making the hook to having the row (asking for the connection, connecting, one SELECT), and how
        many of them this process was at work."""
        started, worked = time.perf_counter(), time.process_time()
        PostgresHook("shop_db").get_first("SELECT count(*) FROM public.orders")
        return time.perf_counter() - started, time.process_time() - worked

    select()


one_select()
