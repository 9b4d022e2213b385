"""Airflow's own SQL operators and sensors, as their documentation shows them. Nothing here knows of a gateway.

The same file runs twice: where `shop_db` is a stored connection, and where it leads through the gateway."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.sql.hooks.handlers import fetch_one_handler
from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator,
    SQLBulkLoadOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLInsertRowsOperator,
    SQLIntervalCheckOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import chain, dag, task

CUSTOMERS = "SELECT id, name, email, card, ssn, city FROM public.customers"


def _doubled(rows, **_):
    return [(key, name, note * 2) for key, name, note in rows]


@dag(schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), catchup=False, default_args={"conn_id": "shop_db"})
def stock_operators():
    rows = SQLExecuteQueryOperator(task_id="rows", sql=f"{CUSTOMERS} ORDER BY id LIMIT 5")
    shown = SQLExecuteQueryOperator(
        task_id="shown", sql=f"{CUSTOMERS} WHERE id = 7", show_return_value_in_logs=True, autocommit=True
    )
    one = SQLExecuteQueryOperator(
        task_id="one",
        sql="SELECT count(*), min(amount), max(created_at)::text FROM public.orders WHERE status = %(status)s",
        parameters={"status": "paid"},
        handler=fetch_one_handler,
    )
    many = SQLExecuteQueryOperator(
        task_id="many",
        sql="""
            INSERT INTO public.twin_rows (id, name, note) VALUES (1, 'a;b', 'x'), (2, '100%% sure', 'y');
            UPDATE public.twin_rows SET note = note || '!' WHERE id = 1;
            SELECT id, name, note FROM public.twin_rows ORDER BY id;
            DELETE FROM public.twin_rows WHERE id = 2 RETURNING id
        """,
        parameters={},
        split_statements=True,
        return_last=False,
    )
    last = SQLExecuteQueryOperator(
        task_id="last",
        sql=["SELECT 1", "SELECT id FROM public.twin_rows ORDER BY id"],
        hook_params={"options": "-c statement_timeout=20000 -c search_path=public"},
    )
    tables = SQLExecuteQueryOperator(
        task_id="tables",
        sql="""
            CREATE TABLE IF NOT EXISTS public.twin_made (day date, total numeric);
            CREATE TEMP TABLE staging ON COMMIT DROP AS
                SELECT created_at::date AS day, sum(amount) AS total FROM public.orders GROUP BY 1;
            TRUNCATE public.twin_made;
            INSERT INTO public.twin_made SELECT day, total FROM staging WHERE day < '2024-02-01';
            SELECT count(*), sum(total) FROM public.twin_made
        """,
        split_statements=True,
    )
    procedural = SQLExecuteQueryOperator(
        task_id="procedural",
        sql="DO $$ BEGIN UPDATE public.twin_rows SET note = 'done; really' WHERE id = 1; END $$",
        split_statements=False,
    )
    by_number = SQLExecuteQueryOperator.partial(
        task_id="by_number", sql="SELECT status, amount FROM public.orders WHERE id = %(id)s"
    ).expand(parameters=[{"id": 1}, {"id": 2}, {"id": 3}])

    columns = SQLColumnCheckOperator(
        task_id="columns",
        table="public.orders",
        column_mapping={
            "id": {"null_check": {"equal_to": 0}, "unique_check": {"equal_to": 0}},
            "amount": {"min": {"greater_than": 0}, "max": {"less_than": 1000, "tolerance": 0.1}},
            "status": {"distinct_check": {"equal_to": 4}},
        },
    )
    table = SQLTableCheckOperator(
        task_id="table",
        table="public.orders",
        checks={
            "row_count": {"check_statement": "COUNT(*) > 10"},
            "sums": {"check_statement": "SUM(amount) > 0", "partition_clause": "status = 'paid'"},
        },
    )
    check = SQLCheckOperator(task_id="check", sql="SELECT count(*), max(id) FROM public.customers")
    value = SQLValueCheckOperator(
        task_id="value", sql="SELECT count(*) FROM public.customers", pass_value=190, tolerance=0.1
    )
    interval = SQLIntervalCheckOperator(
        task_id="interval", table="public.twin_days", metrics_thresholds={"COUNT(*)": 1.5, "SUM(n)": 2}, days_back=-7
    )
    threshold = SQLThresholdCheckOperator(
        task_id="threshold",
        sql="SELECT avg(amount) FROM public.orders",
        min_threshold=1,
        max_threshold="SELECT max(amount) FROM public.orders",
    )
    wrong = SQLValueCheckOperator(
        task_id="wrong", sql="SELECT count(*) FROM public.customers", pass_value=1, trigger_rule="all_done"
    )
    missing = SQLExecuteQueryOperator(
        task_id="missing", sql="SELECT no_such_column FROM public.orders", trigger_rule="all_done"
    )

    branch = BranchSQLOperator(
        task_id="branch",
        sql="SELECT count(*) > 3 FROM public.orders",
        follow_task_ids_if_true="taken",
        follow_task_ids_if_false="not_taken",
        trigger_rule="all_done",
    )
    taken, not_taken = EmptyOperator(task_id="taken"), EmptyOperator(task_id="not_taken")

    inserted = SQLInsertRowsOperator(
        task_id="inserted",
        schema="public",
        table_name="twin_inserted",
        rows=[(1, "O'Hara", "tab\there"), (2, None, 'quote " and \\'), (3, "ünï", "line\nbreak")],
        rows_processor=_doubled,
        preoperator="DELETE FROM public.twin_inserted",
        postoperator="UPDATE public.twin_inserted SET name = 'nobody' WHERE name IS NULL",
        insert_args={"commit_every": 2, "executemany": False},
    )
    # Each of its statements has a connection of its own: the second needs the table that the first has just made.
    made = SQLInsertRowsOperator(
        task_id="made",
        table_name="public.twin_built",
        rows=[(1, "one"), (2, "two")],
        preoperator=["DROP TABLE IF EXISTS public.twin_built", "CREATE TABLE public.twin_built (id int, name text)"],
        postoperator="ALTER TABLE public.twin_built ADD COLUMN note text DEFAULT 'added'",
    )
    seen = SQLExecuteQueryOperator(task_id="seen", sql="SELECT id, note FROM public.twin_built ORDER BY id")
    replaced = SQLInsertRowsOperator(
        task_id="replaced",
        table_name="public.twin_inserted",
        columns=["id", "name", "note"],
        rows=[(3, "three", "again"), (4, "four", "new")],
        insert_args={"replace": True, "replace_index": "id", "executemany": True},
    )
    transferred = GenericTransfer(
        task_id="transferred",
        source_conn_id="shop_db",
        destination_conn_id="shop_db",
        sql="SELECT id, name, email FROM public.customers ORDER BY id LIMIT 20",
        destination_table="public.twin_transferred",
        preoperator="DELETE FROM public.twin_transferred",
        insert_args={"commit_every": 7, "target_fields": ["id", "name", "note"]},
    )
    in_pages = GenericTransfer(
        task_id="in_pages",
        source_conn_id="shop_db",
        destination_conn_id="shop_db",
        sql="SELECT id + 1000, name, city FROM public.customers ORDER BY id",
        page_size=60,
        destination_table="public.twin_transferred",
        insert_args={"executemany": True},
    )

    @task
    def file(run_id=None):
        path = Path(tempfile.gettempdir()) / f"{run_id}.tsv"
        path.write_text("1\tone\t\\N\n2\tzwei\tü\n", encoding="utf-8")
        return str(path)

    written = file()
    loaded = SQLBulkLoadOperator(
        task_id="loaded",
        table="public.twin_loaded",
        tmp_file=written,
        preoperator="DELETE FROM public.twin_loaded",
        do_xcom_push=False,
    )

    # Both are in vain once, and pass the second time.
    poked = SqlSensor(
        task_id="poked",
        sql="INSERT INTO public.twin_poked (by) VALUES (%(by)s) RETURNING id",
        parameters={"by": "poke"},
        success=lambda number: number > 1,
        poke_interval=0.2,
        timeout=60,
    )
    rescheduled = SqlSensor(
        task_id="rescheduled",
        sql="INSERT INTO public.twin_rescheduled DEFAULT VALUES RETURNING id > 1",
        mode="reschedule",
        poke_interval=1,
        timeout=60,
    )

    @task.sql(conn_id="shop_db", parameters={"city": "Oslo"})
    def decorated(limit):
        return f"{CUSTOMERS} WHERE city = %(city)s ORDER BY id LIMIT {limit}"

    @task(retries=1, retry_delay=timedelta(seconds=0), trigger_rule="all_done")
    def retried(ti=None):
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        found = PostgresHook("shop_db").get_first("SELECT count(*) FROM public.orders")
        if ti.try_number == 1:
            raise RuntimeError("the first try fails after it has read")
        return [ti.try_number, *found]

    chain(rows, shown, one, many, last, procedural, by_number, columns, table, check, value, interval, threshold)
    chain(threshold, tables, made, seen, inserted, replaced, transferred, in_pages, written, loaded, poked)
    chain(poked, rescheduled, decorated(3))
    chain(threshold, wrong, missing, branch, [taken, not_taken])
    missing >> retried()


stock_operators()
