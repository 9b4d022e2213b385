"""The one stock SQL operator that defers: its trigger reads pages in the triggerer. Nothing here knows of a gateway."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer
from airflow.sdk import dag


@dag(schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), catchup=False)
def stock_deferrable():
    GenericTransfer(
        task_id="in_deferred_pages",
        source_conn_id="shop_db",
        destination_conn_id="shop_db",
        sql="SELECT id + 2000, name, city FROM public.customers ORDER BY id",
        page_size=90,
        deferrable=True,
        destination_table="public.twin_paged",
        insert_args={"executemany": True},
    )


stock_deferrable()
