"""What drivers do on their own (introspection, pools, resets) works through the real gateway."""

from __future__ import annotations

import os
import subprocess

import asyncpg
import psycopg
import pytest
import sqlalchemy

from taskgate.client import Client
from taskgate.demo.stage import TARGET


@pytest.fixture
def dsn(dana: Client) -> str:
    text: str = dana.issue_credential(TARGET).dsn.get_secret_value()
    return text


async def test_asyncpg_pool(dsn: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        for _ in range(3):
            async with pool.acquire() as connection:
                rows = await connection.fetch("select id, ssn, email from public.customers where id = any($1)", [1, 2])
                assert [row["ssn"] for row in rows] == ["[redacted]"] * 2
                assert await connection.fetchval("select count(*) from public.orders") > 0


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
async def test_sqlalchemy_reflects_and_reads(dsn: str, driver: str) -> None:
    url = sqlalchemy.make_url(dsn).set(drivername=f"postgresql+{driver}")
    if driver == "asyncpg":
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names())
            row = (await connection.execute(sqlalchemy.text("select ssn from customers where id = 1"))).one()
        await engine.dispose()
    else:
        blocking = sqlalchemy.create_engine(url)
        with blocking.connect() as connection:
            found = sqlalchemy.inspect(connection).get_table_names()
            row = connection.execute(sqlalchemy.text("select ssn from customers where id = 1")).one()
        blocking.dispose()
    assert {"customers", "orders"} <= set(found)
    assert row == ("[redacted]",)


@pytest.mark.parametrize("command", ["\\d", "\\d customers", "\\dn", "\\df", "\\du", "\\copy customers to stdout csv"])
def test_psql(dsn: str, command: str) -> None:
    done = subprocess.run(
        ["psql", "-X", "-v", "ON_ERROR_STOP=1", dsn, "-c", command],
        capture_output=True, text=True, check=False, env=os.environ | {"PAGER": "cat"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if "copy" in command:
        assert "[redacted]" in done.stdout
        assert "@example.org" in done.stdout


def test_server_cursor_and_binary(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        with connection.cursor(name="many", binary=True) as cursor:
            cursor.execute("select id, ssn from public.customers order by id")
            rows = cursor.fetchmany(3)
        assert [row[1] for row in rows] == ["[redacted]"] * 3
