"""`PostgresHook` in the code of tasks, in all the ways its documentation knows. Nothing here knows of a gateway."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import chain, dag, task

CUSTOMERS = "SELECT id, name, email, ssn, city FROM public.customers"


@dag(schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), catchup=False)
def stock_hooks():
    @task
    def records():
        hook = _hook()
        return {
            "records": hook.get_records(f"{CUSTOMERS} WHERE id < %s ORDER BY id", parameters=(4,)),
            "first": hook.get_first(f"{CUSTOMERS} WHERE id = %(id)s", parameters={"id": 9}),
            "none": hook.get_first("SELECT id FROM public.customers WHERE false"),
            "types": hook.get_first(
                "SELECT 1::int8, 1.50::numeric, true, NULL, '{1,2}'::int[], '{\"a\": [1]}'::jsonb, DATE '2024-02-29', "
                "'2024-02-29 12:00+00'::timestamptz::text, '\\x00ff'::bytea::text, interval '90 minutes'::text"
            ),
        }

    @task
    def frames():
        hook = _hook()
        sql = "SELECT id, email, city FROM public.customers ORDER BY id"
        chunks = list(hook.get_df_by_chunks(sql, chunksize=90))
        return {
            "df": hook.get_df(f"{sql} LIMIT 5").to_dict("list"),
            "with_parameters": hook.get_df(
                "SELECT status, count(*) AS n FROM public.orders WHERE amount > %(least)s GROUP BY 1 ORDER BY 1",
                parameters={"least": 100},
            ).to_dict("list"),
            "chunks": [len(one) for one in chunks],
            "last": chunks[-1]["email"].iloc[-1],
        }

    @task
    def runs():
        from airflow.providers.common.sql.hooks.handlers import fetch_all_handler

        hook = _hook()
        hook.run("DELETE FROM public.twin_hooked", autocommit=True)
        results = hook.run(
            "INSERT INTO public.twin_hooked VALUES (%(id)s, %(name)s, 'run'); SELECT id, name FROM public.twin_hooked",
            parameters={"id": 1, "name": "it's; one"},
            split_statements=True,
            return_last=False,
            handler=lambda cursor: fetch_all_handler(cursor) if cursor.description else cursor.rowcount,
        )
        try:
            hook.run(
                ["INSERT INTO public.twin_hooked VALUES (77, 'gone', NULL)", "SELECT 1/0 FROM public.twin_hooked"],
            )
        except Exception as error:  # noqa: BLE001 - compared
            return {"results": results, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
        return None

    @task
    def inserts():
        hook = _hook()
        fields = ["id", "name", "note"]
        hook.insert_rows("public.twin_hooked", [(n, f"n{n}", None) for n in range(10, 35)], fields, commit_every=10)
        hook.insert_rows("public.twin_hooked", [(n, "many", "x") for n in range(40, 70)], fields, executemany=True)
        hook.insert_rows(
            "public.twin_hooked", [(10, "again", "r"), (99, "new", "r")], fields, replace=True, replace_index="id"
        )
        hook.upsert_rows(
            "public.twin_hooked", [(11, "up", "u")], fields, conflict_fields=["id"], update_fields=["name"]
        )
        return [
            hook.get_records("SELECT id, name, note FROM public.twin_hooked WHERE id IN (10, 11, 40, 99) ORDER BY id")
        ]

    @task
    def copies(run_id=None):
        hook, file = _hook(), Path(tempfile.gettempdir()) / f"{run_id}.copy"
        try:
            hook.copy_expert("COPY (SELECT id, name, email FROM public.customers ORDER BY id) TO STDOUT", str(file))
            out = file.read_text().splitlines()
            hook.copy_expert("COPY public.customers (id, ssn, city) TO STDOUT WITH (FORMAT csv, HEADER)", str(file))
            csv = file.read_text().splitlines()
            file.write_text('501,fünf,"a, b"\n502,,\n')
            hook.copy_expert("COPY public.twin_hooked (id, name, note) FROM STDIN WITH (FORMAT csv)", str(file))
            hook.bulk_dump("public.twin_hooked", str(file))
            dumped = sorted(file.read_text().splitlines())
            file.write_text("601\tbulk\t\\N\n")
            hook.bulk_load("public.twin_hooked", str(file))
        finally:
            file.unlink(missing_ok=True)
        back = hook.get_records("SELECT id, name, note FROM public.twin_hooked WHERE id > 500 ORDER BY id")
        return {"out": out[:3], "lines": len(out), "csv": csv[:3], "dumped": dumped[-3:], "back": back}

    @task
    def engines():
        import pandas
        import sqlalchemy

        hook = _hook()
        engine = hook.get_sqlalchemy_engine()
        columns = [one["name"] for one in hook.inspector.get_columns("customers", schema="public")]
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("INSERT INTO public.twin_hooked VALUES (:id, :name, NULL)"),
                [{"id": 701, "name": "a"}, {"id": 702, "name": "b"}],
            )
            first = connection.execute(sqlalchemy.text(f"{CUSTOMERS} WHERE id = :id"), {"id": 3}).one()
        frame = pandas.read_sql("SELECT id, email FROM public.customers WHERE id < 4 ORDER BY id", engine)
        frame.assign(email="none").rename(columns={"email": "name"}).to_sql(
            "twin_framed", engine, schema="public", if_exists="append", index=False
        )
        engine.dispose()
        return {
            "columns": columns,
            "first": list(first),
            "frame": frame.to_dict("list"),
            "framed": hook.get_records("SELECT id, name FROM public.twin_framed ORDER BY id"),
            "keys": hook.get_table_primary_key("twin_hooked"),
        }

    @task
    def uris():
        import psycopg
        import sqlalchemy

        hook = _hook()
        uri = hook.get_uri()
        with sqlalchemy.create_engine(uri).connect() as connection:
            by_engine = connection.execute(sqlalchemy.text("SELECT email FROM public.customers WHERE id = 5")).scalar()
        with psycopg.connect(uri.replace("postgresql+psycopg:", "postgresql:")) as connection:
            by_driver = connection.execute("SELECT email FROM public.customers WHERE id = 5").fetchone()
        return [by_engine, by_driver, hook.test_connection()]

    @task
    def connections():
        hook = _hook()
        with closing(hook.get_conn()) as connection:
            with connection.cursor(name="big") as cursor:
                cursor.itersize = 50
                cursor.execute("SELECT id, email FROM public.customers ORDER BY id")
                streamed = list(cursor)
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '5s'")
                cursor.executemany(
                    "INSERT INTO public.twin_hooked VALUES (%s, %s, %s)", [(801, "x", None), (802, "y", None)]
                )
                connection.rollback()
                cursor.execute("SELECT count(*) FROM public.twin_hooked WHERE id > 800")
                left = cursor.fetchone()
            with connection.pipeline(), connection.cursor() as cursor:
                cursor.execute("SELECT ssn FROM public.customers WHERE id = 1")
                piped = cursor.fetchone()
        return {"rows": len(streamed), "last": list(streamed[-1]), "left": left, "piped": piped}

    @task
    async def asynchronous():
        import asyncio

        import asyncpg
        import psycopg
        from airflow.sdk import BaseHook

        stored = await BaseHook.aget_connection("shop_db")
        hook = await BaseHook.aget_hook("shop_db")
        rows = await asyncio.to_thread(hook.get_records, "SELECT id, email FROM public.customers WHERE id = 2")
        uri = hook.get_uri().replace("postgresql+psycopg:", "postgresql:")
        async with await psycopg.AsyncConnection.connect(uri) as connection:
            cursor = await connection.execute("SELECT id, email FROM public.customers WHERE id = %s", (2,))
            by_psycopg = await cursor.fetchone()
        other = await asyncpg.connect(uri)
        try:
            by_asyncpg = await other.fetchrow("SELECT id, email FROM public.customers WHERE id = $1", 2)
        finally:
            await other.close()
        return [stored.conn_type, rows, by_psycopg, tuple(by_asyncpg)]

    @task
    def each(number):
        return _hook().get_first("SELECT id, email FROM public.customers WHERE id = %s", parameters=(number,))

    chain(records(), frames(), runs(), inserts(), copies(), engines(), uris(), connections(), asynchronous())
    each.expand(number=[1, 2, 3])


def _hook():
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    return PostgresHook(postgres_conn_id="shop_db")


stock_hooks()
